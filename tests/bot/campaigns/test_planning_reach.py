"""Planning with everything a campaign may say: groups, holdouts, caps, held slots, variants, parts, follow-ups."""

import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from pyroaring import BitMap

from bot import accounts, db
from bot.audiences import index, segments
from bot.audiences.index import Look
from bot.campaigns import candidates, caps, definitions, experiment, holds, ledger, planning
from bot.clock import parse_moment
from bot.errors import Invalid, Refused
from bot.tables.accounts import accounts as accounts_table
from bot.tables.audiences import audience_sets
from bot.tables.campaigns import (
    allocation_places,
    allocations,
    campaign_runs,
    deliveries,
)
from bot.tables.events import events
from bot.tables.followers import consents, follower_tags, followers, tags
from bot.tables.tracking import clicks, links
from tests import factories
from tests.bot.campaigns.conftest import Play
from tests.bot.campaigns.makers import make_campaign, make_delivery, make_run, open_window

MONTH = "2025-03"
TWO_GROUPS = [{"name": "核心", "segment": "微博"}, {"name": "其余", "segment": "大家"}]
A_OR_B = {
    "of": "content",
    "variants": [
        {"name": "A", "content": {"text": "直接领"}},
        {"name": "B", "content": {"text": "请你喝奶茶"}},
    ],
}


@pytest.fixture
def weibo(play: Play) -> list[int]:
    """Five of the twenty carry a tag, and a segment names them."""

    def work(session: db.Session) -> None:
        tag = factories.make_tag(session, play.account_id, "微博来源")
        for person in play.people[:5]:
            factories.give_tag(session, play.account_id, person, tag, now=play.now)
        segments.save(session, play.account_id, "微博", {"tag": {"has": "微博来源"}}, play.now)

    play.write(work)
    return play.people[:5]


def count(play: Play, run_id: int, *columns: Any) -> dict[Any, int]:
    rows = play.read(
        sa.select(*columns, sa.func.count()).where(deliveries.c.run_id == run_id).group_by(*columns)
    )
    return {tuple(row[:-1]) if len(columns) > 1 else row[0]: row[-1] for row in rows}


def open_ids(play: Play) -> dict[int, str]:
    return {
        row.id: row.open_id for row in play.read(sa.select(followers.c.id, followers.c.open_id))
    }


def more_followers(play: Play, people: int) -> None:
    rows = [
        {
            "account_id": play.account_id, "open_id": factories.open_id(100 + number),
            "subscribed": True, "subscribed_at": play.now, "first_seen_at": play.now,
            "fields": {}, "messages": 0, "tester": False,
        }
        for number in range(people)
    ]  # fmt: skip
    play.write(lambda session: session.execute(sa.insert(followers), rows))


def test_who_is_in_two_groups_belongs_to_the_first(play: Play, weibo: list[int]) -> None:
    run_id = play.planned(segment=None, groups=TWO_GROUPS)
    assert play.sums(run_id) == {"planned": 20}
    assert count(play, run_id, deliveries.c.group) == {"核心": 5, "其余": 15}
    chosen = play.read(
        sa.select(deliveries.c.follower_id)
        .where(deliveries.c.group == "核心")
        .order_by(deliveries.c.follower_id)
    )
    assert [row[0] for row in chosen] == weibo


def test_a_forecast_says_of_each_group_whom_it_reaches(play: Play, weibo: list[int]) -> None:
    for person in weibo[:2]:
        play.write(lambda session, p=person: ledger.carry(session, play.account_id, p, MONTH, 4))
    campaign = play.campaign(segment=None, groups=TWO_GROUPS, holdout=0.2)
    with db.reading(play.engine) as session:
        found = planning.forecast(session, play.account, campaign, play.now)
    (run_id,) = play.start()
    play.plan(run_id)
    sums = play.sums(run_id)
    assert (found.people, found.reached, found.slots) == (20, sums["planned"], sums["planned"])
    assert found.reasons == {
        word.removeprefix("skipped:"): n for word, n in sums.items() if ":" in word
    }
    assert {name: group.people for name, group in found.groups.items()} == {"核心": 5, "其余": 15}
    assert sum(group.slots for group in found.groups.values()) == found.slots
    assert (
        found.groups["核心"].reasons.get("no_slot", 0)
        + found.groups["核心"].reasons.get("holdout", 0)
        == 5 - found.groups["核心"].reached
    )


