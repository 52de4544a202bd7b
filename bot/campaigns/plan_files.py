"""The plan document 人群 / 推广 / 数据 as a file: CSV that comes back as the same campaign, and Markdown for people.

A CSV has four columns: part, item, value, key. Key and value alone are read; the others are for people. A value
that is no text, or a text that looks like one, is written as JSON, so that reading gives back what was written.
Files are Chinese whatever the operator's language: they are handed on.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from bot.campaigns.estimates import Estimate
from bot.clock import local, parse_moment
from bot.errors import Invalid

Json = dict[str, Any]
HEADER = ("部分", "项目", "内容", "键")
PARTS = ("人群", "推广", "数据")
LEFT_OUT = ("status", "approved_for")  # a file of a plan approves nothing and starts nothing
MOST_ROWS, MOST_BYTES, DEEPEST, MOST_ITEMS = 5000, 2_000_000, 12, 500
_TEMPTING = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet reads as a formula
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
# (key, part, item): a key stands for everything below it; the order is that of the file
ITEMS: Sequence[tuple[str, str, str]] = (
    ("name", "人群", "活动名称"),
    ("segment", "人群", "人群名称"),
    ("groups", "人群", "组"),
    ("brief.features", "人群", "特征标签"),
    ("brief.people", "人群", "人数"),
    ("brief.reached", "人群", "触达人数"),
    ("holdout", "人群", "对照组比例"),
    ("brief.persona", "人群", "人群特征"),
    ("brief.need", "人群", "潜在需求"),
    ("brief.stage", "人群", "生命周期阶段"),
    ("brief.participation", "推广", "参与方式"),
    ("brief.benefit", "推广", "核心利益"),
    ("brief.strength", "推广", "优惠力度"),
    ("brief.time", "推广", "活动时间"),
    ("brief.path", "推广", "用户路径"),
    ("brief.burst", "推广", "是否爆发"),
    ("brief.form", "推广", "活动形式"),
    ("brief.product", "推广", "产品"),
    ("brief.owner", "推广", "负责人"),
    ("brief.begins", "推广", "开始日期"),
    ("brief.ends", "推广", "结束日期"),
    ("channels", "推广", "渠道"),
    ("message_class", "推广", "消息类型"),
    ("at", "推广", "发送时间"),
    ("repeat", "推广", "重复"),
    ("content", "推广", "内容"),
    ("contents", "推广", "渠道自己的内容"),
    ("links", "推广", "链接"),
    ("experiment", "推广", "A/B 测试"),
    ("pace", "推广", "分批"),
    ("follow_ups", "推广", "后续波次"),
    ("goal", "数据", "目标"),
    ("brief.slots", "数据", "预计用名额"),
    ("brief.expected", "数据", "预期引导人数"),
    ("brief.similar", "数据", "参考活动"),
    ("brief.monitoring", "数据", "监测项目"),
    ("brief.meaning", "数据", "分析的意义"),
    ("after", "数据", "结果标签"),
    ("worth", "数据", "名额价值"),
)
OTHER_BRIEF = ("数据", "其他")


def rows(document: Mapping[str, Any]) -> list[tuple[str, str, Any, str]]:
    """(part, item, value, key) of every value of a document, in the order of the file."""
    found = []
    written = {key: value for key, value in document.items() if key not in LEFT_OUT}
    for path, value in _flat(written, ()) if written else ():
        key = ".".join(_escaped(one) for one in path)
        place, part, item = _place(path)
        found.append(((place, [_sortable(one) for one in path]), (part, item, value, key)))
    return [row for _order, row in sorted(found, key=lambda one: one[0])]


def to_csv(document: Mapping[str, Any]) -> str:
    """The document as CSV, with the mark by which Excel knows UTF-8."""
    buffer = io.StringIO()
    buffer.write("\ufeff")
    writer = csv.writer(buffer)
    writer.writerow(HEADER)
    for part, item, value, key in rows(document):
        writer.writerow([part, _guarded(item), _guarded(_written(value)), _guarded(key)])
    return buffer.getvalue()


def from_csv(text: str) -> Json:
    """The document a CSV holds; whether it makes sense the document's own check says.

    Raises:
        Invalid: it is no CSV of a plan.
    """
    if len(text) > MOST_BYTES:
        raise Invalid("file", "is larger than 2 MB")
    try:
        listed = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    except csv.Error as problem:
        raise Invalid("file", f"is no CSV: {problem}") from None
    if not listed or tuple(listed[0][:4]) != HEADER:
        raise Invalid("file", "is no plan: the first line must be 部分,项目,内容,键")
    if len(listed) > MOST_ROWS:
        raise Invalid("file", f"has more than {MOST_ROWS} rows")
    found = _Branch()
    for number, row in enumerate(listed[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) < 4:
            raise Invalid("file", f"row {number} has fewer than four columns")
        path = _steps(_unguarded(row[3]))
        if len(path) > DEEPEST:
            raise Invalid("file", f"row {number}: the key is nested too deeply")
        _put(found, path, _read(_unguarded(row[2])), number)
    return {str(key): _lists(one) for key, one in found.items()}


def markdown(document: Mapping[str, Any], sentences: Mapping[str, str]) -> str:
    """The document for people: a heading a part, a table of its items. ``sentences``: of segments, by name."""
    lines = [f"# {document.get('name') or '未命名方案'}", ""]
    for part in PARTS:
        lines += [f"## {part}", "", "| 项目 | 内容 |", "|---|---|"]
        lines += [
            f"| {_cell(item)} | {_cell(value)} |"
            for item, value in summary(document, sentences)[part]
        ]
        lines.append("")
    return "\n".join(lines)


def summary(
    document: Mapping[str, Any], sentences: Mapping[str, str]
) -> dict[str, list[tuple[str, str]]]:
    """By part, (item, what it says in a line): the nine fields of a plan and what else was written."""
    found: dict[str, list[tuple[str, str]]] = {part: [] for part in PARTS}
    for group in document.get("groups") or (
        [{"name": document["segment"], "segment": document["segment"]}]
        if document.get("segment")
        else []
    ):
        said = sentences.get(str(group.get("segment")), "")
        rate = group.get("rate")
        more = f"（预期导量率 {100 * rate:g}%）" if rate is not None else ""
        found["人群"].append((f"组 {group.get('name')}", f"{said or group.get('segment')}{more}"))
    for key, part, item in ITEMS:
        if key in ("groups", "segment", "name"):
            continue
        value: Any = document
        for one in key.split("."):
            value = value.get(one) if isinstance(value, Mapping) else None
        if value not in (None, "", [], {}):
            found[part].append((item, said_of(key, value)))
    return found


def said_of(key: str, value: Any) -> str:
    """A value in a line."""
    if key == "holdout":
        return f"{100 * value:g}%"
    if key == "brief.burst":
        return "会爆发" if value else "不太会爆发"
    if key == "goal" and isinstance(value, Mapping):
        what = value.get("event") or "引导"
        return f"{what} {value.get('target') or 0:,} 人"
    if key in ("channels",) and isinstance(value, list):
        return " → ".join(CHANNEL_NAMES.get(str(one), str(one)) for one in value)
    if key == "message_class":
        return {"marketing": "营销", "service": "服务通知"}.get(str(value), str(value))
    if key == "after" and isinstance(value, Mapping):
        words = {"clicked": "点了", "not_clicked": "没点", "gave_up": "放弃", "wait": "等待"}
        return "；".join(f"{words.get(one, one)} {said}" for one, said in value.items())
    if key == "at":
        return _clock(str(value))
    if key == "content" and isinstance(value, Mapping):
        return _content(value)
    if key == "contents" and isinstance(value, Mapping):
        return "\n".join(
            f"{CHANNEL_NAMES.get(name, name)}：{_content(one)}" for name, one in value.items()
        )
    if key == "links" and isinstance(value, Mapping):
        return "\n".join(f"{name}：{target}" for name, target in value.items())
    if key == "experiment" and isinstance(value, Mapping):
        return _experiment(value)
    if key == "follow_ups" and isinstance(value, list):
        return "\n".join(_follow_up(number, one) for number, one in enumerate(value, 2))
    if key == "repeat" and isinstance(value, Mapping):
        every = {"day": "每天", "week": "每周", "month": "每月"}.get(str(value.get("every")), "")
        days = "、".join(_DAYS.get(str(one), f"{one} 号") for one in value.get("on") or ())
        return f"{every} {days} {value.get('at', '')}".replace("  ", " ")
    if key == "pace" and isinstance(value, Mapping):
        return f"分 {value.get('batches')} 批，每批隔 {_span(value.get('every'))}"
    if key in ("brief.people", "brief.reached", "brief.slots") and str(value).isdigit():
        return f"{int(value):,}"
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,g}"
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return "；".join(value)
    return "；".join(
        f"{' '.join(path)} {_written(one)}".strip() for path, one in _flat_words(value)
    )


_DAYS = dict(zip(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), "一二三四五六日", strict=True))
_SPANS = {"s": "秒", "m": "分钟", "h": "小时", "d": "天"}


def _span(text: Any) -> str:
    """``48h`` → 48 小时."""
    said = str(text or "")
    return f"{said[:-1]} {_SPANS[said[-1]]}" if said[-1:] in _SPANS else said


def _clock(text: str) -> str:
    try:
        return f"{local(parse_moment(text)):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError):
        return text


def _content(value: Any) -> str:
    """A content in a line: its text, or what kind it is and what it is called."""
    if not isinstance(value, Mapping) or not value:
        return ""
    kind, body = next(iter(value.items()))
    if isinstance(body, str):
        return body
    texts = [str(one) for _path, one in _flat(body, ()) if isinstance(one, str) and one]
    return f"{_KINDS.get(kind, kind)} {'；'.join(texts)}"


def _experiment(value: Mapping[str, Any]) -> str:
    listed = value.get("variants") or ()
    if value.get("of") == "hour":
        return "测试时段：" + "、".join(str(one.get("at")) for one in listed)
    shares = value.get("shares") or [1 / max(1, len(listed))] * len(listed)
    lines = [
        f"{one.get('name')}（{100 * share:.0f}%）：{_content(one.get('content'))}"
        for one, share in zip(listed, shares, strict=False)
    ]
    return "\n".join(lines)


def _follow_up(number: int, step: Mapping[str, Any]) -> str:
    whom = "没达成目标的人" if step.get("to") == "not_converted" else "没点链接的人"
    channels = "、".join(
        CHANNEL_NAMES.get(str(one), str(one)) for one in step.get("channels") or ()
    )
    said = f"：{_content(step['content'])}" if step.get("content") else ""
    return f"第 {number} 波，{_span(step.get('after'))}后，{channels}，发给{whom}{said}"


_KINDS = {
    "text": "文字",
    "image": "图片",
    "voice": "语音",
    "video": "视频",
    "news": "图文",
    "article": "文章",
    "notice": "通知",
    "mini_program": "小程序",
    "menu_message": "菜单消息",
}
CHANNEL_NAMES = {
    "customer_service": "客服消息",
    "subscription": "订阅通知",
    "template": "模板消息",
    "mass": "群发",
    "article": "发布文章",
    "webhook": "外部系统",
}


def filled(
    document: Mapping[str, Any], estimate: Estimate | None, sentences: Mapping[str, str]
) -> Json:
    """The document with what was computed when it was handed in, so that a report can hold it against the result."""
    brief = dict(document.get("brief") or {})
    segments = [
        str(group.get("segment"))
        for group in document.get("groups") or ({"segment": document.get("segment")},)
    ]
    features = "；".join(sentences[one] for one in segments if sentences.get(one))
    if features:
        brief["features"] = features[:2000]
    if estimate is not None:
        brief["people"] = str(estimate.people)
        brief["reached"] = str(estimate.reached)
        brief["slots"] = str(estimate.slots)
        if estimate.expected is not None and "expected" not in brief:
            brief["expected"] = round(estimate.expected)
    return {**document, "brief": brief} if brief else dict(document)


# the way to a value: names of keys, numbers of items
Path = tuple[str | int, ...]


def _flat(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Every value that is not a container, and every empty container, with its path."""
    if isinstance(value, Mapping) and value:
        for key in sorted(value, key=str):
            yield from _flat(value[key], (*path, str(key)))
    elif isinstance(value, list | tuple) and value:
        for number, one in enumerate(value):
            yield from _flat(one, (*path, number))
    else:
        yield path, value


