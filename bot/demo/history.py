"""What 沐颜集 did before the demo opens: past campaigns with their results, this month's mass messages, who left. Pure.

Days are counted by the calendar of the moment it opens at, so that the same month is told in any year.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.campaigns import guard
from bot.campaigns.guard import GuardCounts, GuardLimits, exposure_of
from bot.campaigns.outcome import USUAL_RATE
from bot.clock import local
from bot.demo.population import SENDS, TO_ALL, Person, sent_at
from bot.demo.truth import share

EVERYBODY = "全体粉丝"
FRIENDS = "活动同好"
# what a send to everybody comes to today, at 20,000 followers of whom 19,700 have a slot:
# delivered, guided, left within 48 hours, read
TODAY_CHARGED, TODAY = 19_700, {"delivered": 19_420, "guided": 388, "left": 155, "reads": 1_554}
LEAVES_A_DAY = 16  # of 20,000: the base of 0.08 % a day
BASE_DAYS, LEAVERS_DAYS = (
    14,
    29,
)  # the base is read off the last 14 days; older leavers are forgotten
COMMENTED, COUPONS, USED = 0.75, 0.92, 0.34  # of the step before, in the past activities


@dataclass(frozen=True, slots=True)
class Past:
    """A campaign that is over: its document, who got it, and what came of it."""

    document: dict[str, Any]
    at: datetime
    people: Sequence[str]  # OpenIDs
    delivered: int
    guided: Sequence[str]
    reads: int
    deeds: tuple[tuple[str, Sequence[str]], ...] = ()  # (kind of event, who)
    stop: "Stop | None" = None


@dataclass(frozen=True, slots=True)
class Stop:
    """How the guard stopped a campaign: ``spared`` were to get it too; ``state`` is what the guard wrote on the run."""

    spared: Sequence[str]
    state: dict[str, Any]
    looked_at: datetime
    cancelled_at: datetime


@dataclass(frozen=True, slots=True)
class Leaver:
    """Somebody who unfollowed; nobody of the demo's followers."""

    open_id: str
    scene: str
    followed_at: datetime
    left_at: datetime


@dataclass(frozen=True, slots=True)
class _Activity:
    name: str
    months_back: int
    day: int
    people: int
    guided: int
    text: str
    benefit: str


ACTIVITIES = (
    _Activity(
        "微博转发抽小样", 2, 18, 2_000, 420, "转发微博抽洁面小样，每天 20 份：{link:go}", "洁面小样"
    ),
    _Activity(
        "中秋微博投票",
        1,
        5,
        2_500,
        600,
        "中秋你想收到哪一款？微博投票送礼盒：{link:go}",
        "中秋礼盒",
    ),
    _Activity(
        "直播暗号", 1, 23, 1_500, 390, "今晚直播暗号在微博置顶，答对领券：{link:go}", "满减券"
    ),
)
# this month's targeted sends: key of SENDS -> (name, text, guided of a thousand delivered)
_TARGETED = {
    "first": ("双十一会员预售", "会员提前两天选：{link:go}", 90),
    "second": ("双十一面膜专场", "面膜第二件半价，今天到午夜：{link:go}", 70),
    "third": ("双十一返场提醒", "最后一天，返场券还没用：{link:go}", 90),
}
# last month's send to everybody that the guard stopped: of so many people 4 % got it, and 1.1 % of those left
STOPPED_NAME, STOPPED_TEXT = "清仓第二波 · 全量群发", "清仓最后 3 天，全场五折起：{link:go}"
STOPPED_DAY, STOPPED = 28, 16_000
STOPPED_PARTS = (
    640,
    1_600,
    4_800,
    STOPPED,
)  # as the guard lets them go: 4 %, a tenth, three tenths, all
STOPPED_DELIVERED, STOPPED_LEFT = 636, 7
LOOK_AFTER, GIVEN_UP_AFTER = timedelta(minutes=90), timedelta(minutes=130)
TO_ALL_NAME, TO_ALL_TEXT = "双十一预热 · 全量群发", "双十一会场开了，先逛再买：{link:go}"


def past(
    everybody: Sequence[Person], left: Sequence[Leaver], size: int, until: datetime
) -> Iterator[Past]:
    """Every campaign before ``until``, oldest first."""
    chance = random.Random(f"past {size}")  # noqa: S311 -- drawn, not secret
    yield from _activities(everybody, size, until, chance)
    yield stopped(everybody, size, until)
    yield from _this_month(everybody, left, until, chance)


def leavers(size: int, until: datetime) -> list[Leaver]:
    """Who left in the last four weeks: 16 a day of 20,000, most of a fortnight's after the send to all."""
    chance = random.Random(f"leavers {size}")  # noqa: S311 -- drawn, not secret
    to_all = sent_at(TO_ALL, until)
    days: list[tuple[datetime, datetime, int]] = []
    # the campaign of this evening looks back a fortnight: nobody leaves in the half day before that
    fortnight = until - timedelta(days=BASE_DAYS, hours=-12)
    burst = _after_to_all(size) if to_all else 0
    recent = share(LEAVES_A_DAY * BASE_DAYS, size)
    if to_all and to_all >= fortnight:
        recent -= burst
    if to_all:
        days.append((to_all, to_all + timedelta(hours=47), burst))
    days.append((fortnight, until, max(recent, 0)))
    earlier = LEAVERS_DAYS - BASE_DAYS
    before = until - timedelta(days=BASE_DAYS)
    days.append((until - timedelta(days=LEAVERS_DAYS), before, share(LEAVES_A_DAY * earlier, size)))
    found = []
    for begin, end, count in days:
        for _ in range(count):
            at = _between(begin, end, chance)
            while count != burst and to_all and to_all <= at <= to_all + timedelta(hours=48):
                at = _between(begin, end, chance)
            found.append(at)
    return [
        Leaver(
            f"o_demo_left_{number:016d}",
            "tb_card" if chance.random() < 0.5 else "",
            at - timedelta(days=chance.uniform(31, 60)),
            at,
        )
        for number, at in enumerate(sorted(found), 1)
    ]


