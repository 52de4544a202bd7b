"""The campaign document: each problem named with its place, and one canonical form."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot import db
from bot.campaigns import definitions, document
from tests.bot.campaigns.conftest import Play

GOOD: dict[str, Any] = {
    "name": "奈雪8元券",
    "segment": "大家",
    "at": "2025-11-25T20:30:00+08:00",
    "channels": ["customer_service", "mass"],
    "content": {"text": "请你喝奶茶 {link:wb}"},
    "links": {"wb": "https://weibo.com/u/1"},
}
NOTICE = {"notice": {"template": "T" * 43, "data": {"thing1": "活动开始"}}}
NOTIFIES: dict[str, Any] = {"content": NOTICE, "links": {}}
A, B = {"name": "A", "content": {"text": "直接领"}}, {"name": "B", "content": {"text": "请你喝"}}
PERSONAL = {"text": "{称呼}"}  # differs from follower to follower
TWICE = {"after": "48h", "channels": ["mass"]}
NOON, NIGHT = {"name": "午间", "at": "12:30"}, {"name": "晚间", "at": "20:30"}


def trying(**values: Any) -> dict[str, Any]:
    return {"experiment": {"of": "content", "variants": [A, B], "channels": ["mass"]} | values}


@pytest.mark.parametrize(
    ("change", "place", "said"),
    [
        ({"groups": [{"name": "一", "segment": "大家"}]}, "", "exactly one of segment and groups"),
        ({"segment": None}, "", "exactly one of segment and groups"),
        ({"segment": None, "groups": []}, "groups", "at least 1"),
        ({"segment": None, "groups": [{"name": "一", "segment": "大家", "rate": 1.1}]}, "groups.0.rate", "1"),
        ({"message_class": "spam"}, "message_class", "marketing"),
        ({"contents": {"mass": {"text": "{称呼}"}}}, "contents.mass", "differs"),
        ({"contents": {"mass": {"text": "{link:x}"}}}, "contents.mass", "not among the links"),
        ({"contents": {"webhook": {"text": "你好"}}}, "contents.webhook", "not among the channels"),
        (trying(variants=[A]), "experiment.variants", "at least 2"),
        (trying(variants=[A, A]), "experiment", "two variants have one name"),
        (trying(variants=[A, {"name": "B"}]), "experiment", "variant B needs content"),
        (trying(variants=[A, {**B, "at": "12:30"}]), "experiment", "is not tested"),
        (trying(of="hour"), "experiment", "variant A needs at"),
        (trying(of="hour", variants=[NOON, NIGHT]) | {"pace": {"batches": 2, "every": "1h"}}, "pace", "hours"),
        (trying(variants=[A, {"name": "B", "content": PERSONAL}]), "experiment.variants.1.content", "differs"),
        (trying(variants=[A, {"name": "B", "content": {"text": ""}}]), "experiment.variants.1.content", "empty"),
        (trying(shares=[0.5]), "experiment", "one number for each"),
        (trying(shares=[0.5, 0.4]), "experiment", "sum to 1"),
        (trying(shares=[1, "x"]), "experiment.shares.1", "number"),
        (trying(test_share=0), "experiment.test_share", "greater than 0"),
        (trying(bandit=True, test_share=0.5), "experiment", "no test_share"),
        (trying(of="hour", variants=[NOON, NIGHT], bandit=True), "experiment", "each hour is one part"),
        (trying(decide_after="soon"), "experiment.decide_after", "length of time"),
        (trying(min_sample=0), "experiment.min_sample", "greater than or equal to 1"),
        (trying(channels=["webhook"]), "experiment.channels", "not among the channels"),
        (
            trying(channels=None) | {"contents": {"mass": {"text": "一"}, "customer_service": {"text": "二"}}},
            "experiment.channels",
            "every channel has content of its own",
        ),
        ({"holdout": 0.51}, "holdout", "0.5"),
        ({"holdout": "0.1"}, "holdout", "number"),
        ({"pace": {"batches": 1, "every": "1h"}}, "pace.batches", "2"),
        ({"follow_ups": [{"after": "48h", "channels": []}]}, "follow_ups.0.channels", "at least 1"),
        ({"follow_ups": [TWICE | {"to": "not_converted"}]}, "follow_ups.0.to", "goal"),
        ({"follow_ups": [TWICE | {"content": PERSONAL}]}, "follow_ups.0.content", "differs"),
        ({"goal": {"metric": "event", "target": 1}}, "goal", "name of the event"),
        ({"goal": {"metric": "guided", "event": "领券", "target": 1}}, "goal", "name of the event"),
        ({"after": {"wait": "72h", "clicks": "点击"}}, "after.clicks", "not permitted"),
        ({"brief": {"burst": "maybe"}}, "brief.burst", "boolean"),
        ({"brief": {"文案口吻": 7}}, "brief.文案口吻", "string"),
        ({"worth": {"click": -1}}, "worth.click", "0"),
        (NOTIFIES | {"channels": ["subscription"]}, "message_class", "service notices only"),
        (NOTIFIES | {"channels": ["mass"], "message_class": "service"}, "content", "cannot be sent"),
    ],
)  # fmt: skip
def test_a_problem_names_its_place(change: dict[str, Any], place: str, said: str) -> None:
    wanted = {key: value for key, value in (GOOD | change).items() if value is not None}
    if "experiment" in wanted and wanted["experiment"].get("channels", 1) is None:
        del wanted["experiment"]["channels"]
    found = document.problems(wanted, "campaigns.0")
    assert [where for where, _ in found] == ["campaigns.0" + (f".{place}" if place else "")]
    assert said in found[0][1]


def test_what_is_as_by_default_is_left_out() -> None:
    spelled_out = GOOD | {
        "message_class": "marketing",
        "holdout": 0.0,
        "contents": {},
        "follow_ups": [],
        "worth": {"click": 1.0, "protect": False},
        "brief": {"monitoring": []},
        **trying(test_share=1.0, decide_after="24h", min_sample=400, winner="auto", bandit=False),
        "after": {"wait": "72h", "clicked": "点击"},
    }
    assert document.parse(spelled_out) == GOOD | trying() | {
        "after": {"clicked": "点击"},
        "status": "draft",
    }


name = st.text("甲乙丙AB12", min_size=1, max_size=8)
text = st.text("请你喝奶茶吧 ok", min_size=1, max_size=20).filter(lambda said: bool(said.strip()))
said = st.fixed_dictionaries({"text": text})
length = st.sampled_from(["10m", "24h", "3d", "90s", 3600])
share = st.sampled_from([0.0, 0.02, 0.1, 0.25, 0.5])
whole = st.integers(2, 8)
documents = st.fixed_dictionaries(
    {"name": name, "channels": st.just(["customer_service", "mass"]), "content": said,
     "at": st.just("2025-11-25T20:30:00+08:00")},
    optional={
        "message_class": st.sampled_from(["marketing", "service"]),
        "contents": st.fixed_dictionaries({}, optional={"customer_service": said}),
        "experiment": st.fixed_dictionaries(
            {"of": st.just("content"), "variants": st.lists(said, min_size=2, max_size=8).map(
                lambda all_: [{"name": f"V{n}", "content": one} for n, one in enumerate(all_)]
            )},
            optional={
                "channels": st.just(["mass"]),
                "test_share": st.sampled_from([0.2, 1.0]),
                "decide_after": length, "min_sample": st.integers(1, 1000),
                "winner": st.sampled_from(["auto", "manual"]),
            },
        ),
        "holdout": share,
        "pace": st.fixed_dictionaries({"batches": whole, "every": length}),
        "follow_ups": st.lists(
            st.fixed_dictionaries(
                {"after": length, "channels": st.just(["mass"])}, optional={"content": said}
            ),
            max_size=3,
        ),
        "after": st.fixed_dictionaries({}, optional={"wait": length}),
        "brief": st.dictionaries(
            st.sampled_from(["participation", "persona", "口吻", "备注"]), text, max_size=4
        ),
        "worth": st.fixed_dictionaries(
            {}, optional={"click": st.sampled_from([0.0, 1.0, 2.5]), "protect": st.booleans()}
        ),
        "goal": st.fixed_dictionaries({"metric": st.just("guided"), "target": whole}),
    },
).flatmap(
    lambda one: st.sampled_from(
        [
            one | {"segment": "大家"},
            one | {"groups": [{"name": "一", "segment": "大家", "rate": 0.2}]},
        ]
    )
)  # fmt: skip


@given(documents)
def test_the_canonical_form_of_a_canonical_form_is_itself(one: dict[str, Any]) -> None:
    canonical = document.parse(one)
    assert document.parse(canonical) == canonical


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(documents)
def test_whatever_is_stored_is_written_back_the_same(play: Play, one: dict[str, Any]) -> None:
    def back(session: db.Session) -> tuple[Any, Any, int]:
        first = definitions.save(session, play.account, one, play.now, by="Ann")
        again = definitions.document_of(first)
        second = definitions.save(session, play.account, again, play.now, by="Bo")
        return again, definitions.document_of(second), second.version - first.version

    written, again, raised = play.write(back)
    assert written == again == document.parse(one)
    assert raised == 0
