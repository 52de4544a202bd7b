"""How segments share people: each against one, and every combination of several (what an UpSet chart shows)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyroaring import BitMap

MOST_TOGETHER = (
    6  # segments whose combinations are counted: 63 of them are as many as a page can show
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One other segment: how many are in both, as a share of ours and of theirs."""

    name: str
    size: int
    both: int
    of_ours: float
    of_theirs: float


@dataclass(frozen=True, slots=True)
class Cell:
    """Who is in exactly these segments and in none of the others."""

    names: tuple[str, ...]
    people: int


def pairs(ours: BitMap, others: Mapping[str, BitMap]) -> list[Pair]:
    """Each other segment against ours, those that share most first."""
    found = []
    for name, theirs in others.items():
        both = ours.intersection_cardinality(theirs)
        found.append(Pair(name, len(theirs), both, _share(both, ours), _share(both, theirs)))
    return sorted(found, key=lambda pair: (-pair.both, pair.name))


def cells(sets: Mapping[str, BitMap]) -> list[Cell]:
    """Every combination that somebody is in, the largest first. Their people sum to the union of all."""
    found: dict[tuple[str, ...], BitMap] = {}
    for name, people in sets.items():
        rest = BitMap(people)
        for names, inside in list(found.items()):
            both = inside & people
            if both:
                found[(*names, name)] = both
                found[names] = inside - people
                rest -= both
        if rest:
            found[(name,)] = rest
    listed = [Cell(names, len(people)) for names, people in found.items() if people]
    return sorted(listed, key=lambda cell: (-cell.people, len(cell.names), cell.names))


def first_wins(groups: Sequence[tuple[str, BitMap]]) -> dict[str, BitMap]:
    """Groups without overlap: who is in two belongs to the first, as a campaign divides its audience."""
    found: dict[str, BitMap] = {}
    taken = BitMap()
    for name, people in groups:
        found[name] = people - taken
        taken |= people
    return found


def _share(part: int, whole: BitMap) -> float:
    return part / len(whole) if whole else 0.0