def stopped(everybody: Sequence[Person], size: int, until: datetime) -> Past:
    """The send of last month that the guard stopped at its first look; an operator then gave it up and filed it."""
    chance = random.Random(f"stopped {size}")  # noqa: S311 -- drawn, not secret
    at = _moment(until, 1, STOPPED_DAY)
    angry = [one.open_id for one in stopped_leavers(size, until)]
    there = [person.open_id for person in everybody if person.followed_at < at]
    parts = [share(part, size) for part in STOPPED_PARTS]
    drawn = angry + chance.sample(there, parts[-1] - len(angry))
    canary, spared = drawn[: parts[0]], drawn[parts[0] :]
    delivered = share(STOPPED_DELIVERED, size)
    counts = GuardCounts(
        planned=parts[-1],
        delivered=delivered,
        unfollows=len(angry),
        sent=len(canary),
        errors=0,
        exposure=exposure_of([(delivered, LOOK_AFTER)]),
    )
    found = guard.verdict(counts, USUAL_RATE)
    looked_at = at + LOOK_AFTER
    look = {"at": looked_at.isoformat(), "stop": found.stop, "reason": found.reason}
    state = {
        "stages": parts,
        "stage": 0,
        "canary": True,
        "out_at": at.isoformat(),
        "wave": None,
        "below": None,
        "looks": [{**look, **found.evidence}],
    }
    return Past(
        _document(STOPPED_NAME, EVERYBODY, at, STOPPED_TEXT, len(drawn) // 20),
        at,
        canary,
        delivered,
        canary[-share(10, size) :],
        reads=round(delivered * 0.08),
        stop=Stop(spared, state, looked_at, at + GIVEN_UP_AFTER),
    )


def stopped_leavers(size: int, until: datetime) -> list[Leaver]:
    """Who left because of it, before the guard looked. Fewer than its least stop nothing, in a small demo either."""
    at = _moment(until, 1, STOPPED_DAY)
    count = max(share(STOPPED_LEFT, size), GuardLimits().least_unfollows)
    return [
        Leaver(
            f"o_demo_gone_{number:016d}",
            "tb_card",
            at - timedelta(days=20 + number),
            at + timedelta(minutes=15 + 8 * number),
        )
        for number in range(1, count + 1)
    ]


def _after_to_all(size: int) -> int:
    return share(156, size)


def _between(begin: datetime, end: datetime, chance: random.Random) -> datetime:
    return begin + (end - begin) * chance.random()


def _activities(
    everybody: Sequence[Person], size: int, until: datetime, chance: random.Random
) -> Iterator[Past]:
    friends = [person.open_id for person in everybody if person.role.group]
    for activity in ACTIVITIES:
        people = chance.sample(friends, min(share(activity.people, size), len(friends)))
        guided = people[: share(activity.guided, size)]
        commented = guided[: round(len(guided) * COMMENTED)]
        coupons = commented[: round(len(commented) * COUPONS)]
        used = coupons[: round(len(coupons) * USED)]
        at = _moment(until, activity.months_back, activity.day)
        document = _document(activity.name, FRIENDS, at, activity.text, share(500, size))
        document["brief"] = {
            "participation": "微博互动",
            "benefit": activity.benefit,
            "form": "微博互动",
            "monitoring": list(MONITORING),
        }
        yield Past(
            document,
            at,
            people,
            len(people),
            guided,
            reads=round(len(people) * 0.44),
            deeds=tuple(zip(MONITORING, (commented, coupons, used), strict=True)),
        )


def _this_month(
    everybody: Sequence[Person],
    left: Sequence[Leaver],
    until: datetime,
    chance: random.Random,
) -> Iterator[Past]:
    for key in SENDS:
        at = sent_at(key, until)
        if at is None:
            continue
        people = [person.open_id for person in everybody if key in person.sends]
        if key == TO_ALL:
            people += [one.open_id for one in left if one.followed_at < at < one.left_at]
            delivered = round(len(people) * TODAY["delivered"] / TODAY_CHARGED)
            of_delivered = delivered / TODAY["delivered"]
            name, text, segment = TO_ALL_NAME, TO_ALL_TEXT, EVERYBODY
            guided = round(TODAY["guided"] * of_delivered)
            reads = round(TODAY["reads"] * of_delivered)
        else:
            name, text, thousand = _TARGETED[key]
            segment, delivered = FRIENDS, round(len(people) * 0.99)
            guided, reads = round(delivered * thousand / 1000), round(delivered * 0.25)
        still_here = [one for one in people if not one.startswith("o_demo_left_")]
        document = _document(name, segment, at, text, max(len(people) // 20, 1))
        yield Past(document, at, people, delivered, chance.sample(still_here, guided), reads)


MONITORING = ("微博留言", "领券", "用券")


def _document(name: str, segment: str, at: datetime, text: str, target: int) -> dict[str, Any]:
    return {
        "name": name,
        "segment": segment,
        "at": local(at).isoformat(),
        "channels": ["mass"],
        "content": {"text": text},
        "links": {"go": "https://weibo.com/u/1"},
        "goal": {"metric": "guided", "target": max(target, 1)},
        "status": "draft",
    }


def _moment(until: datetime, months_back: int, day: int) -> datetime:
    month = local(until).replace(day=1, hour=20, minute=30, second=0, microsecond=0)
    for _ in range(months_back):
        month = (month - timedelta(days=1)).replace(day=1)
    return month.replace(day=day)
