"""What followers of 沐颜集 asked and no rule answered: five wishes, each written in many ways. Pure."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from opencc import OpenCC

from bot.clock import day_of, start_of_day
from bot.demo.population import FULL, SEED, Person

# wish -> (messages of the full size, ways to say it with how often)
WISHES: dict[str, tuple[int, dict[str, int]]] = {
    "门店地址": (
        420,
        {
            "门店地址在哪里": 5, "门店在哪里": 4, "你们门店地址是什么": 3, "附近门店地址": 2, "上海门店地址": 2,
            "实体店地址在哪": 2, "门店地址发一下": 2, "最近的门店在哪": 1,
        },
    ),
    "物流": (
        360,
        {
            "物流到哪了": 5, "我的物流到哪里了": 3, "查物流": 3, "物流信息怎么查": 3, "物流怎么还没更新": 2,
            "快递物流到哪了": 2, "物流单号是多少": 2,
        },
    ),
    "孕妇可用": (
        290,
        {
            "孕妇可以用吗": 5, "孕妇能用吗": 4, "怀孕可以用吗": 3, "怀孕了能不能用": 2, "孕妇可用的有哪些": 2,
            "孕妇适合用哪款": 2,
        },
    ),
    "真假查询": (
        240,
        {
            "怎么查真假": 4, "真假查询": 4, "怎么辨别真假": 3, "是不是真的怎么查真假": 2, "防伪码查真假": 2,
            "真假怎么看": 2,
        },
    ),
    "积分": (
        190,
        {
            "积分怎么用": 4, "积分怎么兑换": 3, "我的积分有多少": 3, "查积分": 3, "积分会过期吗": 2,
            "积分能换什么": 2,
        },
    ),
}  # fmt: skip
BEFORE = ("", "", "", "请问", "你好，", "亲，", "想问一下", "您好 ")
BEHIND = ("", "", "", "？", "?", "呀", "～", "😊", "，谢谢", "。", "!!")
# how people mistype: by sound
SOUNDS = {"地址": "地止", "积分": "积份", "物流": "物留", "真假": "真价", "孕妇": "运妇"}


@dataclass(frozen=True, slots=True)
class Question:
    """One message, by whom and when; ``wish`` is the truth a clustering should find."""

    open_id: str
    text: str
    at: datetime
    wish: str


def questions(
    everybody: Sequence[Person], size: int, until: datetime, quiet: timedelta
) -> Iterator[Question]:
    """As many as the size has, by day, at the latest ``quiet`` before ``until``."""
    chance = random.Random(SEED + 1)  # noqa: S311 -- drawn, not secret
    traditional = OpenCC("s2t")
    latest = until - quiet - timedelta(days=1)
    people = [person for person in everybody if person.followed_at < latest]
    for wish, (full, ways) in WISHES.items():
        for _ in range(round(full * size / FULL)):
            text = chance.choices(list(ways), list(ways.values()))[0]
            luck = chance.random()
            if luck < 0.08:
                text = traditional.convert(text)
            elif luck < 0.14:
                text = next(
                    (
                        text.replace(right, wrong)
                        for right, wrong in SOUNDS.items()
                        if right in text
                    ),
                    text,
                )
            person = chance.choice(people)
            text = chance.choice(BEFORE) + text + chance.choice(BEHIND)
            yield Question(person.open_id, text, _moment(chance, person, latest), wish)


def openings(everybody: Sequence[Person]) -> list[Question]:
    """The last words of those whose 48 hours are open: they want to take part."""
    return [
        Question(person.open_id, "活动", person.wrote_at, "活动")
        for person in everybody
        if person.open and person.wrote_at
    ]


def _moment(chance: random.Random, person: Person, latest: datetime) -> datetime:
    """By day, 9 to 21 o'clock: at night a rule answers everybody. On a later day than they followed."""
    days = max((latest - person.followed_at).days, 0)
    day = day_of(person.followed_at) + timedelta(days=1 + chance.randrange(days + 1))
    return start_of_day(min(day, day_of(latest))) + timedelta(
        hours=9, seconds=chance.randrange(12 * 3600)
    )
