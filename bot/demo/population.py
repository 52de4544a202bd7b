"""Who follows 沐颜集: counts are planted, only who and when is drawn. Pure, and the same for the same size."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

FULL = 20_000
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
# interest in (interaction 喜欢互动, activities 活动敏感) among followers from Weibo and from elsewhere;
# 5,600 like interaction, 5,200 like activities, 4,100 both
WEIBO_INTEREST = {(True, True): 1_300, (True, False): 520, (False, True): 380}
OTHER_INTEREST = {(True, True): 2_800, (True, False): 980, (False, True): 720}
SCENE_TAGS = {"store": "门店顾客", "tb": "淘宝顾客", "wb": "微博来源", "mini": "会员"}
SKIN = ("干性肌", "油性肌", "混合肌", "敏感肌")
HISTORY_DAYS = 90


@dataclass(frozen=True, slots=True)
class Person:
    """One follower as planted. ``wrote_at`` is their last message, if they ever wrote."""

    open_id: str
    scene: str
    followed_at: datetime
    wrote_at: datetime | None
    tags: tuple[str, ...]

    @property
    def core(self) -> bool:
        """From Weibo, likes interaction and activities: group G1 of the campaign."""
        return {"微博来源", "喜欢互动", "活动敏感"} <= set(self.tags)


def open_id(number: int) -> str:
    """An OpenID of the real length that anybody can see is none."""
    return f"o_demo_{number:021d}"


def people(size: int, until: datetime) -> Iterator[Person]:
    """``size`` followers who came in the 90 days before ``until``; counts are shares of ``FULL``, rounded."""
    chance = random.Random(SEED)  # noqa: S311 -- drawn, not secret
    number = 0
    weibo = _interests(WEIBO_INTEREST, size, chance, _share(2_600, size))
    others = _interests(OTHER_INTEREST, size, chance, size - _share(2_600, size))
    for source, scenes, full in SOURCES:
        interests = weibo if source == "微博" else others
        for _ in range(_share(full, size)):
            number += 1
            scene = chance.choice(scenes) if scenes else ""
            ago = timedelta(days=chance.uniform(0.5, HISTORY_DAYS))
            wrote = chance.random() < 0.35
            likes, active = next(interests)
            tags = [SCENE_TAGS[scene.split("_")[0]]] if scene else []
            tags += ["喜欢互动"] * likes + ["活动敏感"] * active
            if chance.random() < 0.4:
                tags.append(chance.choice(SKIN))
            yield Person(
                open_id=open_id(number),
                scene=scene,
                followed_at=until - ago,
                wrote_at=until - ago * chance.random() if wrote else None,
                tags=tuple(tags),
            )


def _share(full: int, size: int) -> int:
    return round(full * size / FULL)


def _interests(
    planted: dict[tuple[bool, bool], int], size: int, chance: random.Random, total: int
) -> Iterator[tuple[bool, bool]]:
    listed = [kind for kind, full in planted.items() for _ in range(_share(full, size))]
    listed += [(False, False)] * (total - len(listed))
    chance.shuffle(listed)
    return iter(listed)
