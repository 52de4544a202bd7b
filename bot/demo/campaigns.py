"""The demo's campaigns: what is planned anyway, the one to be planned now, and a small one for the first minutes."""

import json
from datetime import datetime, timedelta
from typing import Any

from bot.clock import local
from bot.demo import truth
from bot.demo.history import ACTIVITIES, EVERYBODY, FRIENDS, MONITORING
from bot.demo.truth import share
from bot.demo.write import TEMPLATE

LINK = {"go": "https://weibo.com/u/1"}
TARGETED = "会员日问候"
# sends to everybody that the month's plan already holds: (day, name, text)
PLANNED = (
    (18, "冬季新品上市 · 全量群发", "沐颜集冬季新品上市，来看看：{link:go}"),
    (28, "会员日 · 全量群发", "会员日全场积分翻倍：{link:go}"),
)
SEGMENTS = {truth.CORE: "G1 核心", truth.WIDER: "G2 扩展", truth.ALIKE: "G3 同好"}
RATES = {truth.CORE: 0.32, truth.WIDER: 0.24, truth.ALIKE: 0.20}


def planned(now: datetime, size: int) -> bytes:
    """The next sends to everybody, as an account file: the 18th and the 28th still to come."""
    return _file(
        [
            _campaign(name, EVERYBODY, _next(now, day), ["mass"], text, size)
            for day, name, text in PLANNED
        ]
    )


def targeted(at: datetime, size: int) -> bytes:
    """A small one that is seen soon: free windows first. ``size`` is that of the demo."""
    text = "会员日快到了，先看看：{link:go}"
    return _file([_campaign(TARGETED, FRIENDS, at, ["customer_service", "mass"], text, size)])


def approved(at: datetime, size: int) -> bytes:
    """「奈雪 8 元券 · 微博留言」 as an account file, which counts as two approvals."""
    reviewed = {"approved_for": {"people": size, "slots": size}, "status": "scheduled"}
    return _file([document(at, size) | reviewed])


def planned_at(now: datetime) -> tuple[datetime, datetime]:
    """When the planned sends to everybody go out."""
    first, second = sorted(_next(now, day) for day, _name, _text in PLANNED)
    return first, second


def document(at: datetime, size: int) -> dict[str, Any]:
    """「奈雪 8 元券 · 微博留言」 as the wizard writes it, not scheduled yet."""
    return {
        "name": truth.CAMPAIGN,
        "message_class": "service",
        "groups": [
            {"name": group, "segment": SEGMENTS[group], "rate": RATES[group]}
            for group in truth.GROUPS
        ],
        "at": local(at).isoformat(),
        "channels": ["customer_service", "subscription", "mass"],
        "content": {"text": "微博留言，请你喝奶茶：{link:go}"},
        "contents": {"subscription": {"notice": NOTICE}},
        "experiment": {
            "of": "content",
            "variants": [
                {"name": "A", "content": {"text": "8 元奈雪券直接领：{link:go}"}},
                {"name": "B", "content": {"text": "微博留言，请你喝奶茶：{link:go}"}},
            ],
            "channels": ["mass"],
            "decide_after": "24h",
            "min_sample": share(400, size),
        },
        "holdout": truth.HOLDOUT,
        "links": LINK,
        "goal": {"metric": "guided", "target": share(1_000, size)},
        "follow_ups": [
            {
                "after": "48h",
                "to": "not_clicked",
                "channels": ["customer_service"],
                "content": {"text": "微博留言还差你一条，奶茶券在等你：{link:go}"},
            }
        ],
        "after": {"wait": "72h", "clicked": "点击", "not_clicked": "未点击", "gave_up": "放弃触达"},
        "brief": {
            "participation": "到品牌微博置顶帖下留言",
            "benefit": "8 元奈雪の茶券",
            "strength": "每人一张，约 8 元",
            "time": "11 月 14 日至 19 日，券 7 天内有效",
            "path": "公众号消息 → 微博置顶帖 → 留言 → 领券 → 到店使用",
            "burst": True,
            "persona": "常看微博，喜欢网红茶饮，对小活动敏感，爱留言",
            "form": "微博互动",
            "monitoring": list(MONITORING),
            "similar": [activity.name for activity in ACTIVITIES],
        },
        "status": "draft",
    }


NOTICE: dict[str, Any] = {
    "template": TEMPLATE,
    "url": "{link:go}",
    "data": {
        "thing1": "微博留言领奈雪券",
        "time2": "2025年11月14日 20:30",
        "thing3": "到微博置顶帖下留言即可",
    },
}


def _campaign(
    name: str, segment: str, at: datetime, channels: list[str], text: str, size: int
) -> dict[str, Any]:
    return {
        "name": name,
        "segment": segment,
        "at": local(at).isoformat(),
        "channels": channels,
        "content": {"text": text},
        "links": LINK,
        "goal": {"metric": "guided", "target": share(1_000, size)},
        # newcomers come every day; the approval must not be outgrown
        "approved_for": {"people": 2 * size, "slots": 2 * size},
        "status": "scheduled",
    }


def _file(campaigns: list[dict[str, Any]]) -> bytes:
    """JSON is YAML too."""
    told = {"version": 1, "account": {"slug": truth.SLUG}, "campaigns": campaigns}
    return json.dumps(told, ensure_ascii=False, indent=1).encode()


def _next(now: datetime, day: int) -> datetime:
    month = local(now).replace(day=day, hour=20, minute=30, second=0, microsecond=0)
    if month > local(now) + timedelta(hours=1):
        return month
    later = month.replace(day=1) + timedelta(days=32)
    return later.replace(day=day)


__all__ = ["FRIENDS", "TARGETED", "document", "planned", "targeted"]
