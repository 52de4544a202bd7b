"""Each Shanghai day: new, left, net, messages, scans, menu clicks, clicks."""

from datetime import datetime, timedelta

from bot.accounts import Account
from bot.clock import day_of
from bot.db import Session
from bot.reports._table import Span, Table, begins, column, counts_by_day

NAME = "daily"
LABEL = {"zh": "日报", "en": "Daily"}
COUNTED = ("subscribe", "unsubscribe", "message", "scan", "menu_click", "click")
Params = Span


def rows(session: Session, account: Account, params: Span, now: datetime) -> Table:
    figures: dict[str, dict[str, int]] = {}
    counted = counts_by_day(session, account.id, COUNTED, begins(params.days, now))
    for (day, kind, _key), times in counted.items():
        kinds = figures.setdefault(day, {})
        kinds[kind] = kinds.get(kind, 0) + times
    first = day_of(now) - timedelta(days=params.days - 1)
    table = []
    for offset in range(params.days):
        name = (first + timedelta(days=offset)).isoformat()
        new, left, *others = (figures.get(name, {}).get(kind, 0) for kind in COUNTED)
        table.append((name, new, left, new - left, *others))
    return Table(
        (
            column("day", "日期", "Day"),
            column("new", "新增关注", "New"),
            column("left", "取关", "Left"),
            column("net", "净增", "Net"),
            column("messages", "消息", "Messages"),
            column("scans", "再扫码", "Scans"),
            column("menu_clicks", "菜单点击", "Menu clicks"),
            column("clicks", "链接点击", "Link clicks"),
        ),
        table,
    )
