"""Comparison 对比: two campaigns, or one and a send to everybody that was not made, in identical columns."""

from collections.abc import Sequence
from typing import Any

from flask import Response, render_template, request
from flask_babel import gettext

from bot import db
from bot.campaigns import comparison, definitions
from bot.campaigns.comparison import Side
from bot.campaigns.definitions import Campaign
from bot.console.access import Here, missing, page
from bot.console.campaigns_words import step_name
from bot.console.lists import csv_file, whole
from bot.console.words import dated
from bot.db import Session

EVERYBODY = "everybody"  # in the address: the send to everybody


def _(text: str, **values: Any) -> str:
    """A sentence in the operator's language, as plain text."""
    return str(gettext(text, **values))


@page("/campaigns/compare", "campaigns.read")
def campaigns_compare(here: Here) -> str | Response:
    """Two columns, counted by the same functions. Without a choice: the newest campaign and a send to everybody."""
    with db.reading(here.rt.engine) as session:
        choices = comparison.choices(session, here.account.id)
        right = _chosen(choices, request.args.get("right", "")) or (choices[0] if choices else None)
        if right is None:
            return render_template("campaigns/compare.html", sides=None, choices=[], rows=[])
        second = comparison.of_campaign(session, right, here.now)
        named = request.args.get("left", EVERYBODY)
        first = _left(session, here, choices, named, second)
    rows = table(first, second)
    if request.args.get("format") == "csv":
        head = ["", _name(first), second.name]
        return csv_file(f"{here.account.slug}-{_('对比')}", head, [row[:3] for row in rows])
    return render_template(
        "campaigns/compare.html",
        sides=(first, second),
        names=(_name(first), second.name),
        rows=rows,
        choices=choices,
        left=named,
        right=right.id,
        everybody=EVERYBODY,
        step_name=step_name,
    )


def table(first: Side | None, second: Side) -> list[tuple[str, str, str, str]]:
    """(what, first column, second column, which of the two is better: 1, 2 or nothing)."""
    lines: Sequence[tuple[str, Any, Any]] = (
        (_("计划人数"), lambda s: f"{s.planned:,}", None),
        (_("送达"), lambda s: f"{s.delivered:,}", None),
        (_("阅读"), lambda s: _of(s.opened, s.open_rate), lambda s: s.open_rate),
        (_("引导人数"), lambda s: _of(s.guided, s.guide_rate), lambda s: s.guided),
        (_("目标"), _goal, lambda s: s.goal_share),
        (_("48 小时取关"), lambda s: _of(s.unfollows, s.unfollow_rate, 2), _less("unfollow_rate")),
        (_("其中高于平时"), lambda s: f"≈ {s.above_base:.0f}", _less("above_base")),
        (_("用掉的名额"), lambda s: f"{s.slots:,}", _less("slots")),
        (_("每引导一人的名额"), _slots, _less("slots_per_guided")),
        (_("失去计划内推送的人"), lambda s: f"{s.losing:,}", _less("losing")),
        (_("新增标签"), _tags, None),
        (_("能否评估"), _evaluated, lambda s: float(s.measurable)),
    )
    found = []
    for label, shown, worth in lines:
        left = shown(first) if first is not None else "—"
        found.append((str(label), left, shown(second), _better(worth, first, second)))
    return found


def _better(worth: Any, first: Side | None, second: Side) -> str:
    if worth is None or first is None:
        return ""
    a, b = worth(first), worth(second)
    if a is None or b is None or a == b:
        return ""
    return "1" if a > b else "2"


def _less(name: str) -> Any:
    """The smaller one is better."""

    def worth(side: Side) -> float | None:
        value = getattr(side, name)
        return None if value is None else -value

    return worth


def _of(people: int | None, rate: float | None, digits: int = 1) -> str:
    if people is None:
        return _("无法测量")
    share = "" if rate is None else _("（%(said)s）", said=f"{rate * 100:.{digits}f}%")
    return f"{people:,}{share}"


def _goal(side: Side) -> str:
    if not side.target or side.goal_share is None:
        return "—"
    share = f"{side.goal_share * 100:.1f}%"
    if side.goal_share < 1:
        return _("目标 %(target)s：%(share)s，没有达到", target=f"{side.target:,}", share=share)
    if side.reached_at is None:  # of a send that was not made nobody knows when
        return _("目标 %(target)s：%(share)s，达到", target=f"{side.target:,}", share=share)
    when = dated(side.reached_at)
    return _(
        "目标 %(target)s：%(share)s，%(when)s 达到",
        target=f"{side.target:,}",
        share=share,
        when=when,
    )


def _slots(side: Side) -> str:
    return "—" if side.slots_per_guided is None else f"{side.slots_per_guided:.1f}"


def _tags(side: Side) -> str:
    return _("、").join(f"{name} {people:,}" for name, people in side.tags) or _("没有")


def _evaluated(side: Side) -> str:
    told = []
    if side.holdout:
        told.append(_("对照组 %(people)s 人", people=f"{side.holdout:,}"))
    if side.variants > 1:
        word = _("%(count)s 个版本", count=side.variants)
        told.append(word + (_("，%(name)s 胜出", name=side.decided) if side.decided else ""))
    if side.weakest is not None:
        told.append(_("最弱的一步：%(step)s", step=step_name(side.weakest.name)))
    return _("；").join(told) or _("不能：没有对照组，只有一种内容")


def _name(side: Side | None) -> str:
    if side is None:
        return _("全量群发")
    return side.name or _("全量群发（模拟）")


def _chosen(choices: Sequence[Campaign], text: str) -> Campaign | None:
    number = whole(text)
    if number is None:
        return None
    return next((one for one in choices if one.id == number), None) or missing()


def _left(
    session: Session, here: Here, choices: Sequence[Campaign], named: str, second: Side
) -> Side | None:
    other = _chosen(choices, named)
    if other is not None:
        return comparison.of_campaign(session, definitions.by_id(session, other.id), here.now)
    if second.at is None:
        return None
    return comparison.to_everybody(session, here.account.id, second.at, here.now, second.target)
