"""Experiments under way: no verdict before its time and its sample, the winner for the rest, shares that learn."""

from typing import Any

import pytest
import sqlalchemy as sa

from bot import db
from bot.campaigns import trials
from bot.errors import Refused
from bot.tables.campaigns import campaign_runs, deliveries
from bot.tables.followers import followers
from bot.tables.tracking import clicks, links
from tests.scenarios.test_campaign_month import PARTS, campaign
from tests.scenarios.world import World

pytestmark = pytest.mark.slow  # a day of a campaign, in steps of minutes

LINKS = {"go": "https://weibo.com/u/1"}
TEXT = {"text": "看 {link:go}"}
A_B: dict[str, Any] = {
    "of": "content",
    "variants": [
        {"name": "A", "content": {"text": "甲 {link:go}"}},
        {"name": "B", "content": {"text": "乙 {link:go}"}},
    ],
    "test_share": 0.5,
    "decide_after": "2h",
    "min_sample": 60,
}


@pytest.fixture
def brand(world: World) -> World:
    world.connect()
    world.apply(**PARTS)
    return world


def begin(world: World, people: int = 300, **more: Any) -> int:
    world.crowd(people)
    made = {"content": TEXT, "links": LINKS, "experiment": A_B} | more
    world.apply(campaigns=[campaign("实验", "2026-11-02 12:00", **made)])
    world.go_to("2026-11-02 12:00")
    world.pass_time(2)
    return int(world.rows(sa.select(campaign_runs.c.id))[0].id)


def click(world: World, variant: str, share: float, at: str | None = None) -> int:
    """So many of a variant's people open the link; how many."""
    with db.writing(world.rt.engine) as session:
        link_id = session.execute(sa.select(links.c.id)).scalar_one()
        people = list(
            session.execute(
                sa.select(deliveries.c.follower_id)
                .where(deliveries.c.variant == variant, deliveries.c.status == "sent")
                .order_by(deliveries.c.follower_id)
            ).scalars()
        )
        chosen = people[: round(len(people) * share)]
        if chosen:
            session.execute(
                sa.insert(clicks),
                [
                    {
                        "account_id": world.account_id(), "link_id": link_id, "follower_id": one,
                        "at": world.clock(), "clean": True, "noise": None,
                    }
                    for one in chosen
                ],
            )  # fmt: skip
    return len(chosen)


def variants(world: World) -> dict[str | None, int]:
    rows = world.rows(
        sa.select(deliveries.c.variant, sa.func.count())
        .where(deliveries.c.status == "sent")
        .group_by(deliveries.c.variant)
    )
    return {row[0]: row[1] for row in rows}


def run_row(world: World, run_id: int) -> Any:
    return world.rows(sa.select(campaign_runs).where(campaign_runs.c.id == run_id))[0]


def test_the_winner_is_sent_to_the_rest_after_its_time(brand: World) -> None:
    run_id = begin(brand)
    tested = variants(brand)
    assert set(tested) == {"A", "B"} and 120 < sum(tested.values()) < 180
    click(brand, "A", 0.1)
    click(brand, "B", 0.5)
    brand.pass_time(11, minutes=10)
    assert sum(variants(brand).values()) == sum(tested.values()), "not before its time"
    assert brand.run("实验")["status"] == "running"
    brand.pass_time(2, minutes=10)
    assert brand.run("实验")["outcomes"] == {"sent": 300}
    assert variants(brand) == {"A": tested["A"], "B": 300 - tested["A"]}
    run = run_row(brand, run_id)
    assert (run.winner, run.decision["reason"]) == ("B", "winner")
    assert run.decision["differences"][0]["low"] > 0
    assert [arm["delivered"] for arm in run.decision["arms"]] == [tested["A"], tested["B"]]
    brand.check_ledger()


def test_below_the_sample_nobody_wins_and_an_operator_is_asked(brand: World) -> None:
    run_id = begin(brand, 100)
    click(brand, "B", 0.9)
    brand.pass_time(14, minutes=10)
    run = brand.run("实验")
    assert run["status"] == "paused"
    assert "winner" in run["reason"]
    assert run_row(brand, run_id).winner is None
    before = sum(variants(brand).values())
    assert "choose the winner" in brand.fails("campaigns", "resume", "muyan", "实验")
    with db.writing(brand.rt.engine) as session, pytest.raises(Refused):
        trials.choose_winner(session, run_id, "C", brand.clock())
    with db.writing(brand.rt.engine) as session:
        trials.choose_winner(session, run_id, "A", brand.clock())
    brand.pass_time(2)
    assert sum(variants(brand).values()) == 100 > before
    assert run_row(brand, run_id).winner == "A"
    with db.writing(brand.rt.engine) as session, pytest.raises(Refused):
        trials.choose_winner(session, run_id, "B", brand.clock())


