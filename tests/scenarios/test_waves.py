"""Batches of one group and variant, staggered parts, follow-ups: nobody twice, nobody lost, whatever is killed."""

from typing import Any

import pytest
import sqlalchemy as sa

from bot import db
from bot.campaigns import aftermath, batches, definitions, rounds, sending, steering
from bot.tables.campaigns import campaign_runs, deliveries, mass_batches
from bot.tables.followers import follower_tags, tags
from tests import factories
from tests.scenarios.test_campaign_month import PARTS, campaign
from tests.scenarios.world import World

pytestmark = pytest.mark.slow  # days of a campaign, minute by minute where it matters

GROUPS = [{"name": "G1", "segment": "一群"}, {"name": "G2", "segment": "二群"}]
A_B = {
    "of": "content",
    "variants": [
        {"name": "A", "content": {"text": "甲"}},
        {"name": "B", "content": {"text": "乙"}},
    ],
}
LINKS: dict[str, Any] = {
    "content": {"text": "看 {link:go}"},
    "links": {"go": "https://weibo.com/u/1"},
}
TAGS = [{"name": name} for name in ("一", "二", "点了", "没点", "放弃触达")]


@pytest.fixture
def brand(world: World) -> World:
    world.connect()
    parts = PARTS | {
        "tags": [*PARTS["tags"], *TAGS],
        "segments": [
            *PARTS["segments"],
            {"name": "一群", "where": {"tag": {"has": "一"}}},
            {"name": "二群", "where": {"tag": {"has": "二"}}},
        ],
    }
    world.apply(**parts)
    return world


def wear(world: World, name: str, numbers: range) -> None:
    with db.writing(world.rt.engine) as session:
        tag_id = session.execute(sa.select(tags.c.id).where(tags.c.name == name)).scalar_one()
        ids = session.execute(sa.text("SELECT id, open_id FROM followers ORDER BY id")).all()
        wanted = {factories.open_id(number) for number in numbers}
        for row in ids:
            if row.open_id in wanted:
                session.execute(
                    sa.insert(follower_tags).values(
                        account_id=world.account_id(), follower_id=row.id, tag_id=tag_id,
                        origin="test", added_at=world.clock(),
                    )
                )  # fmt: skip


