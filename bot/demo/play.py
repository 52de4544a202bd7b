"""Plays ten days of 沐颜集 on the sandbox's clock: scans, words, taps, one targeted campaign, one send to all.

Nothing is sped up or skipped: every push goes through the callback, every message through the
gateway, and the platform that answers is the sandbox. Only time is ours.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from flask import Flask

from bot import db, scheduler
from bot.campaigns import comparison, definitions
from bot.campaigns.comparison import Side
from bot.campaigns.status import OPEN_RUNS
from bot.clock import Clock, local
from bot.demo import campaigns, deeds, truth
from bot.demo.deeds import Act, Crowd
from bot.demo.load import APP_ID, SIZES, Stage, apply_file
from bot.demo.population import SEED, Person, people
from bot.sandbox.acts import NotPossible
from bot.sandbox.personas import forget_unread
from bot.sandbox.platform import Platform
from bot.tables.campaigns import campaign_runs, mass_batches
from bot.tables.outbox import outbox
from bot.workers import run_due

BEGIN = "2025-11-14 08:00"
DAYS, ENDS = 10, 10  # days lived, and the hour of the last day it stops at
FIRST_WAVE = 20, 30  # of the first day
SECOND_WAVE = timedelta(
    hours=48, seconds=2
)  # after the first: a follow-up never takes a run's own key
# how often the program looks: while something is sent, while a run waits for its guard, and else
SENDING_STEP, WAITING_STEP, QUIET_STEP = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(hours=2),
)
# nothing of the planted campaign: who says 「活动」 or 「1」 gets a tag that moves them into its groups
WORDS = ("我想要优惠券", "肤质测试", "敏感", "面膜", "防晒", "在吗", "门店", "物流到哪了")
SCENES = ("store_01", "store_03", "store_05", "tb_card", "wb_bio", "mini_vip")
TICKS = ("start", "rounds", "waves", "outbox", "collect", "trials", "guard")
SELDOM = ("aftermath",)  # asked for once a step
# planted: of those the send to all reached, who opens the link, and who leaves because of it.
# figures of the demo brand, not industry claims
GUIDED_ALL, LEAVE_ALL, LEAVE_A_DAY = 0.020, 0.0064, 0.0008


def play(
    stage: Stage,
    platform: Platform,
    clock: Clock,
    product: Flask,
    size: str,
    say: Callable[[str], None],
) -> None:
    """Let ten days pass from where the clock stands, to ten in the morning. The demo must be loaded.

    Raises:
        Refused: the campaign could not be scheduled.
    """
    crowd = Crowd(stage, platform, clock, product)
    chance = random.Random(SEED)  # noqa: S311 -- drawn, not secret
    begin, count = clock(), SIZES[size]
    everybody = list(people(count, begin))
    first_wave = _first_wave(begin)
    with db.writing(stage.rt.engine) as session:
        apply_file(session, stage.rt, campaigns.approved(first_wave, count), begin)
    acts = deeds.deeds(crowd, everybody, count, first_wave)
    to_all = campaigns.planned_at(begin)[0]
    acts += _reading(crowd, everybody, to_all, chance)
    for day in range(DAYS):
        acts += _day(crowd, everybody, begin + timedelta(days=day), count, chance)
    second_wave = first_wave + SECOND_WAVE
    live(crowd, acts, ends(begin), (first_wave, second_wave, to_all), say)
    # who reads what is planted above; a demo that runs on must not let the sandbox's personas read it again
    forget_unread(platform, APP_ID)


def ends(begin: datetime) -> datetime:
    """Where a play that begins at a moment stops."""
    return local(begin + timedelta(days=DAYS)).replace(hour=ENDS, minute=0, second=0, microsecond=0)


def live(
    crowd: Crowd,
    acts: Sequence[Act],
    until: datetime,
    busy: Sequence[datetime] = (),
    say: Callable[[str], None] = lambda day: None,
) -> None:
    """Let acts happen at their moments, with the program at work in between and at the ``busy`` moments.

    Acts whose moment is past are left out. An act that is not possible any more does not happen.
    """
    clock = crowd.clock
    left = sorted((act for act in acts if clock() <= act[0] < until), key=lambda act: act[0])
    today = f"{clock():%m-%d}"
    work(crowd)
    while clock() < until:
        following = min([clock() + _step(crowd), until, *(at for at in busy if at > clock())])
        while left and left[0][0] <= following:
            moment, act = left.pop(0)
            clock.frozen_at = max(moment, clock())
            try:
                act()
            except NotPossible:
                continue  # the persona left in the meantime
        clock.frozen_at = following
        work(crowd)
        if f"{clock():%m-%d}" != today:
            say(today)
            today = f"{clock():%m-%d}"


def _step(crowd: Crowd) -> timedelta:
    """How far the clock may go until the program has something to do."""
    with db.reading(crowd.stage.rt.engine) as session:
        sends = sa.select(outbox.c.id).where(outbox.c.status.in_(("waiting", "sending")))
        open_batch = sa.select(mass_batches.c.id).where(
            mass_batches.c.status.in_(("planned", "sending", "submitted"))
        )
        open_run = sa.select(campaign_runs.c.id).where(campaign_runs.c.status.in_(OPEN_RUNS))
        if any(session.execute(one.limit(1)).first() for one in (sends, open_batch)):
            return SENDING_STEP
        return WAITING_STEP if session.execute(open_run.limit(1)).first() else QUIET_STEP


def work(crowd: Crowd) -> None:
    """What the scheduler and the workers would do now, until nothing is left to do."""
    rt, now = crowd.stage.rt, crowd.clock()
    for name in SELDOM:
        scheduler.tick(rt, name, now)
    for _ in range(200):
        for name in TICKS:
            scheduler.tick(rt, name, now)
        if run_due(rt) + crowd.platform.run_due() == 0:
            return


def outcomes(stage: Stage, account_id: int, now: datetime) -> tuple[Side, Side]:
    """(the send to all, the targeted campaign)."""
    with db.reading(stage.rt.engine) as session:
        everybody, targeted = (
            definitions.get(session, account_id, name)
            for name in (campaigns.PLANNED[0][1], truth.CAMPAIGN)
        )
        return (
            comparison.of_campaign(session, everybody, now),
            comparison.of_campaign(session, targeted, now),
        )


def _first_wave(begin: datetime) -> datetime:
    """This evening, or tomorrow's where this one is nearly over."""
    hour, minute = FIRST_WAVE
    evening = local(begin).replace(hour=hour, minute=minute, second=0, microsecond=0)
    return evening if evening > begin + timedelta(hours=1) else evening + timedelta(days=1)


