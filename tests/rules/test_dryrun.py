"""The dry run: unchanged rules change nothing, a planted change changes exactly what was planted."""

import json
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.dryrun import ANSWER, OTHER, RULE, TAGS, Change, Tally, compare, of_json
from rules.engine import decide
from rules.facts import Facts
from rules.model import load
from tests.rules.test_index import FACTS, NOON, RULES, book


def rule(name: str, word: str, *then: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "when": [{"text_contains": {"any": [word]}}],
        "then": list(then) or [{"reply": {"text": f"answer of {name}"}}],
        **more,
    }


def pushes(*texts: str) -> list[Facts]:
    return [
        Facts(f"push {number}", "text", NOON, text=text, follower_id=number % 3)
        for number, text in enumerate(texts)
    ]


def changes(
    old: list[dict[str, Any]], new: list[dict[str, Any]], *texts: str
) -> tuple[list[Change], Tally]:
    tally = Tally()
    fallback = {"reply": {"text": "?"}}
    before = load({"rules": old, "fallback": fallback})
    after = load({"rules": new, "fallback": fallback})
    return list(compare(before, after, pushes(*texts), tally)), tally


COUPON = rule("券", "券", {"add_tag": {"tags": ["优惠敏感"]}}, {"reply": {"text": "领券"}})
MASK = rule("面膜", "面膜")


def test_a_new_answer_is_told_with_the_rules_that_won_and_why() -> None:
    expired = rule("过期", "过期", {"reply": {"text": "可以补发"}})
    (one,), tally = changes(
        [COUPON, MASK], [expired, COUPON, MASK], "优惠券过期", "券", "面膜", "？"
    )
    assert one.facts.text == "优惠券过期"
    assert one.kinds == (ANSWER, TAGS)
    assert (one.before.rules, one.after.rules) == (("券",), ("过期",))
    assert (one.before.answers, one.after.answers) == (({"text": "领券"},), ({"text": "可以补发"},))
    assert one.before.tags == (frozenset({"优惠敏感"}), frozenset())
    assert [step["rule"] for step in one.before.steps] == ["券"]
    assert [step["rule"] for step in one.after.steps] == ["过期"]
    told = tally.to_json()
    assert (told["pushes"], told["changed"], told["people"]) == (4, 1, 1)
    assert told["kinds"] == {ANSWER: 1, TAGS: 1, OTHER: 0, RULE: 0}
    assert told["before"] == {"券": 2, "面膜": 1}
    assert told["after"] == {"券": 1, "过期": 1, "面膜": 1}
    assert told["given"] == {"优惠敏感": -1}
    assert told["ways"] == [[["券"], ["过期"], 1]]
    assert told["answered"] == {"before": 4, "after": 4}
    assert told["fallback"] == {"before": 1, "after": 1}


def test_a_tag_alone_another_effect_alone_and_another_name_alone() -> None:
    tagged = rule("面膜", "面膜", *MASK["then"], {"add_tag": {"tags": ["面膜"]}})
    assert [one.kinds for one in changes([MASK], [tagged], "面膜", "券")[0]] == [(TAGS,)]
    recorded = rule("面膜", "面膜", *MASK["then"], {"record": {"event": "问面膜"}})
    assert [one.kinds for one in changes([MASK], [recorded], "面膜")[0]] == [(OTHER,)]
    renamed = {**MASK, "name": "Mask"}
    assert [one.kinds for one in changes([MASK], [renamed], "面膜")[0]] == [(RULE,)]


def test_tags_are_compared_as_they_end_up() -> None:
    there_and_back = rule(
        "面膜", "面膜", *MASK["then"], {"add_tag": {"tags": ["a"]}}, {"remove_tag": {"tags": ["a"]}}
    )
    taken = rule("面膜", "面膜", *MASK["then"], {"remove_tag": {"tags": ["a"]}})
    assert changes([there_and_back], [taken], "面膜")[0] == []


def test_a_text_that_nobody_answered_gets_an_answer() -> None:
    shops = rule("门店", "门店")
    (one,), tally = changes([COUPON], [COUPON, shops], "门店在哪", "券")
    assert one.before.fallback and not one.after.fallback
    assert one.before.rules == ()
    assert tally.to_json()["fallback"] == {"before": 1, "after": 0}


def test_the_same_follower_is_counted_once() -> None:
    _, tally = changes([MASK], [], "面膜", "面膜", "面膜", "面膜", "面膜")
    assert tally.to_json()["people"] == 3
    assert tally.to_json()["changed"] == 5


def test_a_cooldown_is_judged_by_what_was_stored_with_the_push() -> None:
    cooled = {**MASK, "when": [*MASK["when"], {"cooldown": {"hours": 24}}]}
    old, new = load({"rules": [MASK]}), load({"rules": [cooled]})
    fresh = Facts("p", "text", NOON, text="面膜")
    again = Facts("q", "text", NOON, text="面膜", fired={"面膜": NOON})
    assert [one.facts for one in compare(old, new, [fresh, again])] == [again]


def test_a_tally_can_be_laid_aside_and_counted_on() -> None:
    new = [rule("门店", "门店"), COUPON]
    texts = ["券", "门店", "门店的券", "？", "门店在哪"]
    _, whole = changes([COUPON], new, *texts)
    fallback = {"reply": {"text": "?"}}
    old_book = load({"rules": [COUPON], "fallback": fallback})
    new_book = load({"rules": new, "fallback": fallback})
    facts = pushes(*texts)
    first = Tally()
    list(compare(old_book, new_book, facts[:2], first))
    second = of_json(json.loads(json.dumps(first.to_json())), first.people)
    list(compare(old_book, new_book, facts[2:], second))
    assert second.to_json() == whole.to_json()


@settings(max_examples=40, deadline=None)
@given(RULES, st.lists(FACTS, min_size=1, max_size=6))
def test_unchanged_rules_change_nothing(rows: Any, facts: list[Facts]) -> None:
    assert list(compare(book(rows), book(rows), facts)) == []


@settings(max_examples=60, deadline=None)
@given(RULES, st.lists(FACTS, min_size=1, max_size=8), st.data())
def test_a_planted_change_is_exactly_what_is_found(
    rows: Any, facts: list[Facts], data: st.DataObject
) -> None:
    old = book(rows)
    planted = data.draw(st.sampled_from([*range(len(rows) + 1)]))
    changed = [*rows]
    if planted < len(rows):
        when, goes_on, luck = rows[planted]
        changed[planted] = (when, goes_on, 0 if luck > 0 else 5)  # switched off, or on
    new = book(changed)
    tally = Tally()
    found = list(compare(old, new, facts, tally))
    expected = [
        one
        for one in facts
        if (decide(old, one).rules, decide(old, one).effects)
        != (decide(new, one).rules, decide(new, one).effects)
    ]
    assert [one.facts for one in found] == expected
    assert tally.pushes == len(facts)
    assert tally.before == Counter(rule for one in facts for rule in decide(old, one).rules)
