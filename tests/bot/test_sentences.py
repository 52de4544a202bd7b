"""Every English sentence of our errors, and of pydantic, has a Chinese one."""

import ast
from collections.abc import Iterator
from datetime import date, datetime, time
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

import bot
from bot.campaigns import status
from bot.sentences import in_chinese, templates
from rules.pattern import compile_regex

ROOT = Path(bot.__file__).parent.parent
# they speak both languages themselves (commands, pages), or to developers (sandbox, demo)
ELSEWHERE = ("bot/commands/", "bot/sandbox/", "bot/demo/", "bot/sentences", "bot/api/")
# functions that return sentences instead of raising or listing them
RETURNING = {
    "bot/as_code/files.py",
    "bot/as_code/document.py",
    "bot/as_code/reading.py",
    "rules/reader.py",
    "rules/pattern.py",
}
# raised where a program is wrong, never where an operator is
OF_PROGRAMS = {
    "a moment without a zone must not reach the database",
    "errcode x7 stands in the table twice",
    "an encrypted reply needs the account's AES key",
    "File | str",
    "left",
    "GET, POST",
    "x7; charset=utf-8",
}
AT = {"Invalid": 1, "Refused": 0, "ValueError": 0, "say": 1, "problem": 1, "Problem": 2}


@pytest.mark.slow  # reads the whole program
def test_every_sentence_of_an_error_has_a_chinese_one() -> None:
    missing = [
        f"{place}: {sentence}"
        for place, sentence in _gathered()
        if sentence not in OF_PROGRAMS and not _is_chinese(in_chinese(sentence))
    ]
    assert missing == [], "add templates to bot/sentences.txt"


@pytest.mark.slow  # as above
def test_the_walk_finds_what_it_should() -> None:
    found = {sentence for _, sentence in _gathered()}
    assert len(found) > 200
    assert "there is no segment 'x7'" in found  # an f-string of Refused
    assert "must be a list of conditions" in found  # beside its place
    assert "is missing" in found  # returned


@pytest.mark.parametrize("refusals", [status.CAMPAIGN_REFUSALS, status.RUN_REFUSALS])
def test_sentences_in_both_languages_lose_their_english_half(refusals: dict[Any, str]) -> None:
    for sentence in refusals.values():
        chinese = in_chinese(sentence)
        assert sentence.startswith(chinese) and not chinese.endswith(")")


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("there is no segment '会员'", "没有人群“会员”"),
        ("there is no tag 'VIP' in the file", "文件里没有标签“VIP”"),
        (
            "is not a condition; known are days, text_is",
            "没有这个条件，可用的有：days, text_is",
        ),
        ("is not known here; known are rules, fallback", "不认识这一项，可用的有：rules, fallback"),
        ("needs exactly one of has and lacks", "has 和 lacks 应正好写一个"),
        ("line 3: is missing", "第 3 行：缺少这一项"),
        ("Value error, the text is empty", "文字是空的"),
        (
            "{nickname} differs from follower to follower and cannot stand in mass content",
            "{nickname} 每个粉丝都不同，不能用在群发内容里",
        ),
        ("text cannot be sent as mass", "文字不能用作群发"),
        ("nobody has heard of this", "nobody has heard of this"),
        ("已经是中文", "已经是中文"),
        ("", ""),
    ],
)
def test_a_sentence_in_chinese(english: str, chinese: str) -> None:
    assert in_chinese(english) == chinese


def test_what_a_sentence_quotes_is_never_taken_for_a_template() -> None:
    assert in_chinese("there is no segment '{name} {what}'") == "没有人群“{name} {what}”"


def test_a_long_hostile_sentence_takes_no_time() -> None:
    for piece in (" 'x' there are", "是", "(a", "是 (a b "):
        hostile = "x" + piece * 20_000 + "!"
        assert in_chinese(hostile) == hostile


def test_templates_are_told_apart_and_their_holes_agree() -> None:
    english = [template for template, _ in templates()]
    assert sorted({one for one in english if english.count(one) > 1}) == []
    for template, chinese in templates():
        assert _is_chinese(chinese), template


