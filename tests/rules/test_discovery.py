"""Keyword discovery: ways of writing are folded, planted wishes come back with their counts."""

import random
import time
from collections import Counter
from datetime import timedelta

import pytest

from bot.demo.population import people
from bot.demo.questions import WISHES, questions
from rules.discovery import Said, clusters, core
from tests import factories

NOW = factories.at("2025-11-24 10:00")


def said(*texts: str) -> list[Said]:
    return [Said(text, number) for number, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("查物流", "查物流？"),
        ("查物流", "请问查物流😊"),
        ("物流到哪了", "物流到哪里了"),
        ("ＶＩＰ怎么办理", "vip怎么办理"),
        ("會員卡辦理", "会员卡办理"),
        ("查积分", "查积份"),
        ("地址在哪", "地止在哪"),
        ("孕妇能用吗", "亲，孕妇可以用吗？谢谢"),
        ("孕妇能用", "怀孕能用"),
    ],
)
def test_ways_of_writing_one_wish_are_gathered(one: str, other: str) -> None:
    (found,) = clusters(said(one, other, one, "面膜多少钱")[:3])
    assert (found.messages, found.people) == (3, 3)


def test_other_wishes_stay_apart() -> None:
    found = clusters(said("查物流", "物流到哪了", "积分怎么用", "查积分", "孕妇能用吗"))
    assert [one.messages for one in found] == [2, 2, 1]
    assert {one.topics[0] for one in found[:2]} == {"物流", "积分"}


def test_people_are_counted_once_and_examples_are_as_they_were_written() -> None:
    (found,) = clusters([Said("查物流！", 1), Said("查物流！", 1), Said("查物流", 2)])
    assert (found.messages, found.people) == (3, 2)
    assert found.examples == ("查物流！", "查物流")


def test_small_talk_alone_is_a_wish_of_its_own() -> None:
    assert core("请问你们在吗") != ""
    assert clusters(said("在吗", "？？？", "😊", "你好", "")) != []


def test_what_was_put_aside_is_left_out_however_it_is_written() -> None:
    texts = said("查物流", "物留到哪了", "物流", "积分怎么用")
    assert [one.topics[0] for one in clusters(texts, ["物流"])] == ["积分用"]


def test_the_words_of_a_wish_stand_in_nearly_all_its_messages() -> None:
    texts = [q.text for q in questions(list(people(2_000, NOW)), 20_000, NOW, timedelta(hours=49))]
    for one in clusters(said(*texts)):
        held = [text for text in one.texts if any(word in text for word in one.words)]
        assert len(held) >= 0.9 * len(one.texts)


@pytest.mark.slow  # what 20,000 followers asked
@pytest.mark.parametrize("size", [2_000, 20_000])
def test_the_five_wishes_of_the_demo_come_back_with_their_counts(size: int) -> None:
    asked = list(questions(list(people(size, NOW)), size, NOW, timedelta(hours=49)))
    planted = Counter(one.wish for one in asked)
    assert planted == {wish: round(full * size / 20_000) for wish, (full, _) in WISHES.items()}
    found = clusters([Said(one.text, hash(one.open_id)) for one in asked])
    truth = {one.text: one.wish for one in asked}
    assert [one.messages for one in found] == [count for _, count in planted.most_common()]
    for one, (wish, _) in zip(found, planted.most_common(), strict=True):
        assert {truth[text] for text in one.examples} == {wish}


def test_twenty_thousand_messages_are_gathered_in_seconds() -> None:
    asked = list(questions(list(people(2_000, NOW)), 20_000 * 13, NOW, timedelta(hours=49)))
    chance = random.Random(5)
    noise = ["".join(chance.choices("春夏秋冬山水花鸟鱼虫", k=6)) for _ in range(500)]
    texts = said(*(one.text for one in asked), *noise)
    started = time.process_time()
    found = clusters(texts)
    assert time.process_time() - started < 4, "two seconds on a quiet machine"
    assert {one.messages for one in found} >= {13 * full for full, _ in WISHES.values()}