@pytest.mark.parametrize("message_class", ["marketing", "service"])
def test_the_same_people_are_held_out_and_service_messages_reach_the_account_wide_ones(
    play: Play, message_class: str
) -> None:
    play.limits(holdout=0.2)
    run_id = play.planned(name="七折", holdout=0.3, message_class=message_class)
    wanted = {
        person
        for person, open_id in open_ids(play).items()
        if experiment.in_holdout("holdout:muyan:七折", open_id, 0.3)
        or (message_class == "marketing" and experiment.in_holdout("holdout:muyan", open_id, 0.2))
    }
    held = play.read(
        sa.select(deliveries.c.follower_id).where(
            deliveries.c.run_id == run_id, deliveries.c.reason == "holdout"
        )
    )
    assert {row[0] for row in held} == wanted
    assert wanted
    sums = play.sums(run_id)
    assert sums == {"planned": 20 - len(wanted), "skipped:holdout": len(wanted)}


def test_a_split_is_by_the_person_where_the_platform_tells_who_it_is(play: Play) -> None:
    play.write(
        lambda session: session.execute(
            sa.update(followers)
            .where(followers.c.id == play.people[0])
            .values(union_id="union-of-lan")
        )
    )
    campaign = play.campaign(holdout=0.5)
    with db.reading(play.engine) as session:
        plan = candidates.read_plan(session, play.account, campaign, campaign.content, play.now)
        page = candidates.next_page(session, plan, 0, 10**6)
    assert page[0].person == "union-of-lan"
    assert page[1].person == open_ids(play)[play.people[1]]


def test_variants_are_given_by_the_split_on_the_tested_channels_only(play: Play) -> None:
    for person in play.people[:4]:
        play.write(
            lambda session, p=person: open_window(
                session, play.account_id, p, until=play.now + timedelta(hours=9)
            )
        )
    run_id = play.planned(
        name="试", channels=["customer_service", "mass"],
        contents={"customer_service": {"text": "{称呼|您}好"}}, experiment=A_OR_B,
    )  # fmt: skip
    found = count(play, run_id, deliveries.c.channel, deliveries.c.variant)
    assert found[("customer_service", None)] == 4
    wanted = Counter(
        "AB"[experiment.pick("variant:muyan:试", open_id, [0.5, 0.5])]
        for person, open_id in open_ids(play).items()
        if person not in play.people[:4]
    )
    assert {key[1]: n for key, n in found.items() if key[0] == "mass"} == wanted


@pytest.mark.parametrize(
    ("more", "decided"), [({"test_share": 0.4}, True), ({"bandit": True}, False)]
)
def test_what_is_decided_later_has_no_variant_yet(
    play: Play, more: dict[str, Any], decided: bool
) -> None:
    run_id = play.planned(name="试", experiment={**A_OR_B, **more})
    found = count(play, run_id, deliveries.c.variant)
    wanted = Counter(
        ["A", "B", None][experiment.pick("variant:muyan:试", open_id, [0.2, 0.2])]
        if decided
        else None
        for open_id in open_ids(play).values()
    )
    assert found == wanted


def test_staggered_parts_begin_one_after_another_and_nobody_stands_alone(play: Play) -> None:
    more_followers(play, 180)
    run_id = play.planned(name="慢", pace={"batches": 4, "every": "30m"}, experiment=A_OR_B)
    run = play.run(run_id)
    moments = [parse_moment(one["at"]) for one in run.waves]
    assert [one["wave"] for one in run.waves] == [1, 2, 3, 4]
    assert [moment - moments[0] for moment in moments] == [
        timedelta(minutes=30 * number) for number in range(4)
    ]
    assert moments[0] == run.next_wave_at
    found = count(play, run_id, deliveries.c.wave, deliveries.c.variant)
    assert {wave for wave, _variant in found} == {1, 2, 3, 4}
    assert min(found.values()) > 1
    assert sum(found.values()) == 200


