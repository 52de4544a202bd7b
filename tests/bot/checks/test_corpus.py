"""Labelled sentences: what a check must find in them, what it must leave alone, and the false alarms we bear."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from bot import checks, registry
from bot.checks import _packs

FOLDER = Path(__file__).parent
PACKS = ("advertising_words", "medical_claims", "induced_sharing", "template_marketing")
NEUTRAL = ("今日", "面")  # around a word; no word of a pack begins or ends with them


def sentences() -> list[tuple[str, dict[str, Any]]]:
    return [
        (path.stem, sentence)
        for path in sorted(FOLDER.glob("*.toml"))
        for sentence in tomllib.loads(path.read_text(encoding="utf-8"))["sentences"]
    ]


def content(check: str, text: str) -> dict[str, Any]:
    if check == "template_marketing":
        return {"notice": {"template": "t", "data": {"thing1": text}}}
    return {"text": text}


def asked(check: str, text: str) -> list[checks.Finding]:
    return list(registry.members("bot.checks")[check].findings(content(check, text), "content"))


@pytest.mark.parametrize(("check", "sentence"), sentences(), ids=lambda value: str(value)[:40])
def test_a_sentence_is_judged_as_labelled(check: str, sentence: dict[str, Any]) -> None:
    found = asked(check, sentence["text"])
    assert [one.found for one in found] == sentence["found"]
    for one in found:
        where = "content.notice.data.thing1" if check == "template_marketing" else "content.text"
        assert one.place == where
        assert sentence["text"][one.start : one.end] == one.found
        assert one.why
        assert one.suggestion
        assert one.why_en
        assert one.suggestion_en


def test_the_corpus_is_large_enough_and_false_alarms_are_few() -> None:
    labelled = sentences()
    false_alarms = [sentence for _, sentence in labelled if "false_alarm" in sentence]
    clean = [sentence for _, sentence in labelled if not sentence["found"]]
    assert len(labelled) >= 150
    assert len(clean) >= 60
    assert len(false_alarms) <= 0.15 * len(clean)


@pytest.mark.parametrize("check", PACKS)
def test_every_word_of_a_pack_is_found(check: str) -> None:
    missed = []
    words = _packs.words(check)
    for severity, word in words:
        written = NEUTRAL[0] + word.replace("*", "一个") + NEUTRAL[1]
        found = asked(check, written)
        if not any(one.severity == severity or one.severity == "error" for one in found):
            missed.append(word)
    assert len(missed) <= 0.05 * len(words)
    assert missed == []


@pytest.mark.parametrize("check", PACKS)
def test_an_exception_is_left_alone(check: str) -> None:
    """Every context of a pack, alone in a sentence, is no finding of the rule that names it."""
    alarms = []
    for rule in _packs._written(check)["rules"]:
        for exception in rule.get("except", []):
            found = asked(check, f"今日，{exception}。")
            if any(one.why == rule["why"] and one.found == exception for one in found):
                alarms.append(exception)
    assert alarms == []