class _Everything(BaseModel):
    model_config = {"extra": "forbid"}
    missing: int
    whole: int
    share: float
    flag: bool
    words: Annotated[list[str], Field(min_length=1, max_length=2)]
    other_words: Annotated[list[str], Field(min_length=2)]
    name: Annotated[str, Field(min_length=1)]
    long_name: Annotated[str, Field(min_length=5)]
    short_name: Annotated[str, Field(max_length=3)]
    code: Annotated[str, Field(pattern="^[a-z]+$")]
    text: str
    kind: Literal["a", "b"]
    one_kind: Literal["a"]
    above: Annotated[int, Field(gt=3)]
    least: Annotated[int, Field(ge=3)]
    below: Annotated[int, Field(lt=3)]
    most: Annotated[int, Field(le=3)]
    moment: datetime
    day: date
    hour: time
    part: BaseModel
    table: dict[str, int]


def test_what_pydantic_says_has_a_chinese_sentence() -> None:
    given: list[dict[str, Any]] = [
        {
            "whole": "x",
            "share": "x",
            "flag": "perhaps",
            "words": [],
            "other_words": ["a"],
            "name": "",
            "long_name": "a",
            "short_name": "abcd",
            "code": "A",
            "text": 3,
            "kind": "c",
            "one_kind": "c",
            "above": 3,
            "least": 2,
            "below": 3,
            "most": 4,
            "moment": "yesterday",
            "day": "yesterday",
            "hour": "noon",
            "part": 3,
            "table": 3,
            "stranger": 1,
        },
        {
            "whole": 1.5,
            "share": None,
            "flag": None,
            "words": ["a", "b", "c"],
            "name": None,
            "text": None,
            "moment": None,
            "day": None,
            "hour": None,
            "above": None,
        },
        {"whole": "9" * 5000, "share": "nan", "words": 3},
    ]
    for values in given:
        with pytest.raises(ValidationError) as refused:
            _Everything.model_validate(values)
        for item in refused.value.errors():
            chinese = in_chinese(item["msg"])
            assert _is_chinese(chinese) and "should" not in chinese, item["msg"]
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(_Everything).validate_json("{")
    assert in_chinese(refused.value.errors()[0]["msg"]).startswith("不是有效的 JSON")


@pytest.mark.parametrize("expression", ["(?=a)", "(?<!a)", r"(a)\1", "(", "(a{999}){999}"])
def test_what_an_expression_is_refused_for_has_a_chinese_sentence(expression: str) -> None:
    with pytest.raises(ValueError) as refused:
        compile_regex(expression)
    assert _is_chinese(in_chinese(str(refused.value)))


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= character <= "\u9fff" for character in text)


@cache
def _gathered() -> list[tuple[str, str]]:
    """(file:line, sentence) of all that is raised or listed as a problem; holes are filled with x7."""
    return list(_walked())


def _walked() -> Iterator[tuple[str, str]]:
    for folder in ("bot", "rules", "handlers"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(ELSEWHERE):
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            constants = {
                node.targets[0].id: node.value
                for node in tree.body
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            }
            for node in ast.walk(tree):
                for sentence in _said(node, constants, returning=name in RETURNING):
                    yield f"{name}:{node.lineno}", sentence  # type: ignore[attr-defined]


def _said(node: ast.AST, constants: dict[str, ast.expr], *, returning: bool) -> Iterator[str]:
    if isinstance(node, ast.Call):
        called = node.func
        name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
        at = AT.get(name)
        if at is not None and len(node.args) > at:
            given = node.args[at]
            if isinstance(given, ast.Name):
                given = constants.get(given.id, given)
            yield from _texts(given)
    elif isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load) and len(node.elts) == 2:
        yield from (text for text in _texts(node.elts[1]) if _is_sentence(text))
    elif returning and isinstance(node, ast.Return) and node.value is not None:
        yield from (text for text in _texts(node.value) if _is_sentence(text))


def _is_sentence(text: str) -> bool:
    return " " in text and not _is_chinese(text)


def _texts(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) and node.value else []
    if isinstance(node, ast.JoinedStr):
        return [
            "".join(
                str(part.value) if isinstance(part, ast.Constant) else "x7" for part in node.values
            )
        ]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [
            first + second
            for first in _texts(node.left) or ["x7"]
            for second in _texts(node.right) or ["x7"]
        ]
    if isinstance(node, ast.IfExp):
        return _texts(node.body) + _texts(node.orelse)
    return []