def test_without_a_difference_the_rest_gets_the_one_ahead_and_it_is_said_so(brand: World) -> None:
    run_id = begin(brand)
    click(brand, "A", 0.31)
    click(brand, "B", 0.30)
    brand.pass_time(14, minutes=10)
    run = run_row(brand, run_id)
    assert (run.winner, run.decision["reason"]) == ("A", "no_difference")
    assert brand.run("实验")["outcomes"] == {"sent": 300}


def test_a_manual_winner_waits_for_an_operator_even_when_it_is_clear(brand: World) -> None:
    run_id = begin(brand, experiment=A_B | {"winner": "manual"})
    click(brand, "B", 0.6)
    brand.pass_time(14, minutes=10)
    run = run_row(brand, run_id)
    assert (run.status, run.reason, run.winner) == ("paused", "deciding", None)
    assert run.decision["leading"] == "B"


def test_when_all_were_tested_the_verdict_is_noted_and_nothing_waits(brand: World) -> None:
    run_id = begin(
        brand, 200, experiment={key: value for key, value in A_B.items() if key != "test_share"}
    )
    assert brand.run("实验")["status"] == "finished"
    click(brand, "A", 0.05)
    click(brand, "B", 0.6)
    brand.pass_time(14, minutes=10)
    run = run_row(brand, run_id)
    assert (run.winner, run.status) == ("B", "finished")


def test_a_bandit_gives_later_parts_to_what_works(brand: World) -> None:
    tested = {key: value for key, value in A_B.items() if key not in ("test_share", "decide_after")}
    begin(brand, 400, experiment=tested | {"bandit": True}, pace={"batches": 4, "every": "30m"})
    first = variants(brand)
    assert set(first) == {"A", "B"}
    click(brand, "B", 0.6)
    for _ in range(3):
        brand.pass_time(3, minutes=10)
        click(brand, "B", 0.0)
    brand.pass_time(3, minutes=10)
    assert brand.run("实验")["outcomes"] == {"sent": 400}
    after = variants(brand)
    gained = {name: after[name] - first[name] for name in ("A", "B")}
    assert gained["B"] > 4 * gained["A"]
    run = brand.rows(sa.select(campaign_runs))[0]
    assert len(run.decision["draws"]) >= 4
    brand.check_ledger()


def test_the_rest_is_sent_at_the_hour_that_won(brand: World) -> None:
    hours = {
        "of": "hour",
        "variants": [{"name": "午", "at": "12:30"}, {"name": "晚", "at": "18:30"}],
        "test_share": 0.5, "decide_after": "8h", "min_sample": 50,
    }  # fmt: skip
    run_id = begin(brand, experiment=hours)
    assert variants(brand) == {}
    brand.go_to("2026-11-02 12:30")
    brand.pass_time(2)
    noon = variants(brand)
    assert set(noon) == {"午"}
    click(brand, "午", 0.1)
    brand.go_to("2026-11-02 18:30")
    brand.pass_time(2)
    assert set(variants(brand)) == {"午", "晚"}
    click(brand, "晚", 0.5)
    tested = sum(variants(brand).values())
    brand.go_to("2026-11-02 23:00")
    brand.pass_time(2)
    assert run_row(brand, run_id).winner == "晚"
    brand.go_to("2026-11-03 18:29")
    assert sum(variants(brand).values()) == tested
    brand.go_to("2026-11-03 18:30")
    brand.pass_time(2)
    assert sum(variants(brand).values()) == 300
    sent_at = brand.rows(
        sa.select(deliveries.c.at).where(deliveries.c.variant == "晚").order_by(deliveries.c.at)
    )
    assert {row.at.astimezone(brand.clock().tzinfo).day for row in sent_at} == {2, 3}


def test_killed_while_the_rest_gets_its_variant_it_goes_on(
    brand: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the process dies after every few people
    monkeypatch.setattr(trials, "ROWS", 7)
    run_id = begin(brand)
    click(brand, "A", 0.1)
    click(brand, "B", 0.5)
    brand.pass_time(11, minutes=10)
    real, calls = trials._undecided, [0]

    def dies(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] % 4 == 0:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(trials, "_undecided", dies)
    for _ in range(12):
        try:
            brand.pass_time(1)
        except KeyboardInterrupt:
            continue
    monkeypatch.setattr(trials, "_undecided", real)
    brand.pass_time(5)
    assert brand.run("实验")["outcomes"] == {"sent": 300}
    assert set(brand.counts().values()) == {1}
    assert run_row(brand, run_id).winner == "B"
    assert len(brand.rows(sa.select(followers.c.id))) == 300
    brand.check_ledger()


def test_the_report_by_variant_says_how_sure_the_rates_are(brand: World) -> None:
    begin(brand, 100, experiment={key: value for key, value in A_B.items() if key != "test_share"})
    hits = {name: click(brand, name, share) for name, share in (("A", 0.2), ("B", 0.4))}
    rows = {
        row["part"]: row for row in brand.told("report", "campaign", "muyan", "--set", "by=variant")
    }
    for name, people in variants(brand).items():
        row = rows[str(name)]
        assert (row["delivered"], row["hits"]) == (people, hits[str(name)])
        assert row["low"] < row["rate"] < row["high"]
