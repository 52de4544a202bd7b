"""The demo brand: planted truth, the same every time, and a month that shows what a targeted campaign saves."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from bot import accounts, db
from bot.campaigns import definitions, ledger, lines, live, outcome, pasts
from bot.campaigns.experiment import in_holdout, pick
from bot.cli import cli
from bot.clock import Clock
from bot.commands import demo as command
from bot.demo import history, load, play, population, truth
from bot.runtime import Runtime
from bot.tables.followers import followers
from tests import factories
from tests.scenarios.demo_world import DemoWorld, world

BEGIN = factories.at("2025-11-01 08:00")
CAMPAIGN_DAY = factories.at("2025-11-14 09:00")


@pytest.mark.parametrize("size", [2_000, 20_000])
def test_the_planted_groups_have_their_sizes(size: int) -> None:
    people = list(population.people(size, BEGIN))
    share = size / population.FULL
    weibo = [person for person in people if "微博来源" in person.tags]
    likes = [person for person in people if "喜欢互动" in person.tags]
    active = [person for person in people if "活动敏感" in person.tags]
    both = [person for person in likes if "活动敏感" in person.tags]
    assert len(people) == size
    assert len({person.open_id for person in people}) == size
    assert len(weibo) == 2_600 * share
    assert sum(person.core for person in people) == 1_300 * share
    assert (len(likes), len(active), len(both)) == (5_600 * share, 5_200 * share, 4_100 * share)
    stores = Counter(person.scene for person in people if person.scene.startswith("store_"))
    assert sum(stores.values()) == 8_200 * share
    assert set(stores) == {f"store_{number:02d}" for number in range(1, 9)}


def test_the_same_size_gives_the_same_people() -> None:
    assert list(population.people(500, BEGIN)) == list(population.people(500, BEGIN))


@pytest.mark.parametrize("size", [2_000, 20_000])
def test_the_split_of_the_campaign_meets_the_planted_roles(size: int) -> None:
    people = list(population.people(size, CAMPAIGN_DAY))
    share = size / population.FULL
    held = Counter(person.role.group for person in people if person.role.way == "held")
    treated = Counter(person.role.group for person in people if person.role.group) - held
    assert dict(held) == {
        truth.CORE: 130 * share,
        truth.WIDER: 90 * share,
        truth.ALIKE: 280 * share,
    }
    assert sum(treated.values()) == 4_500 * share
    for person in people:
        seed = truth.HOLDOUT_SEED
        if person.role.group:
            assert in_holdout(seed, person.key, truth.HOLDOUT) == (person.role.way == "held")
        if person.role.variant:
            arm = pick(truth.VARIANT_SEED, person.key, (0.5, 0.5))
            assert truth.VARIANTS[arm] == person.role.variant
    ways = Counter(person.role.way for person in people)
    assert (ways["window"], ways["consent"], ways["none"]) == (
        620 * share,
        380 * share,
        140 * share,
    )
    variants = Counter(person.role.variant for person in people if person.role.variant)
    assert dict(variants) == {"A": 1_680 * share, "B": 1_680 * share}
    example = next(person for person in people if person.open_id == population.open_id(42))
    assert example.role.way == "none"
    assert len(example.sends) == 4


def test_the_planted_figures_of_the_full_size_add_up() -> None:
    """Every figure of the documented campaign, before anything is sent."""
    roles = [role for role in truth.roles(truth.FULL) if role.way != "held"]
    sent = [role for role in roles if role.way != "none"]
    delivered = [role for role in sent if not role.fails]
    assert (len(roles), len(sent), len(delivered)) == (4_500, 4_360, 4_301)
    first = Counter(role.way + role.variant for role in delivered if role.guided == 1)
    assert dict(first) == {"window": 214, "consent": 112, "massA": 282, "massB": 338}
    assert sum(role.guided == 2 for role in roles) == 98
    assert sum(role.writes for role in roles) == 410
    reached = Counter(role.group for role in delivered)
    guided = Counter(role.group for role in delivered if role.guided)
    assert dict(reached) == {truth.CORE: 1_118, truth.WIDER: 774, truth.ALIKE: 2_409}
    assert dict(guided) == {truth.CORE: 402, truth.WIDER: 200, truth.ALIKE: 442}
    fails = Counter(role.way + role.variant for role in roles if role.fails)
    assert dict(fails) == {"window": 9, "consent": 8, "massA": 21, "massB": 21}
    assert sum(role.used_up for role in roles) == 4
    deeds = [sum(getattr(role, name) for role in roles) for name in ("commented", "coupon", "used")]
    assert deeds == [642, 588, 203]
    assert (sum(role.leaves for role in roles), sum(role.bought for role in roles)) == (9, 96)


@pytest.fixture
def demo(tmp_path: Path, database_url: str, engine: sa.Engine) -> Iterator[DemoWorld]:
    with world(tmp_path, database_url, engine, CAMPAIGN_DAY, "http://product.test") as made:
        yield made


@pytest.mark.sqlite
def test_loading_twice_changes_nothing(demo: DemoWorld) -> None:
    assert load.load(demo.stage, "small", CAMPAIGN_DAY) == 2_000
    assert load.load(demo.stage, "small", CAMPAIGN_DAY) == 0


@pytest.mark.sqlite
def test_ledger_and_platform_agree_on_the_day_of_the_campaign(demo: DemoWorld) -> None:
    load.load(demo.stage, "small", CAMPAIGN_DAY)
    with db.reading(demo.rt.engine) as session:
        account = accounts.get(session, truth.SLUG)
        assert ledger.histogram(session, account.id, "2025-11") == {
            0: 30, 1: 180, 2: 690, 3: 1_060, 4: 40,
        }  # fmt: skip
        for month in ("2025-09", "2025-10", "2025-11"):
            assert ledger.check(session, account.id, month) == []
        past = {one.name: one for one in definitions.every(session, account.id)}
        due = [one.next_due_at for one in past.values() if one.status == "scheduled"]
        second = accounts.get(session, load.SECOND_SLUG)
        shared = session.execute(
            sa.select(sa.func.count(sa.distinct(followers.c.union_id))).where(
                followers.c.account_id == account.id,
                followers.c.union_id.in_(
                    sa.select(followers.c.union_id).where(followers.c.account_id == second.id)
                ),
            )
        ).scalar_one()
    told = demo.platform.histogram(load.APP_ID, "2025-11")
    assert told == {0: 40, 1: 1_060, 2: 690, 3: 180, 4: 30}
    assert due == [factories.at("2025-11-18 20:30"), factories.at("2025-11-28 20:30")]
    assert {"微博转发抽小样", "中秋微博投票", "直播暗号"} <= set(past)
    assert shared == 30


@pytest.mark.parametrize("size", [2_000, 20_000])
def test_the_stopped_send_was_stopped_at_four_in_a_hundred(size: int) -> None:
    everybody = list(population.people(size, CAMPAIGN_DAY))
    one = history.stopped(everybody, size, CAMPAIGN_DAY)
    assert one.stop is not None
    planned = len(one.people) + len(one.stop.spared)
    assert len({*one.people, *one.stop.spared}) == planned == 16_000 * size / truth.FULL
    assert len(one.people) / planned == 0.04
    (look,) = one.stop.state["looks"]
    # the guard itself says so of these figures
    assert (look["stop"], look["reason"]) == (True, "unfollows")
    gone = history.stopped_leavers(size, CAMPAIGN_DAY)
    assert look["unfollows"] == len(gone)
    assert {one.open_id for one in gone} < set(one.people)
    assert all(one.at < left.left_at < one.stop.looked_at for left in gone)
    if size == truth.FULL:
        assert round(look["unfollows"] / look["delivered"], 3) == 0.011


@pytest.mark.sqlite
def test_the_stopped_send_is_in_the_archive_with_what_the_guard_saw(demo: DemoWorld) -> None:
    load.load(demo.stage, "small", CAMPAIGN_DAY)
    with db.reading(demo.rt.engine) as session:
        account = accounts.get(session, truth.SLUG)
        campaign = definitions.get(session, account.id, history.STOPPED_NAME)
        picture = live.picture(session, campaign, CAMPAIGN_DAY)
        assert campaign.status == "archived"
        (run,) = picture.runs
        assert (run.status, run.planned, run.total.handed_over) == ("cancelled", 1_600, 64)
        assert dict(run.reasons) == {("sent", ""): 64, ("skipped", "cancelled"): 1_536}
        assert [look["stop"] for look in live.guard_looks(run)] == [True]
        told = outcome.outcome(session, account.id, campaign.name)
        assert (told.delivered, told.unfollows, told.slots) == (64, 5, 64)
        # nothing is learned from a send that was stopped
        assert campaign.name not in {one.name for one in pasts.every(session, account.id)}
        assert lines.count(session, account.id, lines.Search(status="archived")) == 1


@pytest.mark.sqlite
def test_the_demo_opens_when_its_campaign_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the ten days do is tested below; here they pass at once."""
    began: list[datetime] = []

    def at_once(_stage: load.Stage, _platform: object, clock: Clock, *_given: object) -> None:
        began.append(clock())
        clock.frozen_at = play.ends(clock())

    def told(*flags: str) -> str:
        environ = {"QUNFEN_DATABASE_URL": f"sqlite:///{tmp_path}/demo.db", "LC_ALL": "en_US.UTF-8"}
        found = CliRunner().invoke(cli, ["demo", "--size", "small", *flags], env=environ)
        assert found.exit_code == 0, found.output
        return found.stdout

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(play, "play", at_once)
    monkeypatch.setattr(command, "_compare", lambda *_given: None)
    first = told()
    assert "loaded the brand: 2,000 followers" in first
    assert "it is 2025-11-24 10:00 now, and the campaign is done" in first
    assert began == [factories.at("2025-11-14 08:00")]
    assert "the brand is here already" in told()
    assert len(began) == 1
    # the clock goes on from there: who asks to see days pass sees those that follow
    told("--play")
    assert began[1] - factories.at("2025-11-24 10:00") < timedelta(minutes=10)


