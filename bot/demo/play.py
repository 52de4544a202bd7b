"""Plays a month of 沐颜集 on the sandbox's clock: scans, words, taps, one targeted campaign, one send to all.

Nothing is sped up or skipped: every push goes through the callback, every message through the
gateway, and the platform that answers is the sandbox. Only time is ours.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.test import Client

from bot import accounts, db, overview, scheduler
from bot.campaigns.outcome import Outcome, outcome
from bot.clock import Clock
from bot.demo import campaigns
from bot.demo.load import APP_ID, SIZES, SLUG, Stage, apply_file
from bot.demo.population import SEED, Person, people
from bot.errors import Refused
from bot.sandbox.acts import NotPossible
from bot.sandbox.app import create_app as sandbox_app
from bot.sandbox.personas import forget_unread, links_in
from bot.sandbox.platform import Platform
from bot.workers import run_due

DAYS = 30
MINUTES = 240  # a campaign that is not over by then is reported as it stands
WECHAT = "Mozilla/5.0 (iPhone) MicroMessenger/8.0.50"
WORDS = (
    "我想要优惠券",
    "1",
    "活动",
    "奈雪",
    "肤质测试",
    "敏感",
    "面膜",
    "防晒",
    "在吗",
    "门店",
    "物流到哪了",
)
SCENES = ("store_01", "store_03", "store_05", "tb_card", "wb_bio", "mini_vip")
TICKS = ("start", "waves", "outbox", "collect")
# planted: of those a campaign reached, who opens the link, and who leaves because of it.
# figures of the demo brand, not industry claims
GUIDED_CORE, GUIDED_OTHERS, GUIDED_ALL = 0.36, 0.20, 0.020
LEAVE_TARGETED, LEAVE_ALL, LEAVE_A_DAY = 0.0013, 0.0064, 0.0008


@dataclass
class Play:
    """A stage with the sandbox in this process and one clock for both."""

    stage: Stage
    platform: Platform
    clock: Clock
    product: Flask
    chance: random.Random
    newcomers: int = 0


def play(
    stage: Stage,
    platform: Platform,
    clock: Clock,
    product: Flask,
    size: str,
    say: Callable[[str], None],
) -> None:
    """Let 30 days pass from where the clock stands. The demo must be loaded.

    Raises:
        Refused: a campaign could not be scheduled.
    """
    month = Play(stage, platform, clock, product, random.Random(SEED))  # noqa: S311 -- drawn, not secret
    begin = clock()
    count = SIZES[size]
    everybody = list(people(count, begin))
    targeted_at = begin + timedelta(days=13, hours=12, minutes=30)
    all_at = begin + timedelta(days=17, hours=12, minutes=30)
    work(month)
    for day in range(DAYS):
        today = begin + timedelta(days=day)
        acts = _day(month, everybody, today, count)
        if day == 13:
            acts += _wave_of_words(month, everybody, today)
            _schedule(month, campaigns.targeted(targeted_at, count))
            acts.append((targeted_at, lambda: _campaign(month, everybody, campaigns.TARGETED)))
        if day == 17:
            _schedule(month, campaigns.everybody(all_at, count))
            acts.append((all_at, lambda: _campaign(month, everybody, campaigns.TO_ALL)))
        for moment, act in sorted(acts, key=lambda item: item[0]):
            if moment > clock():
                clock.frozen_at = moment
            try:
                act()
            except NotPossible:
                continue  # the persona left in the meantime
        work(month)
        say(f"{today:%m-%d}")
    clock.frozen_at = begin + timedelta(days=DAYS)
    work(month)
    # who reads what is planted above; a demo that runs on must not let the sandbox's personas read it again
    forget_unread(platform, APP_ID)


def work(month: Play) -> None:
    """What the scheduler and the workers would do now, until nothing is left to do."""
    rt, now = month.stage.rt, month.clock()
    for _ in range(200):
        for name in TICKS:
            scheduler.tick(rt, name, now)
        if run_due(rt) + month.platform.run_due() == 0:
            return


def outcomes(stage: Stage, account_id: int) -> tuple[Outcome, Outcome]:
    """(the send to all, the targeted campaign)."""
    with db.reading(stage.rt.engine) as session:
        return (
            outcome(session, account_id, campaigns.TO_ALL),
            outcome(session, account_id, campaigns.TARGETED),
        )


def _schedule(month: Play, file: bytes) -> None:
    with db.writing(month.stage.rt.engine) as session:
        apply_file(session, month.stage.rt, file, month.clock())


Act = tuple[datetime, Callable[[], object]]


def _day(month: Play, everybody: list[Person], today: datetime, count: int) -> list[Act]:
    """An ordinary day: newcomers by QR code, words, taps, scans by followers, a few who leave."""
    chance, platform = month.chance, month.platform

    def when() -> datetime:
        return today + timedelta(seconds=chance.uniform(0, 14 * 3600))

    def somebody() -> str:
        return chance.choice(everybody).open_id

    acts: list[Act] = []
    for _ in range(count // 500):
        month.newcomers += 1
        newcomer = f"o_demo_new_{month.newcomers:017d}"
        scene = chance.choice(SCENES)
        acts.append((when(), _act(platform.follow, APP_ID, newcomer, scene)))
    for _ in range(count // 70):
        acts.append((when(), _act(platform.say, APP_ID, somebody(), chance.choice(WORDS))))
    for _ in range(count // 200):
        acts.append((when(), _act(platform.tap, APP_ID, somebody(), "M_COUPON")))
        acts.append((when(), _act(platform.scan, APP_ID, somebody(), chance.choice(SCENES))))
    for person in everybody:
        if chance.random() < LEAVE_A_DAY:
            acts.append((when(), _act(platform.leave, APP_ID, person.open_id)))
    return acts


def _wave_of_words(month: Play, everybody: list[Person], today: datetime) -> list[Act]:
    """On the day of the campaign one in eight of its people writes: their 48 hours are open, for free."""
    friends = [person for person in everybody if {"喜欢互动", "活动敏感"} <= set(person.tags)]
    chosen = month.chance.sample(friends, len(friends) // 8)
    return [
        (
            today + timedelta(seconds=month.chance.uniform(0, 10 * 3600)),
            _act(month.platform.say, APP_ID, person.open_id, "活动"),
        )
        for person in chosen
    ]


def _campaign(month: Play, everybody: list[Person], name: str) -> None:
    """Send it minute by minute until it is settled, then let people read it."""
    begin = month.clock()
    for minute in range(MINUTES):
        month.clock.frozen_at = begin + timedelta(minutes=minute)
        work(month)
        if _is_over(month, name):
            break
    for person in everybody:
        _read(month, person, name, begin)


def _is_over(month: Play, name: str) -> bool:
    with db.reading(month.stage.rt.engine) as session:
        account = accounts.get(session, SLUG)
        lines = overview.campaign_lines(session, account.id)
    return any(line.name == name and line.run_status == "finished" for line in lines)


def _read(month: Play, person: Person, name: str, since: datetime) -> None:
    platform, chance = month.platform, month.chance
    received = [
        item
        for item in platform.received(APP_ID, person.open_id)
        if item["way"] in ("mass", "customer_service") and links_in(item["content"])
    ]
    if not received or datetime.fromisoformat(received[-1]["at"]) < since:
        return
    targeted = name == campaigns.TARGETED
    guided = (GUIDED_CORE if person.core else GUIDED_OTHERS) if targeted else GUIDED_ALL
    if chance.random() < guided:
        browse(month, links_in(received[-1]["content"])[0], person.open_id)
    if chance.random() < (LEAVE_TARGETED if targeted else LEAVE_ALL):
        month.clock.frozen_at = month.clock() + timedelta(seconds=1)
        platform.leave(APP_ID, person.open_id)


def browse(month: Play, url: str, open_id: str) -> str:
    """Open a link as WeChat's browser does for a follower, through web authorisation if asked; where it ends."""
    sandbox_host = urlsplit(month.stage.sandbox_url).netloc
    product_host = urlsplit(month.stage.rt.config.base_url).netloc
    clients = {
        product_host: Client(month.product),
        sandbox_host: Client(sandbox_app(month.platform)),
    }
    for _ in range(6):
        parts = urlsplit(url)
        client = clients.get(parts.netloc)
        if client is None:
            return url
        query = parts.query
        if parts.netloc == sandbox_host:
            query += f"&persona={open_id}"
        answer = client.get(
            parts.path,
            query_string=query,
            headers={"User-Agent": WECHAT},
            base_url=f"{parts.scheme}://{parts.netloc}",
        )
        if answer.status_code not in (301, 302):
            raise Refused(f"a demo link ended with {answer.status_code}")
        url = answer.headers["Location"]
    raise Refused("a demo link goes round in circles")


