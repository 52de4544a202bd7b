"""Followers who act by themselves, in small steps, to keep a demo alive: each has rates of its own,
drawn from a fixed seed, so that the same day always looks the same."""

import random
import re
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from bot.sandbox import menus
from bot.sandbox.accounts import Account
from bot.sandbox.platform import Platform
from bot.sandbox.state import Row

MAX_ACTS = 20  # of one step: bounded, whatever the seconds
DAY_SECONDS = 86_400
NEWCOMERS_A_DAY, SCANS_A_DAY = 25, 15  # of an account of the demo's size
LOOK_AT = 200  # followers considered in a step
WORDS = ("我想要优惠券", "你好", "开门时间", "门店地址", "活动", "肤质测试", "积分怎么用")
LINK = re.compile(r"https?://[^\s\"'<>]+/l/[^\s\"'<>]+")


@dataclass(frozen=True)
class Habits:
    """How often a follower does something: a day for talk and taps, a message for clicks and leaving."""

    talks: float
    taps: float
    clicks: float
    leaves_after_mass: float


def habits_of(open_id: str) -> Habits:
    """The same for the same OpenID, everywhere."""
    chance = random.Random(sha256(open_id.encode()).digest())  # noqa: S311 play
    lively = chance.random() ** 2
    return Habits(
        talks=0.05 + 1.5 * lively,
        taps=0.05 + 2.0 * lively,
        clicks=0.05 + 0.5 * lively,
        leaves_after_mass=0.001 + 0.01 * chance.random(),
    )


def links_in(content: dict[str, Any]) -> list[str]:
    """Tracked links in something received: in texts, and in the addresses of articles."""
    texts = [str(content.get("text", "")), str(content.get("url", ""))]
    texts += [str(article.get("url", "")) for article in content.get("articles") or ()]
    return [link for text in texts for link in LINK.findall(text)]


def _keys(platform: Platform, account: Account, open_id: str) -> list[str]:
    buttons = menus.seen_by(platform, account, open_id) or []
    return [str(each["key"]) for each in menus.flat(buttons) if each.get("type") == "click"]


def _unread(platform: Platform, account: Account, open_id: str) -> list[dict[str, Any]]:
    """What came since this persona last looked; looking is remembered."""
    key = f"looked.{account.id}.{open_id}"
    seen = max(int(platform.store.kept(each) or 0) for each in (key, f"looked.{account.id}"))
    items = platform.received(account.app_id, open_id, seen)
    if items:
        platform.store.keep(key, str(items[-1]["id"]))
    return items


def forget_unread(platform: Platform, app_id: str) -> None:
    """Whatever came until now will be read by nobody: the past was played by somebody else."""
    account = platform.account(app_id)
    last = platform.store.value("SELECT max(id) FROM received WHERE account_id = ?", account.id)
    platform.store.keep(f"looked.{account.id}", str(last or 0))


def react(
    platform: Platform,
    account: Account,
    open_id: str,
    chance: random.Random,
) -> list[str]:
    """Read what came: perhaps follow a link, perhaps leave after a mass message."""
    habits, acts = habits_of(open_id), []
    for item in _unread(platform, account, open_id):
        links = links_in(item["content"])
        if links and platform.open_link is not None and chance.random() < habits.clicks:
            with suppress(OSError):  # the product may be down
                platform.open_link(links[0], open_id)
            acts.append(f"{open_id} opens a link")
        if item["way"] == "mass" and chance.random() < habits.leaves_after_mass:
            platform.leave(account.app_id, open_id)
            return [*acts, f"{open_id} leaves"]
    return acts


def _some(platform: Platform, account: Account, chance: random.Random) -> list[Row]:
    """Some present followers from a random place in the list on."""
    top = (
        platform.store.value("SELECT max(id) FROM followers WHERE account_id = ?", account.id) or 0
    )
    return platform.store.all(
        "SELECT * FROM followers WHERE account_id = ? AND subscribed AND NOT blacklisted AND id >= ?"
        " ORDER BY id LIMIT ?",
        account.id,
        chance.randint(0, max(0, top - LOOK_AT)),
        LOOK_AT,
    )


def _scans(platform: Platform, account: Account, share: float, people: list[Row]) -> list[str]:
    """Passers-by who follow through a code of the account, and followers who scan one again."""
    codes = platform.store.all(
        "SELECT DISTINCT scene FROM qrcodes WHERE account_id = ? AND expires_at > ? ORDER BY scene",
        account.id,
        platform.now(),
    )
    if not codes:
        return []
    chance, acts = platform.chance, list[str]()
    for _ in range(_times(chance, NEWCOMERS_A_DAY * share)):
        newcomer, scene = f"o_live_{chance.getrandbits(64):021d}", chance.choice(codes)["scene"]
        platform.follow(account.app_id, newcomer, scene)
        acts.append(f"{newcomer} follows by {scene}")
    for _ in range(_times(chance, SCANS_A_DAY * share) if people else 0):
        open_id, scene = chance.choice(people)["open_id"], chance.choice(codes)["scene"]
        platform.scan(account.app_id, open_id, scene)
        acts.append(f"{open_id} scans {scene}")
    return acts


def _times(chance: random.Random, expected: float) -> int:
    return int(expected) + (chance.random() < expected % 1)


def live(
    platform: Platform,
    app_id: str,
    seconds: float,
    max_acts: int = MAX_ACTS,
) -> list[str]:
    """Let ``seconds`` of follower life pass now: at most ``max_acts`` acts, told in words.

    Links are opened by ``platform.open_link``; without it nobody clicks.
    """
    account = platform.account(app_id)
    chance, acts = platform.chance, list[str]()
    share = seconds / DAY_SECONDS
    people = _some(platform, account, chance)
    chance.shuffle(people)
    acts += _scans(platform, account, share, people)[:max_acts]
    for person in people:
        if len(acts) >= max_acts:
            break
        open_id = person["open_id"]
        before = len(acts)
        acts += react(platform, account, open_id, chance)
        if len(acts) > before:
            continue
        habits = habits_of(open_id)
        if chance.random() < habits.talks * share:
            platform.say(app_id, open_id, chance.choice(WORDS))
            acts.append(f"{open_id} writes")
            continue
        keys = _keys(platform, account, open_id)
        if keys and chance.random() < habits.taps * share:
            platform.tap(app_id, open_id, chance.choice(keys))
            acts.append(f"{open_id} taps")
    return acts