def _flat_words(value: Any) -> Iterator[tuple[list[str], Any]]:
    for path, one in _flat(value, ()):
        yield [word for word in path if isinstance(word, str)], one


def _place(path: Path) -> tuple[int, str, str]:
    """Where a value stands in the file: its order, its part, its item."""
    key, two = str(path[0]), ".".join(str(one) for one in path[:2])
    for number, (name, part, item) in enumerate(ITEMS):
        if name in (key, two):
            return number, part, _item(item, path[len(name.split(".")) :])
    part, item = OTHER_BRIEF if key == "brief" else ("推广", key)
    return len(ITEMS), part, item


def _item(item: str, rest: Path) -> str:
    """``组`` 2 name → 组 2 · name, so that a reader sees which."""
    words = [str(one + 1) if isinstance(one, int) else _WORDS.get(one, one) for one in rest]
    return " · ".join([item, *words])


_WORDS = {
    "name": "名称",
    "segment": "人群",
    "rate": "导量率",
    "text": "文字",
    "metric": "指标",
    "target": "人数",
    "at": "时间",
    "every": "间隔",
    "after": "多久以后",
    "channels": "渠道",
    "content": "内容",
    "variants": "版本",
    "shares": "占比",
    "clicked": "点了",
    "not_clicked": "没点",
    "gave_up": "放弃",
    "wait": "等待",
    "batches": "批数",
    **CHANNEL_NAMES,
}