def test_a_person_alone_in_a_part_goes_with_another(play: Play) -> None:
    # twenty people in a hundred parts: most stand alone
    run_id = play.planned(pace={"batches": 100, "every": "1m"})
    assert min(count(play, run_id, deliveries.c.wave).values()) > 1
    assert play.sums(run_id) == {"planned": 20}


def test_each_hour_is_a_wave_of_its_own(play: Play) -> None:
    hours = {
        "of": "hour",
        "variants": [{"name": "午间", "at": "12:30"}, {"name": "清晨", "at": "07:00"}],
        "test_share": 0.5,
        "decide_after": "6h",
    }
    run_id = play.planned(experiment=hours)
    run = play.run(run_id)
    shown = [(one["wave"], one.get("variant"), one["at"]) for one in run.waves]
    # it is 09:00 in Shanghai: 07:00 is tomorrow
    assert [(wave, variant) for wave, variant, _at in shown] == [
        (1, None), (2, "午间"), (3, "清晨"), (4, None),
    ]  # fmt: skip
    at = [parse_moment(moment) for _wave, _variant, moment in shown]
    assert at[1] - play.now == timedelta(hours=3, minutes=30)
    assert at[2] - play.now == timedelta(hours=22)
    assert at[3] - at[2] == timedelta(hours=6)
    found = count(play, run_id, deliveries.c.wave, deliveries.c.variant)
    assert set(found) <= {(2, "午间"), (3, "清晨"), (4, None)}
    assert sum(found.values()) == 20


def test_the_first_small_part_has_of_every_group_and_variant_and_none_alone(
    play: Play, weibo: list[int]
) -> None:
    more_followers(play, 600)
    run_id = play.planned(segment=None, groups=TWO_GROUPS, experiment=A_OR_B)
    found = count(play, run_id, deliveries.c.wave, deliveries.c.group, deliveries.c.variant)
    first = {key: n for key, n in found.items() if key[0] == 0}
    # the five of the small group are too few for a part of their own
    assert {key[1] for key in first} == {"其余"}
    assert {key[2] for key in first} == {"A", "B"}
    assert 90 <= sum(first.values()) <= 110


def sent_before(play: Play, person: int, **values: Any) -> None:
    """A delivery of an earlier campaign."""

    def work(session: db.Session) -> None:
        account_id = values.pop("account_id", play.account_id)
        message_class = values.pop("message_class", "marketing")
        made = make_campaign(
            session, account_id, now=play.now, name=f"往期 {person} {values}",
            message_class=message_class, status="finished",
        )  # fmt: skip
        run_id = make_run(session, account_id, made, now=play.now, status="finished")
        given = {"status": "sent", "at": play.now - timedelta(days=2)} | values
        make_delivery(session, account_id, run_id, person, **given)

    play.write(work)


@pytest.mark.parametrize(
    ("cap", "before", "found"),
    [
        ({"messages": 1, "days": 7}, {}, {"skipped:cap": 1, "planned": 19}),
        ({"messages": 2, "days": 7}, {}, {"planned": 20}),
        ({"messages": 1, "days": 1}, {}, {"planned": 20}),
        ({"messages": 1, "days": 7, "channel": "mass"}, {}, {"skipped:cap": 1, "planned": 19}),
        (
            {"messages": 1, "days": 7, "channel": "mass"},
            {"channel": "customer_service"},
            {"planned": 20},
        ),
        ({"messages": 1, "days": 7, "channel": "customer_service"}, {}, {"planned": 20}),
        (
            {"messages": 1, "days": 7, "message_class": "marketing"},
            {},
            {"skipped:cap": 1, "planned": 19},
        ),
        (
            {"messages": 1, "days": 7, "message_class": "marketing"},
            {"message_class": "service"},
            {"planned": 20},
        ),
        ({"messages": 1, "days": 7, "message_class": "service"}, {}, {"planned": 20}),
        ({"messages": 1, "days": 7}, {"status": "failed"}, {"planned": 20}),
        ({"messages": 1, "days": 7}, {"status": "unknown"}, {"skipped:cap": 1, "planned": 19}),
    ],
)
def test_a_cap_counts_what_it_names(
    play: Play, cap: dict[str, Any], before: dict[str, Any], found: dict[str, int]
) -> None:
    play.limits(caps=[cap])
    sent_before(play, play.people[0], **before)
    assert play.sums(play.planned()) == found


