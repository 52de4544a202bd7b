"""Who follows 沐颜集: counts are planted, only who and when is drawn. Pure, and the same for the same size.

The stable split of the campaign is a hash of the OpenID, so who is held back and who reads which
content is given; the generator deals roles, tags and windows to people whom the split made fit for them.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.campaigns.experiment import in_holdout, pick
from bot.clock import local
from bot.demo import truth
from bot.demo.truth import FULL, NOBODY, Role, share

SEED = 20251114
# first sources of the full size. Each is (source, scene keys or none, followers)
SOURCES: tuple[tuple[str, tuple[str, ...], int], ...] = (
    ("门店", tuple(f"store_{number:02d}" for number in range(1, 9)), 8_200),
    ("淘宝", ("tb_card", "tb_service"), 6_400),
    ("微博", ("wb_bio", "wb_post_1108"), 2_600),
    ("搜索", (), 1_200),
    ("会员", ("mini_vip",), 800),
    ("推荐", (), 600),
    ("其他", (), 200),
)
# interest in (interaction 喜欢互动, activities 活动敏感) beyond the campaign's groups with both:
# 5,600 like interaction, 5,200 like activities, 4,100 both
WIDER_LIKES = 520  # of the 900 followers from Weibo with one of the two; the others like activities
OTHERS_LIKE, OTHERS_ACTIVE = 980, 720  # from elsewhere, with one of the two
SCENE_TAGS = {"store": "门店顾客", "tb": "淘宝顾客", "wb": "微博来源", "mini": "会员"}
SKIN = ("干性肌", "油性肌", "混合肌", "敏感肌")
HISTORY_DAYS = 90
OLD_DAYS = 75  # everybody of the campaign's groups came before so many days: they took part in what was before
SHARED = 300  # persons who follow the second account too
EXAMPLE = 42  # this follower was to be reached and had no slot left

# mass messages of this month, by day and Shanghai hour: key -> (day, people); the last three overlap as
# _TARGETED says. Source: the figures of the demo brand
TO_ALL, TO_PRESENT = "all", 19_600
SENDS: dict[str, tuple[int, float]] = {
    TO_ALL: (4, 12.5),
    "first": (7, 20.0),
    "second": (9, 12.5),
    "third": (10, 20.5),
}
# who of those present got which of the targeted ones: 2,400, 6,000 and 3,000 people
_TARGETED: tuple[tuple[tuple[str, ...], int], ...] = (
    (("first", "second", "third"), 300),
    (("first", "second"), 600),
    (("first", "third"), 200),
    (("second", "third"), 1_000),
    (("first",), 1_300),
    (("second",), 4_100),
    (("third",), 1_500),
)


@dataclass(frozen=True, slots=True)
class Person:
    """One follower as planted. ``wrote_at`` is their last message, if they ever wrote.

    ``open`` says whether that message still leaves a window of 48 hours; ``sends`` are the keys of
    ``SENDS`` they got this month, where those have passed.
    """

    open_id: str
    scene: str
    followed_at: datetime
    wrote_at: datetime | None
    tags: tuple[str, ...]
    source: str = ""
    role: Role = NOBODY
    open: bool = False
    sends: tuple[str, ...] = ()
    refuses: bool = False
    union_id: str | None = None

    @property
    def core(self) -> bool:
        """From Weibo, likes interaction and activities: group G1 of the campaign."""
        return {"微博来源", "喜欢互动", "活动敏感"} <= set(self.tags)

    @property
    def key(self) -> str:
        """What the stable split knows this person by."""
        return self.union_id or self.open_id


@dataclass(slots=True)
class _Draft:
    number: int
    union_id: str | None
    role: Role = NOBODY
    source: str = ""
    likes: bool = False
    active: bool = False
    new: bool = False
    sends: tuple[str, ...] = ()
    refuses: bool = False


def open_id(number: int) -> str:
    """An OpenID of the real length that anybody can see is none."""
    return f"o_demo_{number:021d}"


def people(size: int, until: datetime) -> Iterator[Person]:
    """``size`` followers who came in the 90 days before ``until``; counts are shares of ``FULL``, rounded.

    1. Roles of the campaign to people whom the split puts there.
    2. First sources and interests, as each group has them.
    3. The month's mass messages so far; who came after the one to all got none.
    4. Times, scenes and tags.
    """
    chance = random.Random(SEED)  # noqa: S311 -- drawn, not secret
    drafts = _drafts(size, chance)
    _deal_roles(drafts, size, chance)
    _deal_sources(drafts, size, chance)
    _deal_sends(drafts, size, chance)
    for draft in drafts:
        yield _person(draft, until, chance)


def sent_at(key: str, until: datetime) -> datetime | None:
    """When a mass message of this month went out; None where its day has not come yet."""
    day, hour = SENDS[key]
    month = local(until).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    at = month + timedelta(days=day - 1, hours=hour)
    return at if at < until - timedelta(hours=1) else None


def _drafts(size: int, chance: random.Random) -> list[_Draft]:
    numbers = [number for number in range(1, size + 1) if number != EXAMPLE]
    shared = set(chance.sample(numbers, share(SHARED, size)))
    return [
        _Draft(number, f"u_demo_{number:021d}" if number in shared else None)
        for number in range(1, size + 1)
    ]


def _deal_roles(drafts: list[_Draft], size: int, chance: random.Random) -> None:
    """Held back and variant are the split's; the rest of a role goes to anybody."""
    piles: dict[tuple[bool, int], list[_Draft]] = {}
    example: _Draft | None = None
    for draft in drafts:
        person = draft.union_id or open_id(draft.number)
        held = in_holdout(truth.HOLDOUT_SEED, person, truth.HOLDOUT)
        if draft.number == EXAMPLE and not held:
            example = draft
            continue
        arm = pick(truth.VARIANT_SEED, person, (0.5, 0.5))
        piles.setdefault((held, arm), []).append(draft)
    for pile in piles.values():
        chance.shuffle(pile)
    for role in truth.roles(size):
        if role.way == "none" and example is not None:
            example.role, example = role, None
            continue
        arms = [truth.VARIANTS.index(role.variant)] if role.variant else [0, 1]
        pile = max((piles[role.way == "held", arm] for arm in arms), key=len)
        pile.pop().role = role


