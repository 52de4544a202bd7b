"""Plans in words: what a part of the document is called, and how two versions differ."""

from collections.abc import Mapping
from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from bot.console.rule_words import short

KEYS: Mapping[str, Any] = {
    "name": _l("名称"),
    "groups": _l("人群"),
    "segment": _l("人群"),
    "holdout": _l("对照组"),
    "goal": _l("目标"),
    "goal.metric": _l("目标指标"),
    "goal.target": _l("目标人数"),
    "channels": _l("渠道"),
    "content": _l("内容"),
    "contents": _l("渠道自己的内容"),
    "links": _l("链接"),
    "experiment": _l("A/B 测试"),
    "at": _l("时间"),
    "repeat": _l("重复"),
    "pace": _l("分批"),
    "follow_ups": _l("后续波次"),
    "after": _l("结果标签"),
    "worth": _l("名额价值"),
    "message_class": _l("消息类型"),
    "brief.participation": _l("参与方式"),
    "brief.benefit": _l("核心利益"),
    "brief.strength": _l("优惠力度"),
    "brief.time": _l("活动时间"),
    "brief.path": _l("用户路径"),
    "brief.burst": _l("是否爆发"),
    "brief.persona": _l("人群特征"),
    "brief.need": _l("潜在需求"),
    "brief.form": _l("活动形式"),
    "brief.stage": _l("生命周期阶段"),
    "brief.product": _l("产品"),
    "brief.owner": _l("负责人"),
    "brief.begins": _l("开始"),
    "brief.ends": _l("结束"),
    "brief.monitoring": _l("监测项目"),
    "brief.meaning": _l("分析的意义"),
    "brief.similar": _l("参考活动"),
    "brief.expected": _l("预期"),
    "brief.when": _l("发送方式"),
    "brief.burst_by": _l("爆发由谁判断"),
}


def key(path: str) -> str:
    """A part of the document as operators know it."""
    return str(KEYS.get(path, path))


def part(place: str) -> str:
    """The part of the document a problem stands in, as near as it has a name; empty for the whole."""
    path = place.split(".")
    while path:
        found = KEYS.get(".".join(path))
        if found is not None:
            return str(found)
        path.pop()
    return ""


def differences(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(part, what they wrote, what I wrote) of every part that differs."""
    found = []
    flat_theirs, flat_mine = _flat(theirs), _flat(mine)
    for path in sorted({*flat_theirs, *flat_mine}):
        one, other = flat_theirs.get(path), flat_mine.get(path)
        if one != other:
            found.append((key(path), _said(one), _said(other)))
    return found


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that are compared: those of brief and goal each, the others whole."""
    found: dict[str, Any] = {}
    for name, value in document.items():
        if name in ("brief", "goal") and isinstance(value, Mapping):
            found.update({f"{name}.{inner}": one for inner, one in value.items()})
        else:
            found[name] = value
    return found


def _said(value: Any) -> str:
    return str(_("（没有写）")) if value in (None, "", [], {}) else short(value)
