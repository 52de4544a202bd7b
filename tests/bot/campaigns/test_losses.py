"""Who loses which push, against one follower after the other; and what the calendar says of it."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from bot.campaigns.losses import Push, losses, walk

PEOPLE = 12
people_sets = st.sets(st.integers(0, PEOPLE - 1)).map(BitMap)


@st.composite
def months(draw: st.DrawFn) -> tuple[list[int], list[Push]]:
    """Slots left of each person, and the month's pushes in order."""
    left = draw(st.lists(st.integers(0, 4), min_size=PEOPLE, max_size=PEOPLE))
    listed = draw(st.lists(st.tuples(people_sets, st.booleans()), max_size=6))
    return left, [Push(number, people, firm) for number, (people, firm) in enumerate(listed)]


def levels(left: Sequence[int]) -> list[BitMap]:
    return [BitMap(who for who, has in enumerate(left) if has == number) for number in range(5)]


def one_by_one(left: Sequence[int], pushes: Sequence[Push]) -> list[set[int]]:
    """The same, asking each person at each push."""
    has = list(left)
    got: list[set[int]] = []
    for number, push in enumerate(pushes):
        mine = set()
        for who in push.people:
            firm = sum(later.firm and who in later.people for later in pushes[number + 1 :])
            if has[who] > (0 if push.firm else firm):
                mine.add(who)
                has[who] -= 1
        got.append(mine)
    return got


@settings(max_examples=300)
@given(months())
def test_sets_give_what_asking_everybody_gives(month: tuple[list[int], list[Push]]) -> None:
    left, pushes = month
    told = walk(levels(left), pushes)
    assert [set(one.got) for one in told] == one_by_one(left, pushes)
    for push, one in zip(pushes, told, strict=True):
        assert one.got | one.missed == push.people


@settings(max_examples=300)
@given(months(), people_sets, st.integers(0, 6))
def test_a_loss_is_somebody_who_would_have_got_it(
    month: tuple[list[int], list[Push]], people: BitMap, at: int
) -> None:
    left, pushes = month
    after = [*pushes[:at], Push("new", people), *pushes[at:]]
    before, then = one_by_one(left, pushes), one_by_one(left, after)
    found = losses(levels(left), pushes, after)
    listed = dict(zip((push.key for push in after), then, strict=True))
    for push, got in zip(pushes, before, strict=True):
        assert set(found[push.key]) == got - listed[push.key]
    # nobody who does not get the new one loses anything, and nobody loses what is firmly kept
    for push in pushes:
        assert set(found[push.key]) <= listed["new"]
        if push.firm:
            assert not found[push.key]


def test_one_more_to_everybody_takes_two_planned_pushes_apart() -> None:
    """400 with four left, 10,600 with three, 6,900 with two, 1,800 with one, 300 with none; two to all are planned."""
    sizes, first = (300, 1_800, 6_900, 10_600, 400), 0
    left = []
    for size in sizes:
        left.append(BitMap(range(first, first + size)))
        first += size
    everybody = BitMap(range(first))
    planned = [Push("18", everybody), Push("28", everybody)]
    found = losses(left, planned, [Push("new", everybody), *planned])
    assert {key: len(people) for key, people in found.items()} == {"18": 1_800, "28": 6_900}
    assert len(BitMap.union(*found.values())) == 8_700
