"""Scenes (渠道二维码): first follows, scans by who follows already, and how many of the followers left again."""

from datetime import datetime

import sqlalchemy as sa

from bot import scene_reports
from bot.accounts import Account
from bot.clock import day_of
from bot.db import Session
from bot.reports._table import Span, Table, begins, column, counts_by_day
from bot.tables.tracking import scenes

NAME = "channel"
LABEL = {"zh": "渠道", "en": "Channels"}
Params = Span


def rows(session: Session, account: Account, params: Span, now: datetime) -> Table:
    since = begins(params.days, now)
    figures: dict[str, dict[str, int]] = {}
    counted = counts_by_day(session, account.id, ("subscribe", "scan"), since)
    for (_day, kind, key), times in counted.items():
        if key:
            kinds = figures.setdefault(key, {})
            kinds[kind] = kinds.get(kind, 0) + times
    # who left is counted where they came from: by the code of their first follow
    gone = scene_reports.left(session, account.id, day_of(since), day_of(now))
    for key, days in gone.items():
        figures.setdefault(key, {})["left"] = sum(days.values())
    known = session.execute(
        sa.select(scenes.c.key, scenes.c.name, scenes.c.group).where(
            scenes.c.account_id == account.id, scenes.c.archived_at.is_(None)
        )
    )
    named = {row.key: row for row in known}
    table = [
        (
            named[key].group if key in named else "",
            named[key].name if key in named else "",
            key,
            figures.get(key, {}).get("subscribe", 0),
            figures.get(key, {}).get("scan", 0),
            figures.get(key, {}).get("left", 0),
        )
        for key in {*figures, *named}
    ]
    table.sort(key=lambda row: (-row[3], row[2]))
    return Table(
        (
            column("group", "分组", "Group"),
            column("name", "名称", "Name"),
            column("key", "场景", "Scene"),
            column("follows", "扫码关注", "Follows"),
            column("rescans", "已关注再扫", "Re-scans"),
            column("unfollows", "取关", "Unfollows"),
        ),
        table,
    )
