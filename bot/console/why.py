"""Why a push was answered as it was: the stored trace in words."""

from collections.abc import Mapping
from typing import Any

from flask_babel import gettext as _

from bot.console import words
from bot.console.telling import told as in_words


def told(stored: Mapping[str, Any] | None, error: str | None = None) -> dict[str, Any]:
    """``why`` in a few words, and ``steps``: every step of the decision."""
    trace = stored or {}
    steps = trace.get("steps", [])
    steps_told = [_step(step) for step in steps] + [
        in_words(note) for note in trace.get("notes", [])
    ]
    won = [step for step in steps if step["outcome"] == "matched"]
    why = _conditions(won[-1]) if won else _("没有规则命中")
    if trace.get("fallback"):
        why = _("兜底回复")
        steps_told.append(_("没有规则命中，用了兜底回复"))
    if trace.get("handed_over"):
        why = _("人工服务中")
        steps_told.append(_("人工服务中，规则不回复"))
    if "handled" in trace:
        why = _("系统直接回复")
        steps_told.append(_("退订 / 订阅由系统直接回复"))
    if error:
        why = _("处理失败")
        steps_told.append(error.strip().splitlines()[-1])
    return {"why": why if steps_told or stored is not None else _("只记录"), "steps": steps_told}


def _step(step: dict[str, Any]) -> str:
    if step["outcome"] == "matched":
        why = _conditions(step)
        return str(_("「%(rule)s」命中：%(why)s", rule=step["rule"], why=why))
    why = words.condition(step["why"])
    return str(_("「%(rule)s」未命中：%(why)s", rule=step["rule"], why=why))


def _conditions(step: dict[str, Any]) -> str:
    names = [words.condition(name) for name in step["why"].split(", ") if name]
    return _("、").join(names) or str(_("没有条件"))
