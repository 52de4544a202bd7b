"""What followers write that no rule answers, gathered into a few wishes (关键词发现). Pure.

Width, traditional letters, case, punctuation, emoji and small talk are folded away, homophones by their
reading without tones; what is left is gathered by what most of them speak of.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from heapq import heapify, heappop, heappush

from rules.pinyin import readings
from rules.text import fold_words

EXAMPLES = 5  # of one cluster
MOST_TEXTS = 200  # of one cluster, by which its words are chosen
MOST_WORDS = 8  # that a draft rule would ask for
LONGEST = 60  # letters of a message that are looked at
SIZES = (2, 3, 4)  # syllables, or letters, of a topic
COVERED = 0.95  # of a cluster's messages that its words are to answer
SHARED = (
    0.8  # of the messages of two clusters that hold one letter which stands nearly nowhere else
)
ELSEWHERE = 0.05
MERGED = 200  # clusters that are looked at for that, the largest
# what people say around what they want
SMALL_TALK = (
    *(
        "我想知道",
        "请问一下",
        "想问一下",
        "请问下",
        "想问下",
        "可不可以",
        "你们家",
        "你们的",
        "想知道",
    ),
    *(
        "在不在",
        "有没有",
        "是不是",
        "能不能",
        "可以吗",
        "怎么样",
        "为什么",
        "亲爱的",
        "告诉我",
        "hello",
    ),
    *(
        "请问",
        "想问",
        "问一下",
        "问下",
        "麻烦",
        "你们",
        "你家",
        "您好",
        "你好",
        "亲亲",
        "哈喽",
        "在吗",
    ),
    *(
        "谢谢",
        "多谢",
        "可以",
        "怎么",
        "怎样",
        "如何",
        "什么",
        "一下",
        "这个",
        "那个",
        "我的",
        "我们",
    ),
    *("我想", "我要", "一个", "告诉", "hi"),
    *"呢吗呀啊哦嘛吧啦了的我你您是都还就那这有",
)
_TALK = re.compile("|".join(map(re.escape, SMALL_TALK)))
Reading = str  # a sign a syllable, see _Ear


@dataclass(frozen=True, slots=True)
class Said:
    """One message nobody answered."""

    text: str
    follower_id: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """Messages that want the same. ``topics`` are what they have in common, as most people write it.

    ``words`` are what a rule would look for; ``texts`` the folded texts, most frequent first.
    """

    topics: tuple[str, ...]
    messages: int
    people: int
    examples: tuple[str, ...]
    words: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(slots=True)
class _Unit:
    """Messages that read alike."""

    reading: Reading
    texts: Counter[str] = field(default_factory=Counter)  # as folded
    written: Counter[str] = field(default_factory=Counter)
    people: set[int] = field(default_factory=set)

    @property
    def messages(self) -> int:
        return self.texts.total()


@dataclass(slots=True)
class _Ear:
    """Writes every syllable as one sign of its own, so that readings compare as quickly as words."""

    signs: dict[str, str] = field(default_factory=dict)
    heard: dict[str, str] = field(default_factory=dict)

    def read(self, text: str) -> str:
        return "".join([self.signs.get(letter) or self._sign(letter) for letter in text])

    def _sign(self, letter: str) -> str:
        syllable = _syllable(letter)
        sign = self.heard.setdefault(syllable, chr(0xF0000 + len(self.heard)))
        self.signs[letter] = sign
        return sign


def clusters(said: Iterable[Said], ignored: Iterable[str] = (), most: int = 200) -> list[Cluster]:
    """The ``most`` wishes behind most of the messages; those that speak of what is ``ignored`` left out."""
    ear = _Ear()
    units = _units(said, ear)
    known = [reading for text in ignored if (reading := ear.read(core(text)))]
    if known:
        units = [unit for unit in units if not any(one in unit.reading for one in known)]
    groups = _merged(_by_topic(units))
    largest = sorted(groups, key=lambda item: -sum(unit.messages for unit in item[1]))[:most]
    found = [_cluster(topics, group, ear) for topics, group in largest]
    return sorted(found, key=lambda one: (-one.messages, one.topics))


def core(text: str) -> str:
    """What is left of a message without small talk, punctuation and pictures; all of it where nothing would be."""
    bare = _bare(text)
    short = bare
    for talk in SMALL_TALK:
        if talk in short:
            short = short.replace(talk, "")
    return short if len(short) > 1 or (short and not short.isascii()) else bare


def _bare(text: str) -> str:
    folded = fold_words(text)[:LONGEST]
    if folded.isalnum():
        return folded
    return "".join(sign for sign in folded if unicodedata.category(sign)[0] in "LN") or folded


def _units(said: Iterable[Said], ear: _Ear) -> list[_Unit]:
    known: dict[str, tuple[_Unit, str]] = {}  # many messages are written like others
    found: dict[Reading, _Unit] = {}
    for one in said:
        if one.text not in known:
            reading = ear.read(core(one.text))
            if not reading:
                continue
            known[one.text] = found.setdefault(reading, _Unit(reading)), _bare(one.text)
        unit, bare = known[one.text]
        unit.texts[bare] += 1
        unit.written[one.text.strip()] += 1
        unit.people.add(one.follower_id)
    return list(found.values())


@cache
def _syllable(letter: str) -> str:
    """How a letter reads, without tone; nasal ends and n/l alike, as many people type them."""
    if not "\u4e00" <= letter <= "\u9fff":
        return letter
    read = readings(letter)[0][0]
    return read.removesuffix("g") if read.endswith("ng") else read


def _grams(text: str) -> set[str]:
    """The neighbours in it; all of it where it is one sign."""
    if len(text) < SIZES[0]:
        return {text}
    return {text[start : start + size] for size in SIZES for start in range(len(text) - size + 1)}


def _by_topic(units: Sequence[_Unit]) -> list[tuple[Reading, list[_Unit]]]:
    """(topic, the messages that speak of it): the topic of most messages first, then that of most of the rest.

    What many ask about is said again and again; small talk, which is too, was folded away before.
    """
    holders: dict[Reading, list[int]] = defaultdict(list)
    counts: dict[Reading, int] = defaultdict(int)
    grams = [_grams(unit.reading) for unit in units]
    sizes = [unit.messages for unit in units]
    for number, listed in enumerate(grams):
        for gram in listed:
            holders[gram].append(number)
            counts[gram] += sizes[number]
    # what only one way of writing says is no topic
    heap = [(-_score(gram, counts[gram]), gram) for gram, held in holders.items() if len(held) > 1]
    heapify(heap)
    free = [True] * len(units)
    found: list[tuple[Reading, list[_Unit]]] = []
    while heap:
        score, gram = heappop(heap)
        now = _score(gram, counts[gram])
        if now <= 0:
            continue
        if -score > now:
            heappush(heap, (-now, gram))
            continue
        members = [number for number in holders[gram] if free[number]]
        if len(members) < 2:
            continue
        for number in members:
            free[number] = False
            for other in grams[number]:
                counts[other] -= sizes[number]
        found.append((gram, [units[number] for number in members]))
    found += [(unit.reading, [unit]) for unit, alone in zip(units, free, strict=True) if alone]
    return found


def _score(gram: Reading, messages: int) -> float:
    return messages * (1 + 0.05 * len(gram))


def _merged(
    groups: Sequence[tuple[Reading, list[_Unit]]],
) -> list[tuple[list[Reading], list[_Unit]]]:
    """Clusters together that share a letter which hardly any other message has: 孕妇 and 怀孕."""
    listed = sorted(groups, key=lambda item: -sum(unit.messages for unit in item[1]))
    everywhere: Counter[str] = Counter()
    inside: list[Counter[str]] = []
    sizes: list[int] = []
    for _, group in listed:
        letters: Counter[str] = Counter()
        for unit in group:
            for syllable in set(unit.reading):
                letters[syllable] += unit.messages
        everywhere.update(letters)
        inside.append(letters)
        sizes.append(sum(unit.messages for unit in group))
    found: list[tuple[list[Reading], list[_Unit], Counter[str], int]] = []
    for number, (topic, group) in enumerate(listed):
        letters, size = inside[number], sizes[number]
        home = None
        if number < MERGED:
            strong = [one for one, count in letters.items() if count >= SHARED * size]
            home = next(
                (
                    other
                    for other in found
                    for one in strong
                    if other[2][one] >= SHARED * other[3]
                    and everywhere[one] - letters[one] - other[2][one]
                    <= ELSEWHERE * everywhere[one]
                ),
                None,
            )
        if home is None:
            found.append(([topic], list(group), letters, size))
        else:
            home[0].append(topic)
            home[1].extend(group)
    return [(topics, group) for topics, group, _, _ in found]


def _cluster(topics: Sequence[Reading], group: Sequence[_Unit], ear: _Ear) -> Cluster:
    texts: Counter[str] = Counter()
    written: Counter[str] = Counter()
    people: set[int] = set()
    for unit in group:
        texts.update(unit.texts)
        written.update(unit.written)
        people |= unit.people
    return Cluster(
        topics=tuple(dict.fromkeys(_written(topic, texts, ear) for topic in topics)),
        messages=texts.total(),
        people=len(people),
        examples=tuple(text for text, _ in written.most_common(EXAMPLES)),
        words=_words(texts),
        texts=tuple(text for text, _ in texts.most_common()),
    )


def _written(topic: Reading, texts: Counter[str], ear: _Ear) -> str:
    """A topic as most people write it."""
    found: Counter[str] = Counter()
    for text, count in texts.most_common(200):
        letters = core(text)
        start = ear.read(letters).find(topic)
        if start >= 0:
            found[letters[start : start + len(topic)]] += count
    return found.most_common(1)[0][0] if found else core(max(texts, key=lambda text: texts[text]))


def _words(texts: Counter[str]) -> tuple[str, ...]:
    """Few words of two to four letters of which nearly every text holds one."""
    left = {text: (count, _parts(text)) for text, count in texts.most_common(MOST_TEXTS)}
    total = sum(count for count, _ in left.values())
    found: list[str] = []
    while left and len(found) < MOST_WORDS:
        counts: dict[str, int] = defaultdict(int)
        for count, parts in left.values():
            for word in parts:
                counts[word] += count
        best = max(counts, key=lambda word: (counts[word] * (1 + 0.05 * len(word)), word))
        found.append(best)
        left = {text: held for text, held in left.items() if best not in text}
        if sum(count for count, _ in left.values()) <= (1 - COVERED) * total:
            break
    return tuple(found)


def _parts(text: str) -> set[str]:
    """Words of a text that stand in it as they are, small talk left out; a short text as a whole."""
    found = {gram for piece in _TALK.split(text) if len(piece) > 1 for gram in _grams(piece)}
    return found or {text}