def _day(
    crowd: Crowd, everybody: Sequence[Person], today: datetime, count: int, chance: random.Random
) -> list[Act]:
    """An ordinary day of who is not in the campaign: newcomers by QR code, words, taps, scans, a few who leave."""
    platform = crowd.platform
    others = [person for person in everybody if not person.role.group]

    def when() -> datetime:
        return today + timedelta(seconds=chance.uniform(0, 12 * 3600))

    def somebody() -> str:
        return chance.choice(others).open_id

    acts: list[Act] = []
    for number in range(count // 500):
        newcomer = f"o_demo_new_{today:%m%d}_{number:012d}"
        scene = chance.choice(SCENES)
        acts.append((when(), _act(platform.follow, APP_ID, newcomer, scene)))
    for _ in range(count // 70):
        acts.append((when(), _act(platform.say, APP_ID, somebody(), chance.choice(WORDS))))
    for _ in range(count // 200):
        acts.append((when(), _act(platform.tap, APP_ID, somebody(), "M_COUPON")))
        acts.append((when(), _act(platform.scan, APP_ID, somebody(), chance.choice(SCENES))))
    for person in others:
        if chance.random() < LEAVE_A_DAY:
            acts.append((when(), _act(platform.leave, APP_ID, person.open_id)))
    return acts


def _reading(
    crowd: Crowd, everybody: Sequence[Person], at: datetime, chance: random.Random
) -> list[Act]:
    """What comes of the send to all: a few follow its link, some leave."""
    acts: list[Act] = []
    for person in everybody:
        if person.refuses or len(person.sends) == 4:
            continue
        if chance.random() < GUIDED_ALL:
            moment = at + timedelta(hours=chance.uniform(4, 30))
            acts.append((moment, _act(crowd.click, person.open_id)))
        if chance.random() < LEAVE_ALL:
            moment = at + timedelta(hours=chance.uniform(5, 40))
            acts.append((moment, _act(crowd.leave, person.open_id)))
    return acts


def _act(act: Callable[..., object], *arguments: object) -> Callable[[], object]:
    return lambda: act(*arguments)


def told(sides: tuple[Side, Side]) -> Iterator[tuple[str, str, str]]:
    """The comparison, line by line: (what, send to all, targeted)."""
    everybody, targeted = sides
    lines: tuple[tuple[str, Callable[[Side], str]], ...] = (
        ("计划人数 planned", lambda o: f"{o.planned:,}"),
        ("送达 delivered", lambda o: f"{o.delivered:,}"),
        ("引导人数 guided", lambda o: f"{o.guided:,}（{_percent(o.guide_rate)}）"),
        ("目标 goal", lambda o: f"{o.goal_share:.1%}" if o.goal_share is not None else "—"),
        (
            "48 小时取关 unfollows in 48 h",
            lambda o: f"{o.unfollows:,}（{_percent(o.unfollow_rate)}）",
        ),
        ("其中高于基线 above base", lambda o: f"≈ {o.above_base:.0f}"),
        ("消耗名额 slots spent", lambda o: f"{o.slots:,}"),
        (
            "每引导一人消耗名额 slots per guided",
            lambda o: f"{o.slots_per_guided:.1f}" if o.slots_per_guided is not None else "—",
        ),
        ("失去计划内推送 losing a planned push", lambda o: f"{o.losing:,}"),
    )
    for label, value in lines:
        yield label, value(everybody), value(targeted)


def _percent(rate: float | None) -> str:
    return "—" if rate is None else f"{rate:.2%}"


__all__ = ["live", "outcomes", "play", "told", "work"]
