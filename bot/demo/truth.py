"""The planted truth of the demo brand: who is in which group of the campaign, reached how, and what they will do.

Every figure is of the full size, 20,000 followers; smaller demos have the same shares. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

FULL = 20_000
SLUG = "muyan"
CAMPAIGN = "奈雪 8 元券 · 微博留言"
HOLDOUT = 0.1
CORE, WIDER, ALIKE = "G1 核心", "G2 扩展", "G3 同好"
GROUPS = (CORE, WIDER, ALIKE)
VARIANTS = ("A", "B")
# seeds of the stable split, as the sender draws it (bot.campaigns.experiment)
HOLDOUT_SEED = f"holdout:{SLUG}:{CAMPAIGN}"
VARIANT_SEED = f"variant:{SLUG}:{CAMPAIGN}"
# how many times so many of the month's four slots are left before the campaign
LEFT = {4: 400, 3: 10_600, 2: 6_900, 1: 1_800, 0: 300}


@dataclass(frozen=True, slots=True)
class Role:
    """What the campaign will find in a follower, and what comes of it.

    ``way``: window, consent, mass, none (no slot left), held, or empty for who is in no group.
    ``guided``: 0 never, 1 after the first wave, 2 after the second. ``writes``: between the waves.
    ``fails``: the platform refuses it, which the plan could not know: of the windows some were closed (45015), and
    of some another program had ``used_up`` the messages (45047).
    """

    group: str = ""
    way: str = ""
    variant: str = ""
    guided: int = 0
    fails: bool = False
    used_up: bool = False
    writes: bool = False
    commented: bool = False
    coupon: bool = False
    used: bool = False
    leaves: bool = False
    bought: bool = False


NOBODY = Role()

# people by group, way, variant and what they do: (group, way, variant, deed) -> people, in GROUPS' order.
# ``wave2`` wrote and clicked, ``wrote`` wrote and did not click after all
_PLAN: tuple[tuple[str, str, str, tuple[int, int, int]], ...] = (
    ("held", "", "", (130, 90, 280)),
    ("window", "", "guided", (110, 36, 68)),
    ("window", "", "wave2", (25, 12, 24)),
    ("window", "", "wrote", (75, 40, 96)),
    ("window", "", "silent", (47, 20, 58)),
    ("window", "", "fails", (2, 1, 2)),
    ("window", "", "used_up", (1, 1, 2)),
    ("consent", "", "guided", (60, 20, 32)),
    ("consent", "", "wave2", (15, 8, 14)),
    ("consent", "", "wrote", (35, 20, 46)),
    ("consent", "", "silent", (38, 30, 54)),
    ("consent", "", "fails", (2, 2, 4)),
    ("none", "", "", (36, 25, 79)),
    ("mass", "A", "guided", (88, 56, 138)),
    ("mass", "A", "silent", (268, 239, 870)),
    ("mass", "A", "fails", (6, 3, 12)),
    ("mass", "B", "guided", (104, 68, 166)),
    ("mass", "B", "silent", (253, 225, 843)),
    ("mass", "B", "fails", (5, 4, 12)),
)
COMMENTED, COUPONS, USED, HELD_COUPONS = 642, 588, 203, 11
LEAVERS = 9  # of the reached, within 48 hours
BOUGHT, HELD_BOUGHT = 96, 8  # orders within 7 days
REFUSERS = 280  # of everybody, those whose phones refuse messages of the account; LEFT stays theirs
OPENED = 1_935  # readers in the chat, as the platform's own site shows them


def share(full: int, size: int) -> int:
    """A count of the full size in a demo of ``size`` followers."""
    return round(full * size / FULL)


def shares(full: Sequence[int], size: int) -> list[int]:
    """Counts that add up to the share of their sum, each as near as whole people allow."""
    ends, reached = [0], 0
    for count in full:
        reached += count
        ends.append(share(reached, size))
    return [end - begin for begin, end in pairwise(ends)]


def roles(size: int) -> Iterator[Role]:
    """Every role of the campaign, one a person, group after group."""
    made = [role for number in range(len(GROUPS)) for role in _group(number, size)]
    yield from _with_deeds(made, size)


def treated(size: int) -> int:
    """People of the three groups who are not held back."""
    return share(4_500, size)


def _group(number: int, size: int) -> Iterator[Role]:
    counts = shares([people[number] for _way, _variant, _deed, people in _PLAN], size)
    for (way, variant, deed, _people), count in zip(_PLAN, counts, strict=True):
        role = Role(
            GROUPS[number],
            way,
            variant,
            guided={"guided": 1, "wave2": 2}.get(deed, 0),
            fails=deed in ("fails", "used_up"),
            used_up=deed == "used_up",
            writes=deed in ("wave2", "wrote"),
        )
        yield from [role] * count


def _with_deeds(made: list[Role], size: int) -> Iterator[Role]:
    """Comments, coupons, orders and leaving, spread evenly over those who may."""
    guided = [at for at, role in enumerate(made) if role.guided]
    commented = _spread(guided, share(COMMENTED, size))
    coupons = _spread(commented, share(COUPONS, size))
    held = [at for at, role in enumerate(made) if role.way == "held"]
    held_coupons = _spread(held, share(HELD_COUPONS, size))
    silent = [
        at
        for at, role in enumerate(made)
        if role.way == "mass" and not role.guided and not role.fails
    ]
    chosen: Mapping[str, set[int]] = {
        "commented": set(commented),
        "coupon": {*coupons, *held_coupons},
        "used": set(_spread(coupons, share(USED, size))),
        "leaves": set(_spread(silent, share(LEAVERS, size))),
        "bought": {
            *_spread(coupons, share(BOUGHT, size)),
            *_spread(held, share(HELD_BOUGHT, size)),
        },
    }
    for at, role in enumerate(made):
        deeds: dict[str, Any] = {name: at in places for name, places in chosen.items()}
        yield replace(role, **deeds)


def _spread(places: Sequence[int], count: int) -> list[int]:
    """``count`` of the places, evenly from the first to the last."""
    return [places[number * len(places) // count] for number in range(count)] if count else []
