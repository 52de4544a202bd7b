"""Plans in writing: versions, the five factors, bursts, handing in; playbooks and past activities."""

from datetime import date, timedelta
from typing import Any

import pytest

from bot.accounts import Account
from bot.audiences import segments
from bot.campaigns import pasts, plan_checks, plans, playbooks
from bot.db import Session
from bot.errors import Invalid, Refused
from tests import factories

NOW = factories.at("2025-11-14 09:00")
FACTORS = {
    "participation": "在品牌微博下留言",
    "benefit": "奈雪の茶 8 元券",
    "strength": "8 元，人人有",
    "time": "11-14 到 11-19",
    "path": "消息 → 点链接 → 留言",
}
WHOLE: dict[str, Any] = {
    "name": "奈雪8元券",
    "groups": [{"name": "G1", "segment": "微博互动"}],
    "at": "2025-11-25T20:30:00+08:00",
    "channels": ["mass"],
    "content": {"text": "请你喝奶茶"},
    "brief": {**FACTORS, "begins": "2025-11-14", "ends": "2025-11-19"},
}


def test_two_writers_see_each_other_and_the_page_s_own_saves_do_not_get_in_the_way(
    account: Account, session: Session
) -> None:
    plan_id = plans.create(session, account.id, {"name": "甲"}, NOW, by="Ann")

    def save(given: dict[str, Any], by: str, version: int, **more: Any) -> plans.Plan:
        return plans.save(
            session, account.id, plan_id, given, NOW, version=version, step=2, by=by, **more
        )

    kept = save({"name": "甲甲"}, "Ann", 1, unasked=True)
    assert (kept.version, kept.step) == (1, 2)  # the button Ann presses meanwhile still fits
    assert save({"name": "乙"}, "Ann", 1).version == 2
    with pytest.raises(plans.SavedBetween) as between:
        save({"name": "丙"}, "Ming", 1)
    assert between.value.theirs.name == "乙"
    assert save({"name": "丙"}, "Ming", 2, unasked=True).version == 3
    with pytest.raises(plans.SavedBetween):
        save({"name": "丁"}, "Ann", 2)
    assert save({"name": "丙"}, "Ann", 3).version == 3  # the same again changes nothing
    with pytest.raises(Refused):
        plans.save(session, account.id, 99, {}, NOW, version=1, step=1, by="Ann")


def test_a_plan_is_handed_in_once_it_is_whole(account: Account, session: Session) -> None:
    segments.save(session, account.id, "微博互动", {"all": []}, NOW)
    plan_id = plans.create(session, account.id, {**WHOLE, "channels": []}, NOW, by="Ann")
    with pytest.raises(Invalid):
        plans.submit(session, account, plan_id, NOW, by="Ann", version=1)
    plans.save(session, account.id, plan_id, WHOLE, NOW, version=1, step=5, by="Ann")
    with pytest.raises(plans.SavedBetween):
        plans.submit(session, account, plan_id, NOW, by="Ann", version=1)
    campaign = plans.submit(session, account, plan_id, NOW, by="Ann", version=2)
    assert campaign.status == "draft"
    found = plans.of_campaign(session, account.id, campaign.id)
    assert found is not None and found.id == plan_id
    # under another name it is still the same campaign
    plans.save(
        session, account.id, plan_id, {**WHOLE, "name": "奈雪"}, NOW, version=2, step=5, by="Ann"
    )
    again = plans.submit(session, account, plan_id, NOW, by="Ann", version=3)
    assert (again.id, again.name) == (campaign.id, "奈雪")
    other = plans.create(session, account.id, {**WHOLE, "name": "奈雪"}, NOW, by="Ming")
    with pytest.raises(Refused, match="exists already"):
        plans.submit(session, account, other, NOW, by="Ming", version=1)


@pytest.mark.parametrize(
    ("change", "days", "verdict"),
    [
        ({}, 6, True),
        ({"participation": "填表", "path": "填表"}, 6, True),  # a benefit and a short time
        ({"participation": "填表", "path": "填表"}, 30, False),
        ({"benefit": "会员资格", "strength": "长期"}, 30, False),
        ({}, 30, True),
        ({"participation": "", "path": ""}, 6, None),
    ],
)
def test_a_burst_is_two_of_three_signs(
    change: dict[str, str], days: int, verdict: bool | None
) -> None:
    found = plans.burst({**FACTORS, **change}, NOW, NOW + timedelta(days=days - 1))
    assert (found.verdict, found.days) == (verdict, days)


