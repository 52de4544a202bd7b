"""The English sentences of our errors, and of pydantic, as operators read them in Chinese.

``sentences.txt`` holds the templates. ``{name}`` stands for any text; ``{what}`` and ``{what2}`` for a text that is
put into Chinese by ``WORDS``, ``{sentence}`` for another sentence. Of several templates that fit, the one with the
most text of its own wins; a sentence without a template stays as it is.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

WORDS = {
    "a condition": "条件",
    "an action": "动作",
    "tag": "标签",
    "scene": "二维码",
    "segment": "人群",
    "event": "事件",
    "campaign": "活动",
    "in the file": "文件里",
    "in the file or the database": "文件和数据库里都",
    "text": "文字",
    "image": "图片",
    "voice": "语音",
    "video": "视频",
    "music": "音乐",
    "news": "图文",
    "thumb": "封面",
    "reply": "回复",
    "customer_service": "客服消息",
    "mass": "群发",
    "subscription": "订阅通知",
    "template": "模板消息",
    "look-ahead (?=": "向前查看 (?=",
    "look-ahead (?!": "向前查看 (?!",
    "look-behind (?<=": "向后查看 (?<=",
    "look-behind (?<!": "向后查看 (?<!",
    "draft": "是草稿",
    "scheduled": "已排期",
    "stopped": "已停用",
    "finished": "已结束",
    "archived": "已归档",
    "archived ": "已归档的",
}
_HOLE = re.compile(r"\{([a-z]\w*)\}")
# sentences that say it in both languages: 请先继续发送 (resume it first)
_BOTH = re.compile(r"([^()]*[^() -~]) \(([a-z][a-z,.:;' ]+)\)")
_Template = tuple[tuple[str, ...], tuple[str, ...], str]  # texts around holes, their names, Chinese


def in_chinese(sentence: str) -> str:
    """The sentence in Chinese; itself where no template fits."""
    said = sentence.removeprefix("Value error, ")
    both = _BOTH.fullmatch(said)
    if both and " " in both[2]:
        return both[1]
    for texts, names, chinese in _by_length():
        held = _between(texts, said)
        if held is not None:
            return _filled(chinese, dict(zip(names, held, strict=True)))
    return said


def _filled(chinese: str, values: Mapping[str, str]) -> str:
    return _HOLE.sub(lambda hole: _shown(hole[1], values[hole[1]]), chinese)


def _shown(name: str, held: str) -> str:
    if name == "sentence":
        return in_chinese(held)
    return WORDS.get(held, held) if name.startswith("what") else held


def _between(texts: tuple[str, ...], sentence: str) -> list[str] | None:
    """What stands between ``texts`` in the sentence, shortest first: one walk, whatever the sentence."""
    first, last = texts[0], texts[-1]
    if len(texts) == 1:
        return [] if sentence == first else None
    position, end = len(first), len(sentence) - len(last)
    if position > end or not sentence.startswith(first) or not sentence.endswith(last):
        return None
    held = []
    for text in texts[1:-1]:
        start = sentence.find(text, position, end)
        if start < 0:
            return None
        held.append(sentence[position:start])
        position = start + len(text)
    return [*held, sentence[position:end]]


@cache
def templates() -> tuple[tuple[str, str], ...]:
    """(English, Chinese) of the file beside this module."""
    text = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("# ")]
    return tuple(
        (english, chinese.strip()) for english, chinese in zip(lines[::2], lines[1::2], strict=True)
    )


@cache
def _by_length() -> tuple[_Template, ...]:
    found = []
    for english, chinese in templates():
        pieces = _HOLE.split(english)
        found.append((tuple(pieces[::2]), tuple(pieces[1::2]), chinese))
    return tuple(sorted(found, key=lambda item: (bool(item[1]), -len("".join(item[0])))))