def grouped(world: World, people: int = 120) -> None:
    world.crowd(people)
    wear(world, "一", range(1, people // 2 + 1))
    wear(world, "二", range(people // 2 + 1, people + 1))


def batches_of(world: World) -> list[Any]:
    return world.rows(sa.select(mass_batches).order_by(mass_batches.c.id))


def test_a_batch_is_of_one_group_and_one_variant_and_says_what_it_is_for(brand: World) -> None:
    grouped(brand)
    brand.apply(
        campaigns=[
            campaign("实验", "2026-11-02 12:00", segment=None, groups=GROUPS, experiment=A_B)
        ]
    )
    brand.go_to("2026-11-02 12:00")
    brand.pass_time(2)
    assert brand.run("实验")["outcomes"] == {"sent": 120}
    cells = {(one.group, one.variant): one.size for one in batches_of(brand)}
    assert set(cells) == {("G1", "A"), ("G1", "B"), ("G2", "A"), ("G2", "B")}
    assert sum(cells.values()) == 120
    for one in batches_of(brand):
        members = brand.rows(
            sa.select(deliveries.c.group, deliveries.c.variant).distinct()
            .where(deliveries.c.batch_id == one.id)
        )  # fmt: skip
        assert [tuple(member) for member in members] == [(one.group, one.variant)]
    said = {text for number in range(1, 121) for text in brand.received(number, "mass")}
    assert said == {"甲", "乙"}
    brand.check_ledger()


def test_a_single_person_of_a_variant_is_no_batch_and_says_so(
    brand: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    brand.crowd(3)
    brand.apply(
        campaigns=[campaign("三个人", "2026-11-02 12:00", experiment=A_B | {"shares": [0.5, 0.5]})]
    )
    brand.go_to("2026-11-02 12:00")
    with db.writing(brand.rt.engine) as session:
        # which people the split draws is not what this is about
        session.execute(sa.update(campaign_runs).values(next_wave_at=brand.clock()))
    brand.pass_time(2)
    run = brand.run("三个人")
    sizes = sorted(one.size for one in batches_of(brand))
    assert sizes in ([2], [3])
    assert run["outcomes"].get("skipped", 0) == 3 - sum(sizes)
    assert set(run["skipped"]) <= {"batch_of_one"}
    brand.check_ledger()


def test_staggered_batches_begin_when_their_time_comes(brand: World) -> None:
    brand.crowd(100)
    brand.apply(
        campaigns=[campaign("错峰", "2026-11-02 12:00", pace={"batches": 4, "every": "30m"})]
    )
    brand.go_to("2026-11-02 12:00")
    brand.pass_time(1)
    sent = [brand.run("错峰")["outcomes"]["sent"]]
    for _ in range(3):
        brand.pass_time(28)
        assert brand.run("错峰")["outcomes"]["sent"] == sent[-1]
        brand.pass_time(2)
        sent.append(brand.run("错峰")["outcomes"]["sent"])
        assert sent[-1] > sent[-2]
    assert sent[-1] == 100
    assert brand.run("错峰")["status"] == "finished"


def click(world: World, number: int) -> None:
    from_text = world.received(number)[0]
    url = from_text.split(" ")[-1]
    browser = world.browser()
    assert browser.follow(url, who=factories.open_id(number)).startswith("https://weibo.com")


def test_three_waves_reach_whom_the_ones_before_did_not_move(brand: World) -> None:
    brand.crowd(30)
    again = {"after": "48h", "to": "not_clicked", "channels": ["mass"]}
    brand.apply(
        campaigns=[
            campaign(
                "多波", "2026-11-02 12:00", **LINKS,
                follow_ups=[again | {"content": {"text": "再看 {link:go}"}}, again],
                after={"wait": "24h", "clicked": "点了", "not_clicked": "没点", "gave_up": "放弃触达"},
            )
        ]
    )  # fmt: skip
    brand.go_to("2026-11-02 12:00")
    brand.pass_time(2)
    for number in range(1, 11):
        click(brand, number)
    brand.go_to("2026-11-04 12:00")
    brand.pass_time(3)
    second = brand.run("多波")
    assert second["outcomes"] == {"sent": 20}
    assert brand.received(11)[-1].startswith("再看")
    for number in range(11, 16):
        click(brand, number)
    brand.leave(16)
    brand.go_to("2026-11-06 12:01")
    brand.pass_time(3)
    third = brand.run("多波")
    assert third["outcomes"] == {"sent": 14}
    click(brand, 17)
    assert [run["status"] for run in brand.runs("多波")] == ["finished"] * 3
    brand.go_to("2026-11-07 13:00")
    brand.pass_time(6)
    worn = brand.rows(
        sa.select(tags.c.name, sa.func.count())
        .select_from(follower_tags.join(tags, tags.c.id == follower_tags.c.tag_id))
        .where(follower_tags.c.origin == "campaign:多波")
        .group_by(tags.c.name)
    )
    assert dict(map(tuple, worn)) == {"点了": 16, "没点": 14, "放弃触达": 14}
    assert brand.told("campaigns", "show", "muyan", "多波")["status"] == "finished"
    brand.go_to("2026-11-10 13:00")
    assert len(brand.runs("多波")) == 3
    brand.check_ledger()


def test_everybody_reached_is_converted_or_waits_or_was_given_up_at_every_moment(
    brand: World,
) -> None:
    brand.crowd(24)
    step = {"after": "24h", "to": "not_clicked", "channels": ["mass"]}
    brand.apply(campaigns=[campaign("路径", "2026-11-02 12:00", **LINKS, follow_ups=[step, step])])
    seen = []
    for clicked, day in enumerate(range(2, 7), 1):
        for minute in (0, 1, 2, 3):
            brand.go_to(f"2026-11-0{day} 12:0{minute}")
            with db.reading(brand.rt.engine) as session:
                account_id = brand.account_id()
                made = definitions.get(session, account_id, "路径")
                root = session.execute(
                    sa.select(campaign_runs).where(campaign_runs.c.parent_id.is_(None))
                ).one()
                runs = rounds.chain(session, root.id)
                found = aftermath.paths(session, made, runs)
                reached = set(
                    session.execute(
                        sa.select(deliveries.c.follower_id).where(deliveries.c.status == "sent")
                    ).scalars()
                )
            assert found["converted"] | found["next_wave"] | found["given_up"] == reached
            assert sum(len(people) for people in found.values()) == len(reached)
            seen.append({key: len(people) for key, people in found.items()})
        click(brand, clicked)
    assert seen[-1] == {"converted": 4, "next_wave": 0, "given_up": 20}
    assert {"converted": 1, "next_wave": 23, "given_up": 0} in seen


def test_an_operator_skips_a_follow_up_and_the_next_goes_to_the_people_before_it(
    brand: World,
) -> None:
    brand.crowd(10)
    step = {"after": "24h", "to": "not_clicked", "channels": ["mass"]}
    brand.apply(campaigns=[campaign("跳过", "2026-11-02 12:00", **LINKS, follow_ups=[step, step])])
    brand.go_to("2026-11-02 12:00")
    brand.pass_time(2)
    with db.writing(brand.rt.engine) as session:
        found = steering.skip_round(session, brand.account_id(), "跳过", brand.clock())
    assert found.number == 2
    brand.go_to("2026-11-03 13:00")
    assert len(brand.counts()) == 10 and set(brand.counts().values()) == {1}
    brand.go_to("2026-11-04 13:00")
    brand.pass_time(3)
    assert set(brand.counts().values()) == {2}
    assert [run["status"] for run in brand.runs("跳过")] == ["finished", "cancelled", "finished"]


def test_a_changed_follow_up_waits_for_a_new_approval(brand: World) -> None:
    brand.crowd(10)
    step = {"after": "24h", "to": "not_clicked", "channels": ["mass"]}
    brand.apply(campaigns=[campaign("改文案", "2026-11-02 12:00", **LINKS, follow_ups=[step])])
    brand.go_to("2026-11-02 12:00")
    brand.pass_time(2)
    with db.writing(brand.rt.engine) as session:
        steering.change_round(
            session, brand.account_id(), "改文案", {"text": "换一句 {link:go}"}, brand.clock()
        )
    brand.go_to("2026-11-03 13:00")
    brand.pass_time(2)
    assert brand.run("改文案")["status"] == "waiting"
    for name in ("Ann", "Bo"):
        brand.ok("operator", "add", name, "--role", "lead")
        brand.ok(
            "campaigns",
            "approve",
            "muyan",
            "改文案",
            "--people",
            "100",
            "--slots",
            "100",
            "--by",
            name,
        )
    brand.pass_time(2)
    assert brand.received(3)[-1].startswith("换一句")


def test_force_stop_ends_the_run_and_everything_to_come(brand: World) -> None:
    brand.crowd(10)
    step = {"after": "24h", "to": "not_clicked", "channels": ["mass"]}
    brand.apply(campaigns=[campaign("停", "2026-11-02 12:00", **LINKS, follow_ups=[step, step])])
    brand.go_to("2026-11-02 12:00")
    brand.pass_time(2)
    with db.writing(brand.rt.engine) as session:
        assert steering.end(session, brand.account_id(), "停", brand.clock()) == []
    brand.go_to("2026-11-06 13:00")
    brand.pass_time(2)
    assert set(brand.counts().values()) == {1}
    assert brand.told("campaigns", "show", "muyan", "停")["status"] == "finished"


def test_killed_between_any_two_steps_nobody_gets_two_and_no_batch_mixes(
    brand: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a process that dies after every transaction, as often as it takes
    grouped(brand, 40)
    monkeypatch.setattr(batches, "ROWS", 3)
    brand.apply(
        campaigns=[
            campaign("断电", "2026-11-02 12:00", segment=None, groups=GROUPS, experiment=A_B,
                     pace={"batches": 2, "every": "10m"})
        ]
    )  # fmt: skip
    real = sending._step
    alive = [True]

    def step(*arguments: Any) -> Any:
        found = real(*arguments)
        alive[0] = not alive[0]
        return found if alive[0] else (found[0], False)

    monkeypatch.setattr(sending, "_step", step)
    brand.go_to("2026-11-02 12:00")
    for _ in range(30):
        brand.pass_time(1, seconds=10)
    brand.pass_time(30)
    assert brand.run("断电")["outcomes"] == {"sent": 40}
    assert set(brand.counts().values()) == {1}
    mixed = brand.rows(
        sa.select(deliveries.c.batch_id)
        .group_by(deliveries.c.batch_id)
        .having(
            sa.or_(
                sa.func.count(sa.distinct(deliveries.c.group)) > 1,
                sa.func.count(sa.distinct(deliveries.c.variant)) > 1,
            )
        )
    )
    assert mixed == []
    brand.check_ledger()