@pytest.mark.sqlite
@pytest.mark.slow  # a week of two thousand followers and two campaigns, some 1,500 pushes
def test_the_targeted_campaign_guides_more_people_for_fewer_slots(
    demo: DemoWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(play, "DAYS", 7)  # both campaigns and their 48 hours; the rest adds days
    load.load(demo.stage, "small", CAMPAIGN_DAY)
    play.play(demo.stage, demo.platform, demo.clock, demo.product, "small", lambda _day: None)
    with db.reading(demo.rt.engine) as session:
        account_id = accounts.get(session, truth.SLUG).id
        assert ledger.check(session, account_id, "2025-11") == []
    everybody, targeted = play.outcomes(demo.stage, account_id, demo.clock())
    # planted: of the targeted about a quarter follow the link, of everybody two in a hundred
    assert 0.18 < (targeted.guide_rate or 0) < 0.33
    assert 0.01 < (everybody.guide_rate or 0) < 0.035
    assert targeted.slots < targeted.delivered, "open windows are used before slots"
    assert (targeted.slots_per_guided or 99) * 5 < (everybody.slots_per_guided or 0)
    assert targeted.unfollows < everybody.unfollows
    assert demo.platform.refused(load.APP_ID) == [], "nothing was planned that the platform refuses"
    charged = ledger_by_follower(demo.rt, account_id)
    for open_id, count in demo.platform.mass_counts(load.APP_ID, "2025-11").items():
        assert count <= charged[open_id] <= 4
    assert next(label for label, _all, _some in play.told((everybody, targeted))).startswith("计划")


def ledger_by_follower(rt: Runtime, account_id: int) -> dict[str, int]:
    with db.reading(rt.engine) as session:
        rows = session.execute(
            sa.text(
                "select open_id, reserved + spent from mass_ledger"
                " join followers on followers.id = follower_id where mass_ledger.account_id = :account"
            ),
            {"account": account_id},
        )
        return {row[0]: row[1] for row in rows}
