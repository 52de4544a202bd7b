"""Which boxes can meet at all, found by asking the index what a word of each would set off."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rules.boxes import Box
from rules.facts import Facts
from rules.index import Index, build
from rules.languages import Expression, Language, common, needs, samples, shortest
from rules.needs import SCENE, Needs

MOST_PAIRS = (
    1_500  # of expressions and patterns that are laid side by side; beyond it samples must do
)
SAMPLES = 12
MOST_BROAD = 200  # rules without words that are laid beside every other rule, the earliest
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


def broad(boxes: Sequence[Box]) -> tuple[list[int], list[int]]:
    """Numbers of (boxes that name no word, key or scene, the earliest 200; all those that name one)."""
    said = [number for number, box in enumerate(boxes) if box.texts or box.key or box.scenes]
    named = set(said)
    loose = [number for number in range(len(boxes)) if number not in named]
    return loose[:MOST_BROAD], said


def pairs(boxes: Sequence[Box], loose: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Numbers of (earlier, later) boxes of two rules that may meet, each pair once; ``loose`` among themselves too.

    Two words that only stand side by side in some sentence are left out: nobody is taken by surprise.
    """
    seen: set[tuple[int, int]] = set()
    for one, other in _meetings(boxes, loose):
        if boxes[one].rule == boxes[other].rule or not same_kind(boxes[one], boxes[other]):
            continue
        pair = (one, other) if boxes[one].rule < boxes[other].rule else (other, one)
        if pair not in seen:
            seen.add(pair)
            yield pair


def _meetings(boxes: Sequence[Box], loose: Sequence[int]) -> Iterator[tuple[int, int]]:
    texts = [number for number, box in enumerate(boxes) if box.texts]
    yield from _by_text(boxes, texts)
    yield from _by_scene(boxes, [number for number, box in enumerate(boxes) if box.scenes])
    keys: dict[str, list[int]] = defaultdict(list)
    for number, box in enumerate(boxes):
        if box.key:
            keys[box.key].append(number)
    for same in keys.values():
        for place, number in enumerate(same):
            yield from ((number, other) for other in same[:place])
    for place, number in enumerate(loose):
        yield from ((number, other) for other in loose[:place])


def _by_text(boxes: Sequence[Box], numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    languages = {number: _chief(boxes[number].texts) for number in numbers}
    index = build(
        (number, [needed] if (needed := needs(language)) is not None else [])
        for number, language in languages.items()
    )
    loose: list[int] = []
    for number, language in languages.items():
        if isinstance(language, Expression) or _is_inner(language):
            loose.append(number)
        text = common(boxes[number].texts)
        if text is not None:
            yield from ((number, other) for other in _asked(index, text))
    if len(loose) ** 2 <= 2 * MOST_PAIRS:
        for place, number in enumerate(loose):
            yield from ((number, other) for other in loose[:place])
        return
    for number in loose:
        for text in samples(languages[number], SAMPLES):
            yield from ((number, other) for other in _asked(index, text))


def _asked(index: Index, text: str) -> list[int]:
    return index.candidates(Facts("example", "text", _ANY_TIME, text=text))


def _chief(languages: Sequence[Language]) -> Language:
    """The language a box is found by: words before expressions, long before short."""
    return max(
        languages,
        key=lambda one: (
            0 if isinstance(one, Expression) else max(len(part) for part in one.glob.parts)
        ),
    )


def _is_inner(language: Language) -> bool:
    """A wildcard with a star inside, or one that ends with its word: its shortest text does not say all."""
    if isinstance(language, Expression):
        return True
    parts = language.glob.parts
    return (len(parts) > 2 and bool(parts[0] or parts[-1])) or (len(parts) == 2 and bool(parts[1]))


def _by_scene(boxes: Sequence[Box], numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    index = build(
        (number, [Needs(SCENE, ("*".join(boxes[number].scenes[0].glob.parts),))])
        for number in numbers
    )
    for number in numbers:
        scene = shortest(boxes[number].scenes[0])
        if scene is not None:
            facts = Facts("example", "scan", _ANY_TIME, scene=scene)
            yield from ((number, other) for other in index.candidates(facts))


def same_kind(one: Box, other: Box) -> bool:
    """Whether some kind of push may be for both. That a voice was understood is no meeting with a written word."""
    if one.kinds is None or other.kinds is None:
        return True
    both = one.kinds & other.kinds
    return "text" in both if one.texts or other.texts else bool(both)