def _sortable(step: str | int) -> tuple[int, int, str]:
    return (0, step, "") if isinstance(step, int) else (1, 0, step)


def _written(value: Any) -> str:
    """A value as its cell holds it: texts as they are, unless they would be read as something else."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if _is_json(value) else value
    return json.dumps(value, ensure_ascii=False)


def _read(cell: str) -> Any:
    if not _is_json(cell):
        return cell
    return json.loads(cell)


def _is_json(text: str) -> bool:
    try:
        return _is_storable(json.loads(text, parse_constant=_no_constant))
    except (ValueError, RecursionError):
        return False


def _is_storable(value: Any, depth: int = 0) -> bool:
    """JSON spells what no database keeps: NUL and half characters, endless numbers and nesting."""
    if isinstance(value, str):
        return not _UNSTORABLE.search(value)
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if depth > DEEPEST:
        return False
    if isinstance(value, list):
        return all(_is_storable(one, depth + 1) for one in value)
    if isinstance(value, dict):
        return all(_is_storable(key) and _is_storable(one, depth + 1) for key, one in value.items())
    return True


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _guarded(text: str) -> str:
    """A text a spreadsheet does not take for a formula; an apostrophe more is taken off again when it is read."""
    bare = text.lstrip("'")
    return f"'{text}" if bare.startswith(_TEMPTING) and not _NUMBER.fullmatch(text) else text


def _unguarded(text: str) -> str:
    bare = text.lstrip("'")
    return text[1:] if text.startswith("'") and bare.startswith(_TEMPTING) else text


def _escaped(step: str | int) -> str:
    """One step of a key: ``[2]`` is an item; in a name dots, backslashes and a leading bracket are escaped."""
    if isinstance(step, int):
        return f"[{step}]"
    text = step.replace("\\", "\\\\").replace(".", "\\.")
    return f"\\{text}" if text.startswith("[") else text


def _steps(key: str) -> list[str | int]:
    found: list[str | int] = []
    raw, taken = "", ""  # a step as written, and what it says
    characters = iter(f"{key}.")
    for one in characters:
        if one == ".":
            item = re.fullmatch(r"\[(\d{1,4})\]", raw)
            found.append(int(item[1]) if item else taken)
            raw = taken = ""
            continue
        raw += one
        taken += next(characters, "") if one == "\\" else one
    return found


def _put(whole: dict[Any, Any], path: Sequence[str | int], value: Any, row: int) -> None:
    inner = whole
    named = ".".join(str(one) for one in path)
    for step in path[:-1]:
        inner = inner.setdefault(step, _Branch())
        if not isinstance(inner, _Branch):
            raise Invalid("file", f"row {row}: {named} stands inside a value")
    if path[-1] in inner:
        raise Invalid("file", f"row {row}: {named} stands there twice")
    inner[path[-1]] = value


class _Branch(dict[Any, Any]):
    """What was made of keys, so that an empty mapping somebody wrote is told from it."""


def _lists(value: Any) -> Any:
    """Branches whose steps are all items are lists."""
    if not isinstance(value, _Branch):
        return value
    if all(isinstance(key, int) for key in value):
        if len(value) > MOST_ITEMS:
            raise Invalid("file", f"has a list of more than {MOST_ITEMS}")
        return [_lists(value[key]) for key in sorted(value)]
    return {str(key): _lists(one) for key, one in value.items()}


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "<br>")