def test_a_full_channel_leaves_the_others(play: Play) -> None:
    play.limits(caps=[{"messages": 1, "days": 7, "channel": "mass"}])
    for person in play.people[:2]:
        sent_before(play, person)
    play.write(
        lambda session: open_window(
            session, play.account_id, play.people[0], until=play.now + timedelta(hours=1)
        )
    )
    run_id = play.planned(channels=["mass", "customer_service"])
    assert play.sums(run_id) == {"planned": 19, "skipped:cap": 1}
    assert count(play, run_id, deliveries.c.channel)["customer_service"] == 1


@pytest.fixture
def sister(play: Play) -> int:
    """Another account of the brand; the first five followers are the same people there."""

    def work(session: db.Session) -> int:
        other = factories.make_account(session, "sister", now=play.now)
        session.execute(
            sa.update(accounts_table).values(brand="沐颜集", opening_stated_at=play.now)
        )
        people = factories.make_followers(session, other, 8, now=play.now)
        for number in range(5):
            for person in (play.people[number], people[number]):
                session.execute(
                    sa.update(followers)
                    .where(followers.c.id == person)
                    .values(union_id=f"union-{number}")
                )
        segments.save(session, other, "大家", {"all": []}, play.now)
        return int(other)

    return int(play.write(work))


def test_a_person_is_counted_across_sister_accounts(play: Play, sister: int) -> None:
    play.limits(person_cap={"messages": 1, "days": 7})
    theirs = play.read(
        sa.select(followers.c.id).where(followers.c.account_id == sister).order_by(followers.c.id)
    )
    for row in theirs[:3]:
        sent_before(play, row.id, account_id=sister)
    sent_before(play, play.people[10])  # somebody without a UnionID, on this account
    assert play.sums(play.planned()) == {"skipped:cap": 4, "planned": 16}


def test_an_account_of_another_brand_does_not_count(play: Play, sister: int) -> None:
    play.limits(person_cap={"messages": 1, "days": 7})
    play.write(
        lambda session: session.execute(
            sa.update(accounts_table).where(accounts_table.c.id == sister).values(brand="别家")
        )
    )
    theirs = play.read(
        sa.select(followers.c.id).where(followers.c.account_id == sister).order_by(followers.c.id)
    )
    sent_before(play, theirs[0].id, account_id=sister)
    assert play.sums(play.planned()) == {"planned": 20}


