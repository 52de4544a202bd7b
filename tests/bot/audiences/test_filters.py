"""Every filter against the planted population and a plain-Python evaluator, on every database."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bot.audiences.conftest import NAMED, Town
from tests.bot.audiences.population import CAMPAIGNS, SCENES, TAGS

ROWS: list[tuple[dict[str, Any], int]] = [
    ({"all": []}, 20),
    ({"tag": {"has": "红"}}, 3),  # not who lost it by time, a moment ago or long ago
    ({"tag": {"any": ["蓝", "绿"]}}, 3),
    ({"tag": {"lacks": ["红"]}}, 17),
    ({"tag": {"has": "没有这个标签"}}, 0),
    ({"field": {"name": "单数", "is": 3}}, 1),  # neither "3" nor true
    ({"field": {"name": "单数", "is": "3"}}, 1),
    ({"field": {"name": "单数", "is": True}}, 1),
    ({"field": {"name": "单数", "in": [3, "3", "10", -2.0]}}, 4),
    ({"field": {"name": "单数", "gte": 3}}, 3),
    ({"field": {"name": "单数", "lte": 3.5}}, 3),
    ({"field": {"name": "单数", "gte": 3, "lte": 3.5}}, 2),
    ({"field": {"name": "生日", "gte": "2025-01-01"}}, 1),
    ({"field": {"name": "城市", "missing": True}}, 18),  # null counts as missing
    ({"field": {"name": "城市", "missing": False}}, 2),
    ({"field": {"name": "vip", "is": False}}, 1),
    ({"not": {"field": {"name": "城市", "is": "上海"}}}, 19),  # nobody is lost to NULL
    ({"subscribed_between": {"from": "2025-02-21T09:00:00+08:00"}}, 18),
    ({"subscribed_between": {"until": "2025-02-21T09:00:00+08:00"}}, 2),
    ({"last_active": {"within_days": 7}}, 2),
    ({"last_active": {"not_within_days": 7}}, 18),
    ({"did": {"event": "click"}}, 4),  # not the click of tomorrow
    ({"did": {"event": "click", "within_days": 7}}, 3),  # 7 × 24 hours, the edge included
    ({"did": {"event": "click", "times": 2, "within_days": 7}}, 2),
    ({"did": {"event": "click", "times": 3}}, 1),
    ({"did_not": {"event": "click", "within_days": 7}}, 17),
    ({"scene": {"first": "wb_*"}}, 1),  # case counts
    ({"scene": {"last": "shop"}}, 2),
    ({"scene": {"ever": "wb_*"}}, 3),
    ({"scene": {"ever": "*_bio"}}, 2),
    ({"got_campaign": {"name": "春"}}, 2),  # sent or unknown
    ({"got_campaign": {"name": "夏"}}, 0),
    ({"in_segment": {"name": "红的"}}, 3),
    ({"in_segment": {"name": "不红"}}, 17),
]


@pytest.mark.parametrize(("where", "people"), ROWS, ids=[str(where) for where, _ in ROWS])
def test_a_filter_selects_whom_it_says(town: Town, where: dict[str, Any], people: int) -> None:
    found = town.ask(where)
    assert found == town.expect(where)
    assert len(found) == people


NAMES_OF_FIELDS = st.sampled_from(["城市", "单数", "生日", "vip", "没有"])
VALUES = st.sampled_from([3, 3.5, "3", "10", 10, -2, True, False, "上海", "2025-01-01", 0, 1, "1"])
DAYS = st.sampled_from([1, 5, 7, 29, 30, 365])
SIZES = st.sampled_from([-2, 0, 3, 3.5, 11]) | st.sampled_from(["", "2024-12-31", "3", "上"])
WANTED_SCENES = st.sampled_from([*SCENES, "*", "wb_*", "*_bio", "w*_*o*", "wb*bio", "nope"])
EVENTS = st.sampled_from(["click", "message", "购买", "subscribe", "scan", "nothing"])
MOMENTS = st.sampled_from(
    ["2024-01-01", "2025-02-21T09:00:00+08:00", "2025-02-21T09:00:01+08:00", "2025-03-03"]
)


def one_of_keys(**choices: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of([st.fixed_dictionaries({key: values}) for key, values in choices.items()])


def named(name: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return values.map(lambda value: {name: value})


LISTS_OF_TAGS = st.lists(st.sampled_from(TAGS), min_size=1, max_size=3)
LEAVES = st.one_of(
    named("tag", one_of_keys(has=st.sampled_from(TAGS), any=LISTS_OF_TAGS, lacks=LISTS_OF_TAGS)),
    named(
        "field",
        st.builds(
            lambda name, test: {"name": name} | test,
            NAMES_OF_FIELDS,
            one_of_keys(
                **{
                    "is": VALUES,
                    "in": st.lists(VALUES, min_size=1, max_size=4),
                    "gte": SIZES,
                    "lte": SIZES,
                    "missing": st.booleans(),
                }
            ),
        ),
    ),
    named("subscribed_between", one_of_keys(**{"from": MOMENTS, "until": MOMENTS})),
    named("last_active", one_of_keys(within_days=DAYS, not_within_days=DAYS)),
    named(
        "did",
        st.fixed_dictionaries(
            {"event": EVENTS}, optional={"times": st.integers(1, 4), "within_days": DAYS}
        ),
    ),
    named("did_not", st.fixed_dictionaries({"event": EVENTS}, optional={"within_days": DAYS})),
    named("scene", one_of_keys(first=WANTED_SCENES, last=WANTED_SCENES, ever=WANTED_SCENES)),
    named("got_campaign", st.fixed_dictionaries({"name": st.sampled_from(CAMPAIGNS)})),
    named("in_segment", st.fixed_dictionaries({"name": st.sampled_from(sorted(NAMED))})),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        named("all", st.lists(inner, max_size=3)),
        named("any", st.lists(inner, min_size=1, max_size=3)),
        named("not", inner),
    ),
    max_leaves=8,
)


# the town is read only, so sharing it between examples is meant
@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(where=TREES)
def test_any_tree_selects_the_same_people_in_sql_as_in_plain_python(
    town: Town, where: dict[str, Any]
) -> None:
    assert town.ask(where) == town.expect(where)