def _deal_sources(drafts: list[_Draft], size: int, chance: random.Random) -> None:
    weibo = share(2_600, size)
    elsewhere = [
        source
        for source, _scenes, full in SOURCES
        if source != "微博"
        for _ in range(share(full, size))
    ]
    chance.shuffle(elsewhere)
    others = [draft for draft in drafts if not draft.role.group]
    chance.shuffle(others)
    from_weibo = [draft for draft in drafts if draft.role.group in (truth.CORE, truth.WIDER)]
    rest = weibo - len(from_weibo)
    for draft in [*from_weibo, *others[:rest]]:
        draft.source = "微博"
    for draft in drafts:
        if not draft.source:
            draft.source = elsewhere.pop()
    _deal_interests(drafts, others[rest:], size, chance)


def _deal_interests(
    drafts: list[_Draft], others: list[_Draft], size: int, chance: random.Random
) -> None:
    wider = [draft for draft in drafts if draft.role.group == truth.WIDER]
    chance.shuffle(wider)
    for draft in drafts:
        if draft.role.group in (truth.CORE, truth.ALIKE):
            draft.likes = draft.active = True
    likes = share(WIDER_LIKES, size)
    for draft in wider[:likes]:
        draft.likes = True
    for draft in wider[likes:]:
        draft.active = True
    likes = share(OTHERS_LIKE, size)
    for draft in others[:likes]:
        draft.likes = True
    for draft in others[likes : likes + share(OTHERS_ACTIVE, size)]:
        draft.active = True


def _deal_sends(drafts: list[_Draft], size: int, chance: random.Random) -> None:
    """Newcomers are in no group. Who has no slot left is a role; everybody else is drawn."""
    free = [draft for draft in drafts if not draft.role.group]
    chance.shuffle(free)
    newcomers = free[: size - share(TO_PRESENT, size)]
    rest = free[len(newcomers) :]
    for draft in newcomers:
        draft.new = True
    none_left = [draft for draft in drafts if draft.role.way == "none"]
    missing = share(truth.LEFT[0], size) - len(none_left)
    none_left += rest[:missing]
    taken = {draft.number for draft in [*newcomers, *none_left]}
    others = [draft for draft in drafts if draft.number not in taken]
    chance.shuffle(others)
    present, at = [*none_left, *others], 0
    for (keys, _full), count in zip(
        _TARGETED, truth.shares([full for _keys, full in _TARGETED], size), strict=True
    ):
        for draft in present[at : at + count]:
            draft.sends = (TO_ALL, *keys)
        at += count
    for draft in present[at:]:
        draft.sends = (TO_ALL,)
    failing = [draft for draft in drafts if draft.role.way == "mass" and draft.role.fails]
    more = share(truth.REFUSERS, size) - len(failing)
    for draft in [*failing, *rest[missing : missing + max(more, 0)]]:
        draft.refuses = True


def _person(draft: _Draft, until: datetime, chance: random.Random) -> Person:
    ago = _ago(draft, until, chance)
    followed_at = until - ago
    scene = _scene(draft, chance)
    opened = draft.role.way == "window" or (not draft.role.group and chance.random() < 0.004)
    wrote_at = _wrote_at(draft, until, ago, opened, chance)
    tags = [SCENE_TAGS[scene.split("_")[0]]] if scene else []
    tags += ["喜欢互动"] * draft.likes + ["活动敏感"] * draft.active
    if chance.random() < 0.4:
        tags.append(chance.choice(SKIN))
    return Person(
        open_id=open_id(draft.number),
        scene=scene,
        followed_at=followed_at,
        wrote_at=wrote_at,
        tags=tuple(tags),
        source=draft.source,
        role=draft.role,
        open=opened,
        sends=tuple(key for key in draft.sends if sent_at(key, until) is not None),
        refuses=draft.refuses,
        union_id=draft.union_id,
    )


def _ago(draft: _Draft, until: datetime, chance: random.Random) -> timedelta:
    to_all = sent_at(TO_ALL, until)
    days = (until - to_all) / timedelta(days=1) if to_all else 9.5
    if draft.new:
        return timedelta(days=chance.uniform(0.5, days - 0.05))
    if draft.role.group:
        return timedelta(days=chance.uniform(OLD_DAYS, HISTORY_DAYS))
    return timedelta(days=chance.uniform(days + 0.05, HISTORY_DAYS))


def _scene(draft: _Draft, chance: random.Random) -> str:
    if draft.source == "微博":
        return "wb_post_1108" if draft.new and chance.random() < 0.8 else "wb_bio"
    scenes: Sequence[str] = next(scenes for source, scenes, _ in SOURCES if source == draft.source)
    return chance.choice(scenes) if scenes else ""


def _wrote_at(
    draft: _Draft, until: datetime, ago: timedelta, opened: bool, chance: random.Random
) -> datetime | None:
    if (
        opened
    ):  # within the last day, before the campaign of this evening and gone before its second wave
        return until - min(ago, timedelta(hours=chance.uniform(0.5, 22)))
    if chance.random() >= 0.35:
        return None
    return until - max(ago * chance.random(), min(ago, timedelta(days=3)))


__all__ = ["FULL", "SEED", "Person", "open_id", "people", "sent_at"]