def test_two_accounts_that_plan_at_once_do_not_both_write_to_a_person(
    play: Play, sister: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cap = {"person_cap": {"messages": 1, "days": 7}}
    play.write(lambda session: session.execute(sa.update(accounts_table).values(limits=cap)))
    play.campaign()
    with db.reading(play.engine) as session:
        other = accounts.by_id(session, sister)
    document = {
        "name": "姐妹号", "segment": "大家", "at": play.now.isoformat(), "channels": ["mass"],
        "content": {"text": "你好"}, "approved_for": {"people": 99, "slots": 99},
        "status": "scheduled",
    }  # fmt: skip
    play.write(lambda session: definitions.save(session, other, document, play.now, by="Ann"))
    first, second = play.start()
    real = planning._write
    pages = candidates.next_page

    def overtaken(session: Any, plan: Any, after: int, last: int) -> Any:
        page = pages(session, plan, after, last)
        if plan.account.id == play.account_id and not done:
            done.append(True)
            play.plan(second)  # the other one plans to its end between our page and our write
        return page

    done: list[bool] = []
    monkeypatch.setattr(candidates, "next_page", overtaken)
    play.plan(first)
    assert real is planning._write
    assert play.sums(first) == {"planned": 15, "skipped:cap": 5}
    assert play.sums(second) == {"planned": 8}


def test_the_turn_tells_whether_anybody_else_wrote_since(play: Play) -> None:
    bound = caps.Caps(play.account_id, person=None)

    def write(run_id: int) -> str:
        def work(session: db.Session) -> str:
            caps.take_turn(session, bound)
            caps.sign(session, bound, run_id, caps.last_writer(session, bound))
            return caps.last_writer(session, bound)

        return str(play.write(work))

    assert write(7) == write(7)
    seen = write(7)
    write(8)
    assert write(7) != seen


def protected(play: Play, name: str = "十二月大促", days: float = 3, **values: Any) -> Any:
    at = (play.now + timedelta(days=days)).isoformat()
    return play.campaign(name, at=at, worth={"protect": True}, **values)


def test_a_slot_kept_for_a_later_campaign_is_not_given_away(play: Play, weibo: list[int]) -> None:
    protected(play, segment="微博")
    for person in weibo[:2]:
        play.write(lambda session, p=person: ledger.carry(session, play.account_id, p, MONTH, 3))
    assert play.sums(play.planned()) == {"planned": 18, "skipped:held_for_other": 2}


@pytest.mark.parametrize(("minutes", "held"), [(1, 0), (2, 2)])
def test_planning_counts_again_whose_slots_are_kept_when_the_sets_are_older_than_a_minute(
    play: Play, weibo: list[int], minutes: int, held: int
) -> None:
    protected(play, segment="微博")
    play.write(lambda session: session.execute(sa.delete(follower_tags)))
    with db.reading(play.engine) as session:  # a large account's sets: nobody had the tag
        then = play.now - timedelta(minutes=minutes)
        look = Look(session, play.account_id, then)
        look.people({"tag": {"has": "微博来源"}})
    index.keep(play.engine, look)
    play.write(lambda session: session.execute(sa.update(audience_sets).values(seconds=10.0)))
    for person in weibo[:2]:
        play.write(lambda session, p=person: ledger.carry(session, play.account_id, p, MONTH, 3))
        play.write(lambda session, p=person: tag_again(session, play, p))
    with db.reading(play.engine) as session:  # a page believes them for longer
        (hold,) = holds.holds(session, play.account_id, MONTH, play.now, excluding=None)
    assert not hold.people
    expected = {"planned": 20 - held} | ({"skipped:held_for_other": held} if held else {})
    assert play.sums(play.planned()) == expected


def tag_again(session: db.Session, play: Play, person: int) -> None:
    tag = session.execute(sa.select(tags.c.id).where(tags.c.name == "微博来源")).scalar_one()
    factories.give_tag(session, play.account_id, person, tag, now=play.now)


def test_an_unprotected_or_past_or_next_months_campaign_holds_nothing(
    play: Play, weibo: list[int]
) -> None:
    later = (play.now + timedelta(days=3)).isoformat()
    play.campaign("软", at=later, segment="微博")
    protected(play, "四月", days=40, segment="微博")
    protected(play, "只客服", segment="微博", channels=["customer_service"])
    for person in weibo:
        play.write(lambda session, p=person: ledger.carry(session, play.account_id, p, MONTH, 3))
    assert play.sums(play.planned()) == {"planned": 20}


def test_of_two_protected_campaigns_the_earlier_one_has_the_right_of_way(
    play: Play, weibo: list[int]
) -> None:
    protected(play, segment="微博")
    for person in weibo:
        play.write(lambda session, p=person: ledger.carry(session, play.account_id, p, MONTH, 3))
    assert play.sums(play.planned(worth={"protect": True})) == {"planned": 20}


def test_an_allocation_in_force_gives_each_slot_to_its_campaign(play: Play) -> None:
    later = play.campaign("大促", at=(play.now + timedelta(days=3)).isoformat())
    lan, ming, wei = play.people[:3]
    for person in (lan, ming, wei):
        play.write(lambda session, p=person: ledger.carry(session, play.account_id, p, MONTH, 3))

    def allocate(session: db.Session, status: str, people: list[int]) -> None:
        allocation_id = session.execute(
            sa.insert(allocations)
            .values(
                account_id=play.account_id, month=MONTH, status=status, figures={},
                made_by="Ann", made_at=play.now,
            )
            .returning(allocations.c.id)
        ).scalar_one()  # fmt: skip
        session.execute(
            sa.insert(allocation_places).values(
                allocation_id=allocation_id, campaign_id=later.id, account_id=play.account_id,
                people=BitMap(people).serialize(), size=len(people),
            )
        )  # fmt: skip

    play.write(lambda session: allocate(session, "proposed", [wei]))
    play.write(lambda session: allocate(session, "in_force", [lan, ming]))
    with db.reading(play.engine) as session:
        (hold,) = holds.holds(session, play.account_id, MONTH, play.now, excluding=None)
    assert (hold.name, hold.protected, set(hold.people)) == ("大促", True, {lan, ming})
    # a protected campaign yields to an allocation too
    run_id = play.planned(worth={"protect": True})
    assert play.sums(run_id) == {"planned": 18, "skipped:held_for_other": 2}


def test_a_repeating_campaign_holds_a_slot_for_each_time_of_the_month(play: Play) -> None:
    repeat = {"every": "week", "on": ["fri"], "at": "20:30"}
    play.campaign("每周", at=None, repeat=repeat, worth={"protect": True})
    with db.reading(play.engine) as session:
        found = holds.holds(session, play.account_id, MONTH, play.now, excluding=None)
    # Fridays of March 2025 from the third on: 7, 14, 21, 28
    assert len(found) == 4
    assert holds.protected_counts(found)(play.people[0]) == 4
    assert play.sums(play.planned()) == {"skipped:held_for_other": 20}


def follow_up(play: Play, parent_id: int, number: int = 2) -> int:
    def work(session: db.Session) -> int:
        parent = session.execute(
            sa.select(campaign_runs).where(campaign_runs.c.id == parent_id)
        ).one()
        return make_run(
            session, play.account_id, parent.campaign_id, now=play.now, status="planning",
            parent_id=parent_id, round=number, month=None,
            due_at=play.now + timedelta(seconds=number), content={"text": "最后一天"},
        )  # fmt: skip

    return int(play.write(work))


def clicked(play: Play, person: int, **values: Any) -> None:
    def work(session: db.Session) -> None:
        link_id = session.execute(sa.select(links.c.id)).scalar_one()
        given = {"clean": True, "at": play.now} | values
        session.execute(
            sa.insert(clicks).values(
                account_id=play.account_id, link_id=link_id, follower_id=person, **given
            )
        )

    play.write(work)


def first_round(play: Play, **values: Any) -> int:
    step = {"after": "48h", "to": "not_clicked", "channels": ["mass"]} | values.pop("step", {})
    run_id = play.planned(
        content={"text": "看看 {link:wb}"}, links={"wb": "https://weibo.com/u/1"},
        follow_ups=[step, step], **values,
    )  # fmt: skip
    play.write(
        lambda session: session.execute(
            sa.update(deliveries).where(deliveries.c.status == "planned").values(status="sent")
        )
    )
    play.write(
        lambda session: session.execute(
            sa.update(campaign_runs)
            .where(campaign_runs.c.id == run_id)
            .values(status="finished", finished_at=play.now)
        )
    )
    return run_id


def test_a_follow_up_goes_to_whom_the_first_wave_reached_and_did_not_move(
    play: Play, weibo: list[int]
) -> None:
    run_id = first_round(play, segment=None, groups=TWO_GROUPS, holdout=0.2)
    reached = [
        row[0]
        for row in play.read(
            sa.select(deliveries.c.follower_id)
            .where(deliveries.c.status == "sent")
            .order_by(deliveries.c.follower_id)
        )
    ]
    lan, ming, wei, bo = reached[:4]
    clicked(play, lan)
    clicked(play, ming, clean=False, noise="bot")
    clicked(play, wei, at=play.now - timedelta(days=1))  # before this campaign began
    play.write(
        lambda session: session.execute(
            sa.update(followers).where(followers.c.id == bo).values(subscribed=False)
        )
    )
    play.later(days=2)
    second = follow_up(play, run_id)
    play.plan(second)
    assert play.sums(second) == {"planned": len(reached) - 2}
    found = count(play, second, deliveries.c.group)
    assert found["核心"] + found["其余"] == len(reached) - 2  # each keeps its group
    assert count(play, second, deliveries.c.variant) == {None: len(reached) - 2}


def test_a_third_wave_leaves_out_who_moved_after_the_second(play: Play) -> None:
    run_id = first_round(play)
    play.later(days=2)
    second = follow_up(play, run_id)
    play.plan(second)
    play.write(
        lambda session: session.execute(
            sa.update(deliveries).where(deliveries.c.run_id == second).values(status="sent")
        )
    )
    clicked(play, play.people[0])
    play.later(days=2)
    third = follow_up(play, second, 3)
    play.plan(third)
    assert play.sums(third) == {"planned": 19}


def test_a_goal_of_events_decides_who_converted(play: Play) -> None:
    run_id = first_round(
        play, goal={"metric": "event", "event": "领券", "target": 5},
        step={"to": "not_converted"},
    )  # fmt: skip
    clicked(play, play.people[0])  # a click is not the goal
    for person, at in ((play.people[1], play.now), (play.people[2], play.now - timedelta(days=1))):
        play.write(
            lambda session, p=person, when=at: session.execute(
                sa.insert(events).values(
                    account_id=play.account_id, follower_id=p, kind="领券", at=when
                )
            )
        )
    second = follow_up(play, run_id)
    play.plan(second)
    assert play.sums(second) == {"planned": 19}


def test_caps_hold_for_follow_ups_and_its_own_channels_count(play: Play) -> None:
    play.limits(cap={"messages": 1, "days": 7}, approve_above=10**6)
    run_id = first_round(play, step={"channels": ["customer_service"]})
    play.later(days=2)
    second = follow_up(play, run_id)
    play.plan(second)
    assert play.sums(second) == {"skipped:cap": 20}


def test_a_subscription_notice_goes_to_who_permits_one(play: Play) -> None:
    notice = {"template": "T" * 43, "data": {"thing1": "活动开始"}}
    for number, person in enumerate(play.people[:3]):
        play.write(
            lambda session, p=person, left=number: session.execute(
                sa.insert(consents).values(
                    account_id=play.account_id, follower_id=p, template_id="T" * 43,
                    accepted=left, changed_at=play.now,
                )
            )
        )  # fmt: skip
    run_id = play.planned(
        channels=["subscription", "mass"], message_class="service",
        contents={"subscription": {"notice": notice}},
    )  # fmt: skip
    assert count(play, run_id, deliveries.c.channel) == {"subscription": 2, "mass": 18}


def test_nobody_can_approve_beyond_the_accounts_upper_bound(play: Play) -> None:
    play.limits(most_people=19)
    run_id = play.planned()
    assert (play.run(run_id).status, play.run(run_id).reason) == ("waiting", "too_many: 20 > 19")
    play.limits(most_people=20)
    play.plan(run_id)
    assert play.run(run_id).status == "running"


def test_a_send_to_everybody_counts_down_from_its_last_approval(play: Play) -> None:
    play.limits(approve_above=19, all_send_hold="30m")
    run_id = play.planned()
    assert play.run(run_id).status == "waiting"
    assert play.run(run_id).reason.startswith("countdown: ")
    play.later(minutes=29)
    play.plan(run_id)
    assert play.run(run_id).status == "waiting"
    play.later(minutes=1)
    play.plan(run_id)
    assert play.run(run_id).status == "running"


def test_a_stale_editor_is_refused_and_each_change_has_a_version(play: Play) -> None:
    later = (play.now + timedelta(days=1)).isoformat()
    first = play.campaign(at=later, holdout=0.1)
    assert first.version == 1
    assert play.campaign(at=later, holdout=0.1).version == 1
    assert play.campaign(at=later, holdout=0.2).version == 2
    document = definitions.document_of(first)

    def save(session: db.Session, seen: int) -> Any:
        return definitions.save(
            session, play.account, document, play.now, by="Bo", seen_version=seen
        )

    with pytest.raises(Refused, match="somebody else changed"):
        play.write(lambda session: save(session, 1))
    assert play.write(lambda session: save(session, 2)).version == 3


@pytest.mark.parametrize(
    "change",
    [
        {"message_class": "service"},
        {"contents": {"mass": {"text": "另一个"}}},
        {"experiment": A_OR_B},
        {"holdout": 0.2},
        {"follow_ups": [{"after": "48h", "channels": ["mass"]}]},
        {"segment": None, "groups": [{"name": "一", "segment": "大家"}]},
    ],
)
def test_an_approval_ends_with_each_change_of_what_it_covers(
    play: Play, change: dict[str, Any]
) -> None:
    later = (play.now + timedelta(days=1)).isoformat()
    before = definitions.content_hash(play.campaign(at=later))
    after = play.campaign(at=later, approved_for=None, **change)
    assert definitions.content_hash(after) != before
    wanted = {"approve_above": 1000, "to_everybody": False}
    assert definitions.missing_approval(after, 1, 1, **wanted) == "changed"  # type: ignore[arg-type]


def test_what_an_approval_does_not_cover_leaves_it(play: Play) -> None:
    later = (play.now + timedelta(days=1)).isoformat()
    before = definitions.content_hash(play.campaign(at=later))
    after = play.campaign(
        at=later, pace={"batches": 2, "every": "1h"}, brief={"persona": "爱喝奶茶"},
        worth={"click": 2.0},
    )  # fmt: skip
    assert definitions.content_hash(after) == before


def test_what_is_said_follows_round_variant_channel(play: Play) -> None:
    campaign = play.campaign(
        channels=["customer_service", "mass"], contents={"customer_service": {"text": "您好"}},
        experiment=A_OR_B,
        follow_ups=[
            {"after": "48h", "channels": ["customer_service"], "content": {"text": "最后一天"}},
            {"after": "48h", "channels": ["customer_service"]},
        ],
    )  # fmt: skip
    said = campaign.content_for
    assert said("mass") == {"text": "请你喝奶茶"}
    assert said("mass", "A") == {"text": "直接领"}
    assert said("customer_service", "A") == {"text": "您好"}
    assert said("customer_service", None, 2) == {"text": "最后一天"}
    assert said("customer_service", None, 3) == {"text": "您好"}
    assert campaign.channels_of(1) == ("customer_service", "mass")
    assert campaign.channels_of(2) == ("customer_service",)


def test_result_tags_must_exist(play: Play) -> None:
    with pytest.raises(Invalid, match=r"after\.clicked"):
        play.campaign(after={"clicked": "没有"})


@pytest.mark.slow  # ten thousand transactions of four threads
def test_ten_thousand_reservations_at_once_never_make_a_fifth(play: Play) -> None:
    people = play.people
    got: Counter[int] = Counter()
    guard = threading.Lock()

    def reserve(seed: int) -> None:
        for number in range(2500):
            wanted = {
                people[(seed * 7 + number * 3 + step * 5) % len(people)]
                for step in range(1 + number % 3)
            }
            with db.writing(play.engine) as session:
                ledger.in_turn(session, play.account_id)
                found = ledger.reserve(session, play.account_id, wanted, MONTH)
            with guard:
                got.update(found)

    threads = [threading.Thread(target=reserve, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == dict.fromkeys(people, 4)
    rows = play.read(sa.text("select max(reserved), min(reserved) from mass_ledger"))
    assert tuple(rows[0]) == (4, 4)


def test_next_month_is_asked_for_by_its_own_campaigns_alone(play: Play) -> None:
    play.campaign("三月", at=(play.now + timedelta(days=3)).isoformat())
    play.campaign("四月初", at="2025-04-01T00:00:00+08:00")
    play.campaign("每天", at=None, repeat={"every": "day", "at": "20:30"})
    play.campaign("已到点")
    play.start()
    with db.reading(play.engine) as session:
        found = holds.holds(session, play.account_id, "2025-04", play.now, excluding=None)
    assert [hold.name for hold in found if hold.name != "每天"] == ["四月初"]
    assert sum(hold.name == "每天" for hold in found) == 30
