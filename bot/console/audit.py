"""The audit log 审计日志: who changed what and when, with before and after side by side."""

from datetime import date
from typing import Any

from flask import Response, render_template, request
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from bot import audit_log as log
from bot import db
from bot.audit_log import Wanted
from bot.console.access import Here, System, page, system_page
from bot.console.audit_words import field, label, thing
from bot.console.lists import Asked, Column, Filter, Listing, asked, csv_file, whole
from bot.errors import Invalid
from bot.runtime import Runtime

CSV_ROWS = 10_000
LONGEST = 300  # characters of one value in the list
COLUMNS = (
    Column("at", _l("时间")),
    Column("operator", _l("谁")),
    Column("action", _l("做了什么")),
    Column("object", _l("对象")),
    Column("changes", _l("改动")),
)


@page("/audit", "audit.read")
def audit_log(here: Here) -> str | Response:
    """Changes of this account."""
    return _log(here.rt, here.account.id)


@system_page("/audit", "operators.write")
def system_audit(system: System) -> str | Response:
    """Changes of every account, and of the installation itself."""
    return _log(system.rt, None)


def _log(rt: Runtime, account_id: int | None) -> str | Response:
    with db.reading(rt.engine) as session:
        known = log.actions(session, account_id)
        filters = (
            Filter("operator", _("谁")),
            Filter(
                "action",
                _("做了什么"),
                sorted(((one, label(one)) for one in known), key=lambda pair: pair[1]),
            ),
            Filter("since", _("从 2026-11-01")),
            Filter("until", _("到 2026-11-30")),
        )
        listed = asked(request.args, COLUMNS, filters)
        wanted = _wanted(listed, account_id)
        if listed.format == "csv":
            rows = log.page(session, wanted, limit=CSV_ROWS)[:CSV_ROWS]
            header = ("at", "operator", "action", "object", "before", "after")
            return csv_file(
                "audit", header, [[getattr(row, key) for key in header] for row in rows]
            )
        after = whole(listed.after) or 0
        found = log.page(session, wanted, after=after)
        total = log.count(session, wanted)
    shown = found[: log.PAGE]
    listing = Listing(
        listed,
        COLUMNS,
        filters,
        [_line(row) for row in shown],
        total,
        str(shown[-1].id) if len(found) > log.PAGE else None,
        unit=_("条记录"),
        about=_("以上") if total == log.COUNTED else "",
    )
    return render_template("audit/list.html", listing=listing)


def _wanted(listed: Asked, account_id: int | None) -> Wanted:
    return Wanted(
        account_id=account_id,
        query=listed.q,
        operator=listed.has("operator"),
        action=listed.has("action"),
        since=_day(listed.has("since"), "since"),
        until=_day(listed.has("until"), "until"),
    )


def _day(text: str, field: str) -> date | None:
    if not text:
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise Invalid(field, "must be a day such as 2026-11-25") from None
    if not 2000 <= found.year <= 9000:
        raise Invalid(field, "must be a day such as 2026-11-25")
    return found


def _line(row: Any) -> dict[str, Any]:
    return {
        "at": row.at,
        "operator": row.operator,
        "action": label(row.action),
        "object": thing(row.object),
        "changes": [
            (field(name), _short(was), _short(now))
            for name, was, now in log.changes(row.before, row.after)
        ],
    }


def _short(value: Any) -> str:
    if value is None:
        return ""
    text = _("、").join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
