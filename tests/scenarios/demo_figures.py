"""What the documented campaign 「奈雪 8 元券 · 微博留言」 came to on 20,000 followers: every planted figure."""

from bot import accounts, db
from bot.campaigns import comparison, definitions, funnel, ledger, live, recipients
from bot.campaigns.definitions import Campaign
from bot.campaigns.live import Line
from bot.clock import month_of
from bot.demo import load, population, truth
from tests.scenarios.demo_world import FIRST_WAVE, DemoWorld


def first_waves(demo: DemoWorld) -> None:
    with db.reading(demo.rt.engine) as session:
        campaign = campaign_of(session)
        picture = live.picture(session, campaign, demo.clock())
        first, second = picture.runs
        assert (first.audience, first.planned, first.holdout) == (5_000, 4_500, 500)
        assert dict(first.reasons) == {
            ("failed", ""): 17,
            ("sent", ""): 4_343,
            ("skipped", "holdout"): 500,
            ("skipped", "no_window"): 140,
        }
        assert (first.total.handed_over, picture.delivered, picture.slots) == (4_360, 4_301, 3_360)
        assert {line.name: _told(line) for line in first.channels} == {
            "customer_service": (620, 611, 214, 0),
            "subscription": (380, 372, 112, 0),
            "mass": (3_360, 3_318, 620, 3_360),
        }
        assert {line.name: _told(line) for line in first.variants} == {
            "A": (1_680, 1_659, 282, 1_680),
            "B": (1_680, 1_659, 338, 1_680),
        }
        assert first.winner == "B"
        assert first.decision is not None
        (difference,) = first.decision["differences"]
        assert round(difference["difference"], 3) == 0.034
        assert (round(difference["low"], 3), round(difference["high"], 3)) == (0.007, 0.060)
        assert round(difference["p"], 3) == 0.013
        assert first.total.guided == 946
        assert (second.total.sent, second.total.guided) == (410, 98)
        assert {line.name: (line.delivered, line.guided) for line in picture.groups} == {
            truth.CORE: (1_118, 402),
            truth.WIDER: (774, 200),
            truth.ALIKE: (2_409, 442),
        }
        assert picture.guided == 1_044
        assert picture.reached_at is not None
        assert f"{picture.reached_at:%m-%d}" == "11-16"
        _example(session, campaign, picture)
        refused = demo.platform.refused(load.APP_ID)
    assert {(one["errcode"], one["count"]) for one in refused} == {
        (45015, 5),
        (45047, 4),
        (43101, 8),
    }
    with db.reading(demo.rt.engine) as session:
        account_id = accounts.get(session, truth.SLUG).id
        assert ledger.check(session, account_id, "2025-11") == []
    taken = demo.platform.mass_counts(load.APP_ID, "2025-11")
    assert max(taken.values()) <= 4


def _example(session: db.Session, campaign: Campaign, picture: live.Picture) -> None:
    """Follower 42 was to be reached, had no slot left in the first wave, and was not in the second."""
    search = recipients.Search(population.open_id(population.EXAMPLE))
    month = month_of(FIRST_WAVE)
    first, second = picture.runs
    (one,) = recipients.page(session, campaign, first.id, month, search, limit=2)
    assert (one.status, one.reason, one.slots_left, one.group) == (
        "skipped", "no_window", 0, truth.CORE,
    )  # fmt: skip
    assert recipients.page(session, campaign, second.id, month, search, limit=2) == []


def compared(demo: DemoWorld) -> None:
    with db.reading(demo.rt.engine) as session:
        account_id = accounts.get(session, truth.SLUG).id
        everybody = comparison.to_everybody(session, account_id, FIRST_WAVE, demo.clock(), 1_000)
        mine = comparison.of_campaign(session, campaign_of(session), demo.clock())
    assert everybody is not None
    assert (everybody.planned, everybody.delivered, everybody.opened) == (20_000, 19_420, 1_554)
    assert (everybody.guided, everybody.unfollows, everybody.slots) == (388, 155, 19_700)
    assert everybody.losing == 8_700
    assert everybody.slots_per_guided is not None
    assert round(everybody.slots_per_guided, 1) == 50.8
    assert round(everybody.above_base) == 124
    assert everybody.simulated_from == "双十一预热 · 全量群发"
    assert (mine.planned, mine.delivered, mine.guided, mine.slots) == (4_500, 4_301, 1_044, 3_360)
    assert (mine.unfollows, round(mine.above_base)) == (9, 2)
    assert mine.slots_per_guided is not None
    assert round(mine.slots_per_guided, 1) == 3.2
    assert mine.losing == 1_496
    assert mine.measurable
    assert not everybody.measurable


def results(demo: DemoWorld) -> None:
    with db.reading(demo.rt.engine) as session:
        campaign = campaign_of(session)
        picture = live.picture(session, campaign, demo.clock())
        steps = funnel.steps(session, picture)
        assert [(step.name, step.people) for step in steps] == [
            ("planned", 4_500),
            ("sent", 4_360),
            ("delivered", 4_301),
            ("opened", 1_935),
            ("guided", 1_044),
            ("微博留言", 642),
            ("领券", 588),
            ("用券", 203),
        ]
        weakest = funnel.weakest(steps)
        assert weakest is not None
        assert weakest.name == "微博留言"
        assert weakest.share is not None
        assert weakest.past is not None
        assert (round(weakest.share, 3), round(weakest.past, 2)) == (0.615, 0.75)
        effects = {one.name: one for one in funnel.effects(session, picture)}
        coupons, orders = effects["领券"], effects["下单"]
        assert (coupons.treated_hits, coupons.held_hits) == (588, 11)
        lift = coupons.lift
        assert (round(lift.points, 2), round(lift.low, 2), round(lift.high, 2)) == (
            10.87, 9.25, 12.49,
        )  # fmt: skip
        assert (lift.caused, lift.caused_low, lift.caused_high) == (489, 416, 562)
        assert coupons.certain
        assert (orders.treated_hits, orders.held_hits) == (96, 8)
        lift = orders.lift
        assert (round(lift.points, 2), round(lift.low, 2), round(lift.high, 2)) == (
            0.53, -0.65, 1.71,
        )  # fmt: skip
        assert not orders.certain
        told = dict(comparison.of_campaign(session, campaign, demo.clock()).tags)
        assert (told["点击"], told["未点击"], told["领券"]) == (1_044, 3_316, 588)


def campaign_of(session: db.Session) -> Campaign:
    return definitions.get(session, accounts.get(session, truth.SLUG).id, truth.CAMPAIGN)


def _told(line: Line) -> tuple[int, int, int, int]:
    return line.handed_over, line.delivered, line.guided, line.slots