def test_what_is_missing_of_the_five_is_named() -> None:
    assert plans.missing_factors({"brief": {"benefit": "券"}}) == [
        "participation", "strength", "time", "path",
    ]  # fmt: skip
    assert plans.missing_factors({"brief": FACTORS}) == []


def test_a_playbook_begins_a_plan_of_somebody_else_on_other_days(
    account: Account, session: Session
) -> None:
    results = {"delivered": 4301, "guided": 1044, "slots": 3360}
    kept = playbooks.save(
        session,
        account.id,
        "微博留言",
        {**WHOLE, "status": "draft"},
        NOW,
        by="Ann",
        results=results,
    )
    later = playbooks.save(session, account.id, "微博留言", WHOLE, NOW, by="Ming", note="改了时间")
    assert (kept.version, later.version) == (1, 2)
    assert [one.version for one in playbooks.every(session, account.id)] == [2]
    assert [one.version for one in playbooks.versions(session, account.id, "微博留言")] == [2, 1]
    assert kept.results == results and "status" not in kept.document
    plan_id = playbooks.begin_plan(
        session, account.id, kept.id, NOW, by="Wei", begins=date(2025, 12, 1)
    )
    plan = plans.find(session, account.id, plan_id)
    assert plan is not None and plan.created_by == "Wei"
    brief = plan.document["brief"]
    assert (brief["begins"], brief["ends"]) == ("2025-12-01", "2025-12-06")
    assert plan.document["at"] == "2025-12-12T20:30:00+08:00"
    assert plan.name == "奈雪8元券"
    playbooks.archive(session, account.id, "微博留言", NOW)
    assert playbooks.every(session, account.id) == []
    with pytest.raises(Refused):
        playbooks.begin_plan(session, account.id, kept.id, NOW, by="Wei", begins=date(2025, 12, 1))


def test_past_activities_are_typed_in_and_taken_back(account: Account, session: Session) -> None:
    given = {"kind": "微博互动", "day": None, "by": "Ann", "now": NOW}
    past_id = pasts.add(session, account.id, name="直播暗号", delivered=1500, guided=390, **given)
    (one,) = pasts.every(session, account.id)
    assert (one.rate, one.typed, one.as_past().guided) == (0.26, True, 390)
    for wrong in (
        {"name": "直播暗号", "delivered": 1, "guided": 1},
        {"name": "", "delivered": 1, "guided": 1},
        {"name": "x", "delivered": 0, "guided": 0},
        {"name": "x", "delivered": 5, "guided": 6},
    ):
        with pytest.raises(Invalid):
            pasts.add(session, account.id, **wrong, **given)
    assert pasts.remove(session, account.id, past_id) == "直播暗号"
    assert pasts.remove(session, account.id, past_id) is None


BAD, GOOD, WORSE = {"text": "全国第一"}, {"text": "请你喝奶茶"}, {"text": "转发到朋友圈才能领"}
VARIANTS = [{"name": "A", "content": GOOD}, {"name": "B", "content": {"text": "来喝奶茶"}}]


@pytest.mark.parametrize(
    ("change", "places"),
    [
        ({"content": BAD}, {"content"}),
        # tested on one channel: the other says the main words
        ({"content": BAD, "channels": ["customer_service", "mass"],
          "experiment": {"of": "content", "variants": VARIANTS, "channels": ["mass"]}}, {"content"}),
        # tested on all of them: nobody says the main words …
        ({"content": BAD, "experiment": {"of": "content", "variants": VARIANTS}}, set()),
        # … but a follow-up without its own
        ({"content": BAD, "experiment": {"of": "content", "variants": VARIANTS},
          "follow_ups": [{"after": "48h", "channels": ["customer_service"]}]}, {"content"}),
        ({"content": BAD, "experiment": {"of": "content", "variants": [
            {"name": "A", "content": BAD}, VARIANTS[1]]}}, {"experiment.variants.0.content"}),
        ({"follow_ups": [{"after": "48h", "channels": ["customer_service"], "content": WORSE}]},
         {"follow_ups.0.content"}),
        ({"contents": {"mass": WORSE}}, {"contents.mass"}),
        ({"links": {"wb": "https://weibo.com/u/1", "ip": "https://10.0.0.1/x"}}, {"links.ip.url"}),
    ],
)  # fmt: skip
def test_every_word_that_goes_out_is_checked(change: dict[str, Any], places: set[str]) -> None:
    found = plan_checks.findings({**WHOLE, **change})
    assert {one.place.removesuffix(".text") for one in found if one.severity == "error"} == places
