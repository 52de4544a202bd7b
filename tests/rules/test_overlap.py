"""The overlap check: planted overlaps are all found and explained, and rules that do not meet are left alone."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import bot.demo
from rules.engine import decide
from rules.facts import Facts
from rules.model import Rulebook, load
from rules.overlap import CONFLICT, DEAD, PARTLY, SHADOWED, Finding, find
from rules.text import fold_words

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)  # a Sunday, 12:00 in Shanghai
When = dict[str, Any] | list[dict[str, Any]]


def book(*whens: When, **more: Any) -> Rulebook:
    """Rules R0, R1 … each with a reply of its own; ``R0={...}`` adds keys to one."""
    rules = [
        {
            "name": f"R{number}",
            "when": [when] if isinstance(when, dict) else when,
            "then": [{"reply": {"text": f"answer {number}"}}],
        }
        | more.get(f"R{number}", {})
        for number, when in enumerate(whens)
    ]
    return load({"rules": rules, "fallback": {"reply": {"text": "?"}}})


def found(rulebook: Rulebook, **known: Any) -> list[Finding]:
    return find(rulebook, now=NOW, **known)


def is_(*words: str) -> dict[str, Any]:
    return {"text_is": {"any": list(words)}}


def has(*words: str) -> dict[str, Any]:
    return {"text_contains": {"any": list(words)}}


def starts(*words: str) -> dict[str, Any]:
    return {"text_starts": {"any": list(words)}}


def fits(pattern: str) -> dict[str, Any]:
    return {"text_pattern": {"pattern": pattern}}


def matches(pattern: str) -> dict[str, Any]:
    return {"text_regex": {"pattern": pattern}}


def at(begin: str, end: str) -> dict[str, Any]:
    return {"time_of_day": {"from": begin, "until": end}}


def days(*on: str) -> dict[str, Any]:
    return {"days": {"on": list(on)}}


def tag(**verb: str) -> dict[str, Any]:
    return {"follower_tag": verb}


def field(name: str, **how: Any) -> dict[str, Any]:
    return {"follower_field": {"name": name, **how}}


def kind(*kinds: str) -> dict[str, Any]:
    return {"message_kind": {"any": list(kinds)}}


def scan(scene: str) -> dict[str, Any]:
    return {"scan_scene": {"scene": scene}}


def follow(scene: str = "") -> dict[str, Any]:
    return {"subscribed_from": {"scene": scene}}


def key(*keys: str) -> dict[str, Any]:
    return {"menu_key": {"any": list(keys)}}


VIP, FIRST, COOL = tag(has="会员"), {"first_message": {}}, {"cooldown": {"hours": 24}}

# the earlier rule always wins: (earlier, later, the later rule's words that are named)
NEVER_WINS: list[tuple[str, When, When, list[str]]] = [
    ("the same word", is_("领券"), is_("领券"), ["领券"]),
    ("the same word in other letters", is_("ＶＩＰ領券"), is_("vip领券"), ["vip领券"]),
    ("a word inside a word", has("券"), has("优惠券过期"), ["优惠券过期"]),
    ("a contained word in an exact one", has("券"), is_("优惠券过期"), ["优惠券过期"]),
    ("a start in an exact word", starts("查"), is_("查快递"), ["查快递"]),
    ("a start in a longer start", starts("查"), starts("查快递"), ["查快递"]),
    ("a contained word in a start", has("快递"), starts("查快递"), ["查快递"]),
    ("a wildcard over an exact word", fits("查*快递"), is_("查我的快递"), ["查我的快递"]),
    ("a wildcard over a wildcard", fits("查*快递*"), fits("查*快递单号*"), ["查*快递单号*"]),
    ("a contained word in a wildcard", has("快递"), fits("查*快递"), ["查*快递"]),
    ("a star over everything written", fits("*"), has("券"), ["券"]),
    ("an expression over exact words", matches(r"^\d+$"), is_("12", "345"), ["12", "345"]),
    ("an expression over an expression", matches(r"^\d+$"), matches(r"^\d{4}$"), [r"^\d{4}$"]),
    ("an expression over a contained word", matches("券|卡"), has("会员卡"), ["会员卡"]),
    ("a contained word in an expression", has("券"), matches("券(过期|失效)"), ["券(过期|失效)"]),
    ("an expression over a wildcard", matches("^查"), fits("查*快递"), ["查*快递"]),
    ("a kind over a word", kind("text", "voice"), is_("领券"), ["领券"]),
    ("a kind over a kind", kind("image", "voice"), kind("voice"), ["voice"]),
    ("no condition at all", [], is_("领券"), ["领券"]),
    ("a menu key", key("M_A", "M_B"), key("M_B"), ["M_B"]),
    ("a scene pattern over a scene", scan("store_*"), scan("store_01"), ["store_01"]),
    ("a scene pattern over another", scan("s*"), scan("store_*"), ["store_*"]),
    ("a scan over a follow", scan("store_*"), follow("store_01"), ["store_01"]),
    ("any follow over one", follow(), follow("wb_*"), ["wb_*"]),
    ("all day over the night", is_("夜"), [is_("夜"), at("22:00", "08:00")], ["夜"]),
    ("a wider hour", [has("券"), at("20:00", "10:00")], [has("券"), at("22:00", "06:00")], ["券"]),
    ("every day over a weekend", is_("假"), [is_("假"), days("sat", "sun")], ["假"]),
    ("a weekday over its date", [is_("假"), days("mon")], [is_("假"), days("2026-11-23")], ["假"]),
    ("everybody over those with a tag", is_("领"), [is_("领"), VIP], ["领"]),
    ("everybody over those without", is_("领"), [is_("领"), tag(lacks="会员")], ["领"]),
    ("wider bounds", [is_("领"), field("岁", gte=18)], [is_("领"), field("岁", gte=20)], ["领"]),
    ("bounds over a value", [is_("领"), field("岁", gte=18)], [is_("领"), field("岁", **{"is": 20})], ["领"]),
    ("several values over one", [is_("领"), field("城", **{"in": ["沪", "杭"]})],
     [is_("领"), field("城", **{"in": ["杭"]})], ["领"]),
    ("always over the first time", has("你好"), [has("你好"), FIRST], ["你好"]),
    ("always over after a while", has("你好"), [has("你好"), COOL], ["你好"]),
    ("one of two words", has("券"), [has("优惠券"), has("过期")], ["优惠券 + 过期"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("earlier", "later", "words"),
    [row[1:] for row in NEVER_WINS],
    ids=[row[0] for row in NEVER_WINS],
)
def test_a_rule_that_never_wins_is_found_with_its_words_and_a_push_that_shows_it(
    earlier: When, later: When, words: list[str]
) -> None:
    rulebook = book(earlier, later)
    (one,) = found(rulebook)
    assert (one.kind, one.rule, one.position) == (SHADOWED, "R1", 1)
    assert list(one.words) == words
    assert [other.rule for other in one.others] == ["R0"]
    assert one.example is not None
    assert decide(rulebook, one.example).rules == ("R0",)


@pytest.mark.parametrize(
    ("earlier", "later"), [row[1:3] for row in NEVER_WINS], ids=[row[0] for row in NEVER_WINS]
)
def test_a_rule_that_goes_on_to_the_next_takes_nothing_from_it(earlier: When, later: When) -> None:
    assert found(book(earlier, later, R0={"continue": True})) == []


PARTLY_TAKEN: list[tuple[When, When, list[str]]] = [
    (has("券"), is_("优惠券过期", "退款"), ["优惠券过期"]),
    (is_("领券"), is_("领券", "优惠"), ["领券"]),
    (matches(r"^\d+$"), is_("12", "十二"), ["12"]),
    (key("M_A"), key("M_A", "M_B"), ["M_A"]),
    (kind("image"), kind("image", "voice"), ["image"]),
    (starts("查"), starts("查快递", "问"), ["查快递"]),
    (follow("store_*"), scan("store_01"), ["store_01"]),  # of those who follow with it
    (kind("text"), is_("领券"), ["领券"]),  # but for a voice that was understood
]


@pytest.mark.parametrize(("earlier", "later", "words"), PARTLY_TAKEN)
def test_a_single_word_that_never_wins_is_named(
    earlier: When, later: When, words: list[str]
) -> None:
    (one,) = found(book(earlier, later))
    assert (one.kind, one.rule, list(one.words)) == (PARTLY, "R1", words)


def test_two_rules_may_take_all_words_of_a_third() -> None:
    (one,) = found(book(has("券"), has("面膜"), is_("优惠券", "面膜纸")))
    assert one.kind == SHADOWED
    assert [(other.rule, other.word) for other in one.others] == [("R0", "券"), ("R1", "面膜")]


def test_day_and_night_together_leave_nothing() -> None:
    halves = [is_("在吗"), at("08:00", "20:00")], [is_("在吗"), at("20:00", "08:00")]
    (one,) = found(book(*halves, is_("在吗")))
    assert (one.kind, one.rule, one.sentence) == (SHADOWED, "R2", "by_hours")
    assert len(one.others) == 2


CONFLICTS: list[tuple[str, When, When, str]] = [
    ("a word all day, all words at night", is_("领券"), [kind("text"), at("22:00", "08:00")], "time_conflict"),
    ("hours that overlap", [has("券"), at("08:00", "20:00")], [has("券"), at("18:00", "23:00")], "time_conflict"),
    ("a weekend and an evening", [has("券"), days("sat", "sun")], [has("券"), at("18:00", "23:00")], "time_conflict"),
    ("a narrow word all day, a wide one at night", has("优惠券"), [has("券"), at("22:00", "08:00")], "time_conflict"),
    ("two tags, one word", [is_("领"), VIP], [is_("领"), tag(has="新客")], "conflict"),
    ("numbers of four digits that begin with 1", matches(r"^\d{4}$"), matches(r"^1\d*$"), "conflict"),
    ("wildcards that cross", fits("查快*单"), fits("查*递单"), "conflict"),
    ("a word and all words of those with a tag", is_("领券"), [kind("text"), VIP], "conflict"),
    ("two times of the day for every push", [kind("text"), at("08:00", "20:00")],
     [kind("text"), days("sat")], "time_conflict"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("earlier", "later", "sentence"),
    [row[1:] for row in CONFLICTS],
    ids=[row[0] for row in CONFLICTS],
)
def test_rules_that_take_pushes_from_each_other_are_found_with_a_push_that_shows_it(
    earlier: When, later: When, sentence: str
) -> None:
    rulebook = book(earlier, later)
    (one,) = found(rulebook)
    assert (one.kind, one.sentence) == (CONFLICT, sentence)
    assert {one.rule, *(other.rule for other in one.others)} == {"R0", "R1"}
    assert one.example is not None
    assert decide(rulebook, one.example).rules == ("R0",)
    alone = book(later)
    assert decide(alone, one.example).rules == ("R0",)


DEAD_RULES: list[tuple[str, When, dict[str, Any], str]] = [
    ("a window that is over", is_("券"), {"active": {"from": "2024-01-01", "until": "2024-02-01"}}, "over"),
    ("days that are over", [is_("券"), days("2024-11-11")], {}, "never_open"),
    ("hours that never meet", [is_("券"), at("08:00", "10:00")], {"active": {"hours": "20:00-22:00"}}, "contradiction"),
    ("hours of two conditions", [is_("券"), at("08:00", "10:00"), at("11:00", "12:00")], {}, "contradiction"),
    ("a weekday that its window has not", [is_("券"), days("mon")],
     {"active": {"from": "2026-11-24", "until": "2026-11-26"}}, "never_open"),
    ("two words at once", [is_("领券"), is_("优惠")], {}, "contradiction"),
    ("a word that lacks the other", [is_("领券"), has("过期")], {}, "contradiction"),
    ("two starts", [starts("查"), starts("问")], {}, "contradiction"),
    ("numbers that are letters", [matches(r"^\d+$"), has("券")], {}, "contradiction"),
    ("a tag had and lacked", [tag(has="会员"), tag(lacks="会员")], {}, "contradiction"),
    ("words in a picture", [kind("image"), has("券")], {}, "contradiction"),
    ("words of a menu", [key("M_A"), is_("券")], {}, "contradiction"),
    ("two keys at once", [key("M_A"), key("M_B")], {}, "contradiction"),
    ("two scenes at once", [scan("a_*"), scan("b_*")], {}, "contradiction"),
    ("a field with two values", [field("城", **{"is": "沪"}), field("城", **{"is": "杭"})], {}, "contradiction"),
    ("a field out of its bounds", [field("岁", gte=30), field("岁", lte=18)], {}, "contradiction"),
    ("a tag nobody has", [is_("券"), tag(has="旧类目")], {}, "no_tag"),
    ("a code there is not", scan("store_99"), {}, "no_scene"),
    ("a field nobody has", field("旧字段", **{"is": 1}), {}, "no_field"),
]  # fmt: skip
KNOWN = {"tag": ["会员", "新客"], "scene": ["store_01", "a_1", "b_1"], "field": ["城", "岁"]}


@pytest.mark.parametrize(
    ("when", "more", "sentence"),
    [row[1:] for row in DEAD_RULES],
    ids=[row[0] for row in DEAD_RULES],
)
def test_a_rule_no_push_can_match_is_dead_and_hides_nobody(
    when: When, more: dict[str, Any], sentence: str
) -> None:
    rulebook = book(when, is_("券"), R0=more)
    (one,) = found(rulebook, known=KNOWN)
    assert (one.kind, one.rule, one.sentence) == (DEAD, "R0", sentence)


NOTHING_WRONG: list[tuple[str, list[When]]] = [
    ("the special case first", [is_("优惠券过期"), has("优惠券"), has("券"), kind("text"), []]),
    ("words that may stand in one sentence", [has("券"), has("面膜"), starts("查"), fits("*快递")]),
    ("words that share a letter at their ends", [has("会员"), has("员工")]),
    ("expressions that may stand in one text", [matches("券"), matches("面膜"), matches("^查")]),
    ("the night before the day", [[is_("在吗"), at("22:00", "08:00")], is_("在吗")]),
    ("hours side by side", [[is_("在吗"), at("08:00", "12:00")], [is_("在吗"), at("12:00", "18:00")]]),
    ("those with a tag before everybody", [[is_("领"), VIP], is_("领")]),
    ("with and without a tag", [[is_("领"), VIP], [is_("领"), tag(lacks="会员")]]),
    ("bounds side by side", [[is_("领"), field("岁", lte=17)], [is_("领"), field("岁", gte=18)]]),
    ("the first time, then always", [[has("你好"), FIRST], has("你好")]),
    ("once a day, otherwise another answer", [[is_("1"), COOL], is_("1")]),
    ("once a day, and those with a tag", [[is_("1"), COOL], [is_("1"), VIP]]),
    ("one scene before all", [follow("store_01"), follow("store_*"), follow()]),
    ("other codes", [scan("store_*"), scan("wb_*"), scan("tb_card")]),
    ("other keys", [key("M_A"), key("M_B")]),
    ("other kinds", [kind("image"), kind("voice"), is_("图片")]),
    ("followers who happen to have two tags", [VIP, tag(has="新客")]),
    ("an expression that is not followed", [matches(r"\bvip\b"), matches(r"\bvip\b.*\d")]),
    ("a date and another", [[is_("假"), days("2026-12-01")], [is_("假"), days("2026-12-02")]]),
    ("a field that may be missing", [[is_("领"), field("城", **{"is": "沪"})], is_("领")]),
]  # fmt: skip


@pytest.mark.parametrize(
    "whens", [row[1] for row in NOTHING_WRONG], ids=[row[0] for row in NOTHING_WRONG]
)
def test_what_is_in_order_gives_no_alarm(whens: list[When]) -> None:
    assert found(book(*whens)) == []


def test_the_same_answer_is_no_conflict() -> None:
    same = {"then": [{"reply": {"text": "一样"}}]}
    night: When = [kind("text"), at("22:00", "08:00")]
    assert found(book(is_("领券"), night, R0=same, R1=same)) == []


def test_a_rule_that_is_switched_off_is_left_out() -> None:
    assert found(book(has("券"), is_("优惠券"), R0={"enabled": False})) == []
    assert found(book(has("券"), is_("优惠券"), R1={"enabled": False})) == []


def test_a_window_to_come_hides_nobody_before_it_opens() -> None:
    rulebook = book(has("券"), is_("优惠券"), R0={"active": {"from": "2026-12-01"}})
    (one,) = found(rulebook)
    assert one.kind == CONFLICT, "until December the later rule answers, then the earlier one"
    begun = book(has("券"), is_("优惠券"), R0={"active": {"from": "2026-01-01"}})
    assert [one.kind for one in found(begun)] == [SHADOWED]


def test_a_tag_that_a_rule_gives_is_a_tag_there_is() -> None:
    gives = {"then": [{"add_tag": {"tags": ["旧类目"]}}]}
    kinds = [one.kind for one in found(book(is_("券"), tag(has="旧类目"), R0=gives), known=KNOWN)]
    assert DEAD not in kinds


def test_a_disjoint_rulebook_of_hundreds_of_rules_gives_no_alarm() -> None:
    whens: list[When] = []
    letters = [chr(0x4E00 + number) for number in range(600)]
    simple = [letter for letter in letters if fold_words(letter) == letter]
    for number in range(240):
        word = f"词{simple[number]}尾"
        whens.append(
            (
                is_(word, word + "甲"),
                has(word),
                starts(word),
                fits(f"{word}*号"),
                matches(rf"^{word}\d+$"),
                key(f"M_{number}"),
                scan(f"code_{number}_*"),
                follow(f"from_{number}"),
                [is_(word), at("22:00", "08:00")],
                [has(word), VIP, days("mon")],
                [starts(word), COOL],
                [is_(word), field("岁", gte=number)],
            )[number % 12]
        )
    assert found(book(*whens)) == []


def test_the_demo_has_one_shadow_one_time_conflict_and_one_dead_rule() -> None:
    file = yaml.safe_load(Path(bot.demo.__file__).with_name("brand.yaml").read_text())
    rulebook = load({"rules": file["rules"], "fallback": file["fallback"]})
    known = {
        "tag": [one["name"] for one in file["tags"]],
        "scene": [one["key"] for one in file["scenes"]],
    }
    shadow, dead, conflict = found(rulebook, known=known)
    assert (shadow.kind, shadow.rule, shadow.words) == (SHADOWED, "优惠券过期", ("优惠券过期",))
    assert [(one.rule, one.word) for one in shadow.others] == [("提到券", "券")]
    assert (dead.kind, dead.rule, dead.sentence) == (DEAD, "眼影新色（已下架）", "over")
    assert (conflict.kind, conflict.rule) == (CONFLICT, "夜间回复")
    assert conflict.sentence == "time_conflict"


LETTERS = st.text("ab1券 ", min_size=1, max_size=4).filter(lambda text: text.strip() == text)
PATTERNS = st.sampled_from(["a*", "*b", "a*b", "*券*", "*", "1*1"])
EXPRESSIONS = st.sampled_from(
    [
        "^a+$",
        "a",
        "[ab]1",
        r"^\d+$",
        "券|a",
        "(a|b)*",
        "a.b",
        "^(a|b1)",
        "1{2,3}",
        "(?i)A$",
        r"\d券",
    ]
)
CONDITIONS = st.one_of(
    st.lists(LETTERS, min_size=1, max_size=2).map(lambda words: is_(*words)),
    st.lists(LETTERS, min_size=1, max_size=2).map(lambda words: has(*words)),
    LETTERS.map(lambda word: starts(word)),
    PATTERNS.map(fits),
    EXPRESSIONS.map(matches),
    st.sampled_from([kind("text"), kind("text", "voice"), kind("image"), key("M"), key("M", "N")]),
    st.sampled_from(
        [scan("a*"), scan("ab"), follow(), follow("a*"), VIP, tag(lacks="会员"), FIRST]
    ),
    st.sampled_from([at("11:00", "13:00"), at("22:00", "12:30"), days("sun"), days("mon", "tue")]),
    st.sampled_from([COOL, field("f", gte=1), field("f", gte=2, lte=5), field("f", **{"is": 3})]),
    st.sampled_from(
        [field("f", **{"is": "3"}), field("f", **{"in": ["a", 3]}), field("f", lte="b")]
    ),
)
PUSHES = st.builds(
    Facts,
    push_key=st.just("p"),
    kind=st.sampled_from(["text", "text", "text", "voice"]),
    at=st.sampled_from([NOW, datetime(2026, 11, 23, 15, 0, tzinfo=UTC)]),
    text=st.text("abAB1券 ", min_size=1, max_size=5),
    first_message=st.booleans(),
    tags=st.sampled_from([frozenset(), frozenset({"会员"})]),
    fields=st.sampled_from([{}, {"f": 1}, {"f": 3}, {"f": "3"}, {"f": "a"}, {"f": 2.5}]),
    fired=st.sampled_from([{}, {"R0": NOW, "R1": NOW}]),
) | st.builds(
    Facts,
    push_key=st.just("p"),
    kind=st.sampled_from(["image", "menu_click", "scan", "subscribe"]),
    at=st.just(NOW),
    key=st.sampled_from(["M", "N"]),
    scene=st.sampled_from(["", "a", "ab", "b"]),
    tags=st.sampled_from([frozenset(), frozenset({"会员"})]),
)


@pytest.mark.slow  # 150 rulebooks, a dozen pushes each
@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(CONDITIONS, max_size=3), min_size=2, max_size=6),
    st.lists(PUSHES, min_size=6, max_size=12),
)
def test_a_rule_that_is_called_shadowed_or_dead_never_wins(
    whens: list[list[dict[str, Any]]], pushes: list[Facts]
) -> None:
    rulebook = book(*whens)
    never = {one.rule for one in found(rulebook) if one.kind in (SHADOWED, DEAD)}
    for facts in pushes:
        assert never.isdisjoint(decide(rulebook, facts).rules)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(CONDITIONS, max_size=2), min_size=2, max_size=6))
def test_every_example_shows_what_is_claimed(whens: list[list[dict[str, Any]]]) -> None:
    rulebook = book(*whens)
    for one in found(rulebook):
        assert (one.example is None) == (one.kind == DEAD)
        if one.example is not None:
            winner = decide(rulebook, one.example).rules
            assert winner and (one.kind == CONFLICT or one.rule not in winner)
