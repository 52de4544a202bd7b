"""Taps on menu buttons, by button and day: what is rolled up from there, the rest from the events."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import menu_drafts, retention
from bot.clock import day_of, start_of_day
from bot.db import Session
from bot.sql import shanghai_day
from bot.tables.events import daily_counts, events

KINDS = ("menu_click", "menu_view")


@dataclass(slots=True)
class Taps:
    """One button. ``people`` counts everybody once a day; ``days`` is (times, people) by Shanghai day."""

    key: str
    name: str
    in_menu: bool
    times: int = 0
    people: int = 0
    days: dict[date, tuple[int, int]] = field(default_factory=dict)


def report(session: Session, account_id: int, first: date, last: date, now: datetime) -> list[Taps]:
    """Every button of the published menus and every key that was tapped, most taps first."""
    named = _named(menu_drafts.state(session, account_id).menus.published or {})
    found = {key: Taps(key, name, True) for key, name in named.items()}
    for key, day, times, people in _counted(session, account_id, first, last, now):
        taps = found.setdefault(key, Taps(key, "", False))
        taps.times += times
        taps.people += people
        before = taps.days.get(day, (0, 0))
        taps.days[day] = (before[0] + times, before[1] + people)
    return sorted(found.values(), key=lambda taps: (-taps.times, taps.key))


def _named(published: Mapping[str, Any]) -> dict[str, str]:
    """What the platform's push says of a button -> the button's name."""
    menus: list[Sequence[Mapping[str, Any]]] = [published.get("menu") or []]
    menus += [one["menu"] for one in published.get("personal") or []]
    names: dict[str, list[str]] = defaultdict(list)
    for menu in menus:
        for button in menu_drafts.buttons(menu):
            key = menu_drafts.key_of(button) or button.get("view")
            if "mini_program" in button:
                key = button["mini_program"]["page"]
            if key and button["name"] not in names[key[: retention.KEY_CHARACTERS]]:
                names[key[: retention.KEY_CHARACTERS]].append(str(button["name"]))
    return {key: " / ".join(listed) for key, listed in names.items()}


def _counted(
    session: Session, account_id: int, first: date, last: date, now: datetime
) -> Iterable[tuple[str, date, int, int]]:
    rolled = retention.rolled_until(session, account_id)
    live = max(first, min(rolled, day_of(now))) if rolled is not None else first
    if first < live:
        for row in session.execute(
            sa.select(daily_counts).where(
                daily_counts.c.account_id == account_id,
                daily_counts.c.kind.in_(KINDS),
                daily_counts.c.day >= first,
                daily_counts.c.day <= min(last, live - timedelta(days=1)),
            )
        ):
            yield row.key, row.day, row.times, row.people
    if live > last:
        return
    day = shanghai_day(events.c.at)
    key = sa.func.substr(sa.func.coalesce(events.c.key, ""), 1, retention.KEY_CHARACTERS)
    fresh = (
        sa.select(key, day, sa.func.count(), sa.func.count(sa.distinct(events.c.follower_id)))
        .where(
            events.c.account_id == account_id,
            events.c.kind.in_(KINDS),
            events.c.at >= start_of_day(live),
            events.c.at < start_of_day(last + timedelta(days=1)),
        )
        .group_by(key, day)
    )
    for found, when, times, people in session.execute(fresh):
        yield found, date.fromisoformat(str(when)), times, people