def _act(act: Callable[..., object], *arguments: object) -> Callable[[], object]:
    return lambda: act(*arguments)


def told(outcomes_: tuple[Outcome, Outcome]) -> Iterator[tuple[str, str, str]]:
    """The comparison, line by line: (what, send to all, targeted)."""
    everybody, targeted = outcomes_
    lines: tuple[tuple[str, Callable[[Outcome], str]], ...] = (
        ("计划人数 planned", lambda o: f"{o.planned:,}"),
        ("送达 delivered", lambda o: f"{o.delivered:,}"),
        ("引导人数 guided", lambda o: f"{o.guided:,}（{_percent(o.guide_rate)}）"),
        (
            "目标 goal",
            lambda o: f"{o.guided / o.target:.1%}" if o.target else "—",
        ),
        (
            "48 小时取关 unfollows in 48 h",
            lambda o: f"{o.unfollows:,}（{_percent(o.unfollow_rate)}）",
        ),
        ("其中高于基线 above base", lambda o: f"≈ {o.unfollows_above_base:.0f}"),
        ("消耗名额 slots spent", lambda o: f"{o.slots:,}"),
        (
            "每引导一人消耗名额 slots per guided",
            lambda o: f"{o.slots_per_guided:.1f}" if o.slots_per_guided is not None else "—",
        ),
    )
    for label, value in lines:
        yield label, value(everybody), value(targeted)


def _percent(rate: float | None) -> str:
    return "—" if rate is None else f"{rate:.2%}"


__all__ = ["SLUG", "Play", "browse", "outcomes", "play", "told", "work"]
