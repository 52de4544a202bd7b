"""Rules in the operator's words: what a condition asks, what an action does, why a rule won or did not."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from bot.console import words
from bot.console.form_words import label
from bot.console.look import language
from bot.console.shapes import params_of
from bot.registry import members
from rules.engine import MATCHED, Step
from rules.model import ACTIONS, CONDITIONS, Rule

LONGEST = 40  # characters of one value in a line
SHOWN = 5  # of a list of values
# the official console's names for what begins a reply, by the condition that asks for it
SORTS: Mapping[str, tuple[Any, frozenset[str]]] = {
    "keyword": (
        _l("关键词回复"),
        frozenset({"text_is", "text_contains", "text_starts", "text_pattern", "text_regex"}),
    ),
    "follow": (_l("被关注回复"), frozenset({"subscribed_from"})),
    "scan": (_l("扫码回复"), frozenset({"scan_scene"})),
    "menu": (_l("菜单回复"), frozenset({"menu_key"})),
    "other": (_l("其他"), frozenset()),
}
# two parameters that belong together
_BETWEEN = {("from", "until"): "–", ("name", "value"): " = ", ("name", "is"): " = "}
WHY = {
    "disabled": _l("规则已停用"),
    "active": _l("不在生效时间"),
}


def sorts_of(body: Mapping[str, Any]) -> list[str]:
    """What kinds of reply a rule is, by the conditions it has."""
    asked = {name for part in body.get("when") or () for name in part}
    found = [sort for sort, (_label, names) in SORTS.items() if names & asked]
    return found or ["other"]


def member_label(folder: str, name: str) -> str:
    """A condition or action as the operator knows it; its name where nobody defines it any more."""
    member = members(folder).get(name)
    return str(getattr(member, "LABEL", {}).get(language(), name))


def conditions(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(label, what is asked) of each condition."""
    return _parts(CONDITIONS, body.get("when") or ())


def actions(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(label, what is done) of each action."""
    return _parts(ACTIONS, body.get("then") or ())


def fallback(value: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """(label, what is done) of the fallback."""
    return _parts(ACTIONS, [{name: (value or {})[name]} for name in sorted(value or {})])


def short(value: Any) -> str:
    """Parameters in a few words."""
    if isinstance(value, Mapping):
        kind = next(iter(value), "")
        if len(value) == 1 and kind in ("text", *words.REPLY) and kind != "hand_over":
            return _cut(words.replied(value) if kind == "text" else _material(kind, value[kind]))
        said = [_unit(name, one) or short(one) for name, one in value.items()]
        between = _BETWEEN.get(tuple(value))
        return between.join(said) if between else _("、").join(filter(None, said))
    if isinstance(value, list | tuple):
        listed = [short(one) for one in value[:SHOWN]]
        more = len(value) - SHOWN
        return str(_("、")).join(listed) + (
            _(" 等 %(count)s 个", count=len(value)) if more > 0 else ""
        )
    if isinstance(value, bool):
        return str(_("是") if value else _("否"))
    if isinstance(value, float):
        return f"{value:g}"
    return _cut(words.KIND.get(value, str(value)) if value is not None else "")


def _unit(name: str, value: Any) -> str:
    """A bare number of hours, days or times with its unit; "" for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    count = f"{value:g}"
    if name == "hours":
        return str(_("%(count)s 小时", count=count))
    if name == "times":
        return str(_("%(count)s 次", count=count))
    return str(_("%(count)s 天", count=count)) if name.endswith("days") else ""


def place(path: str) -> str:
    """A dotted place of a rule in words: 条件 1 · 文字等于 · 关键词."""
    parts = path.split(".")
    known = {
        "name": _("名称"),
        "active": _("生效时间"),
        "continue": _("命中后继续"),
        "enabled": _("启用"),
    }
    if parts[0] not in ("when", "then"):
        rest = [member_label(ACTIONS, parts[0])] if parts[0] in members(ACTIONS) else []
        return " · ".join([known.get(parts[0], ""), *rest, *parts[1:]]).strip(" ·") or path
    folder = CONDITIONS if parts[0] == "when" else ACTIONS
    title = _("条件") if parts[0] == "when" else _("动作")
    found = [f"{title} {int(parts[1]) + 1}" if len(parts) > 1 and parts[1].isdigit() else title]
    if len(parts) > 2:
        found.append(member_label(folder, parts[2]))
        found += [_param(folder, parts[2], name) for name in parts[3:]]
    return " · ".join(found)


def reason(step: Step, winner: str, rule: Rule) -> str:
    """Why a rule answered or did not, in a sentence. ``winner`` is the rule that ended the walk."""
    if step["outcome"] == MATCHED:
        met = _("、").join(
            member_label(CONDITIONS, name) for name in step["why"].split(", ") if name
        )
        if step.get("reached", True):
            return str(_("命中：%(met)s", met=met) if met else _("命中：没有条件"))
        return str(_("条件都符合，但排在前面的「%(rule)s」已经回复", rule=winner))
    why = step["why"]
    if why in WHY:
        return str(WHY[why])
    asked = next((part.params for part in rule.when if part.name == why), None)
    said = short(asked.model_dump(mode="json", by_alias=True, exclude_none=True)) if asked else ""
    name = member_label(CONDITIONS, why)
    if not said:
        return str(_("不符合：%(name)s", name=name))
    return str(_("不符合：%(name)s（%(asked)s）", name=name, asked=said))


def _parts(folder: str, listed: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [
        (member_label(folder, name), short(params))
        for part in listed
        for name, params in part.items()
    ]


def _param(folder: str, member: str, name: str) -> str:
    module = members(folder).get(member)
    if module is None:
        return name
    found = next((one for one in params_of(module.Params) if one.name == name), None)
    return label(module.Params, found) if found is not None else name


def _material(kind: str, value: Any) -> str:
    inner = value if isinstance(value, Mapping) else {}
    said = inner.get("title") or inner.get("file") or inner.get("media_id") or ""
    return f"{words.boxed(words.REPLY.get(kind, kind))}{said}"


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
