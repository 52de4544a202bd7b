"""Why a push was answered as it was: the stored trace in words."""

from collections.abc import Mapping
from typing import Any

from bot.console import words


def told(stored: Mapping[str, Any] | None, error: str | None = None) -> dict[str, Any]:
    """``why`` in a few words, and ``steps``: every step of the decision."""
    trace = stored or {}
    steps = trace.get("steps", [])
    steps_told = [_step(step) for step in steps] + list(trace.get("notes", []))
    won = [step for step in steps if step["outcome"] == "matched"]
    why = _conditions(won[-1]) if won else "没有规则命中"
    if trace.get("fallback"):
        why = "兜底回复"
        steps_told.append("没有规则命中，用了兜底回复")
    if trace.get("handed_over"):
        why = "人工服务中"
        steps_told.append("人工服务中，规则不回复")
    if "handled" in trace:
        why = "系统直接回复"
        steps_told.append("退订 / 订阅由系统直接回复")
    if error:
        why = "处理失败"
        steps_told.append(error.strip().splitlines()[-1])
    return {"why": why if steps_told or stored is not None else "只记录", "steps": steps_told}


def _step(step: dict[str, Any]) -> str:
    if step["outcome"] == "matched":
        return f"「{step['rule']}」命中：{_conditions(step)}"
    return f"「{step['rule']}」未命中：{words.condition(step['why'])}"


def _conditions(step: dict[str, Any]) -> str:
    names = [words.condition(name) for name in step["why"].split(", ") if name]
    return "、".join(names) or "没有条件"
