"""Sends made on the platform's own site: recorded by hand or explained; and the recount of a month."""

import csv
import io
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask import Response, flash, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as Answer

from bot import db
from bot.campaigns import external_sends, ledger, slot_people, slot_story
from bot.clock import month_of, parse_moment
from bot.console import known_names
from bot.console.access import Here, confirm, done, go, missing, page
from bot.console.ledger import AUDIENCES, asked_month
from bot.console.lists import csv_file
from bot.console.telling import told
from bot.errors import Invalid, Refused

LARGEST = 5 * 2**20  # bytes of a list of OpenIDs: 100,000 lines
SHOWN = 100  # differences a page shows


@page("/ledger/sends/new", "ledger.write", methods=("GET", "POST"))
def ledger_send_new(here: Here) -> Answer | str | tuple[str, int]:
    """Write down a mass message that was sent on the platform's own site."""
    return _form(here, None)


@page("/ledger/sends/<int:send_id>", "ledger.write", methods=("GET", "POST"))
def ledger_send(here: Here, send_id: int) -> Answer | str | tuple[str, int]:
    """Say to whom a send went that the platform told us of and nobody here made."""
    with db.reading(here.rt.engine) as session:
        send = slot_story.one_external(session, here.account.id, send_id)
        if send is None:
            missing()
        guess = slot_story.guess(session, here.account.id, send)
    if send.audience != "unknown":
        flash(_("这次发送已经说明过了。"), "info")
        return go(url_for("console.ledger_page"))
    return _form(here, send, guess)


@page("/ledger/recount", "ledger.write", methods=("GET", "POST"))
def ledger_recount(here: Here) -> Answer | Response | str:
    """Compare a month's counters with the deliveries; GET shows who differs, POST sets them right."""
    month = asked_month(here)
    back = url_for("console.ledger_page", month=month)
    if request.method == "POST":
        fixed = ledger.recount(here.rt.engine, here.account.id, month)
        if fixed:
            with db.writing(here.rt.engine) as session:
                here.audit(
                    session, "ledger.recount", "ledger", after={"month": month, "people": fixed}
                )
        return done(_("已改正 %(count)s 人的计数", count=fixed), "ledger_page", month=month)
    with db.reading(here.rt.engine) as session:
        wrong = ledger.check(session, here.account.id, month)
        shown = wrong if request.args.get("format") == "csv" else wrong[:SHOWN]
        names = slot_people.open_ids(session, here.account.id, [one.follower_id for one in shown])
    if request.args.get("format") == "csv":
        header = [
            _("粉丝"), _("账本：预留"), _("账本：已发"), _("应为：预留"), _("应为：已发"),
        ]  # fmt: skip
        rows = [
            (
                here.open_id(names.get(one.follower_id)),
                one.reserved,
                one.spent,
                one.reserved_should_be,
                one.spent_should_be,
            )
            for one in wrong
        ]
        return csv_file(f"{here.account.slug}-{_('账本差别')}-{month}", header, rows)
    if request.args.get("repair") and wrong:
        return confirm(
            _("改正 %(month)s 的账本", month=month),
            [
                _("%(count)s 人的计数改成按触达记录重新计数的结果。", count=f"{len(wrong):,}"),
                _("触达记录不变；改正分小段进行，不影响正在进行的发送。"),
            ],
            action=url_for("console.ledger_recount", month=month),
            button=_("改正"),
            back=back,
        )
    return render_template(
        "ledger/recount.html",
        month=month,
        wrong=wrong,
        shown=shown,
        names=names,
    )


def _form(here: Here, send: Any, guess: str | None = None) -> Answer | str | tuple[str, int]:
    errors: Mapping[str, str] = {}
    if request.method == "POST":
        try:
            _state(here, send)
        except Invalid as problem:
            errors = {problem.field: told(problem.message)}
        except Refused as refusal:
            errors = {"went_to": told(str(refusal))}
        else:
            external_sends.catch_up(here.rt.engine, here.account.id, here.now)
            return done(_("已记入账本。"), "ledger_page", month=_month_of(here, send))
    with db.reading(here.rt.engine) as session:
        names = known_names.known(session, here.account.id)
    shown = render_template(
        "ledger/send.html",
        send=send,
        guess=guess,
        typed=request.form,
        went_to=request.form.get("went_to", guess or ("" if send is not None else "all")),
        audiences=AUDIENCES,
        tags=[(name, name) for name in names["tag"]],
        segments=[(name, name) for name in names["segment"]],
        errors=errors,
        now=here.now,
    )
    return (shown, 422) if errors else shown


def _state(here: Here, send: Any) -> None:
    went_to = request.form.get("went_to", "")
    open_ids = _listed() if went_to == "listed" else None
    said = None
    if went_to in ("tag", "segment"):
        said = request.form.get(went_to, "").strip()
        if not said:
            raise Invalid(went_to, "choose which one")
    at = _moment()
    with db.writing(here.rt.engine) as session:
        external_sends.state_external(
            session,
            here.account.id,
            "tag" if went_to == "segment" else went_to,
            here.now,
            by=here.operator.name,
            msg_id=send.msg_id if send is not None else None,
            at=at,
            members=external_sends.members(
                session, here.account.id, went_to, said, here.now, went_to
            )
            if said
            else None,
            open_ids=open_ids,
            said=said,
        )
        here.audit(
            session,
            "ledger.external",
            f"ledger:{send.msg_id}" if send is not None else "ledger",
            after={
                "went_to": went_to,
                "name": said,
                "count": len(open_ids or ()),
                "at": request.form.get("at") or None,
            },
        )


def _moment() -> datetime | None:
    given = request.form.get("at", "").strip()
    try:
        return parse_moment(given) if given else None
    except ValueError:
        raise Invalid("at", "must be a time") from None


def _month_of(here: Here, send: Any) -> str:
    return month_of(send.at if send is not None else _moment() or here.now)


def _listed() -> list[str]:
    """OpenIDs that were pasted, or the first column of a file."""
    file = request.files.get("file")
    data = file.read(LARGEST + 1) if file is not None and file.filename else b""
    if len(data) > LARGEST:
        raise Invalid("file", "is larger than 5 MB")
    try:
        text = data.decode("utf-8-sig") if data else request.form.get("open_ids", "")
        rows = [row[0].strip() for row in csv.reader(io.StringIO(text)) if row and row[0].strip()]
    except (UnicodeDecodeError, csv.Error):
        raise Invalid("file", "is not a CSV file in UTF-8") from None
    found = rows[1:] if rows and rows[0].lower() in ("openid", "open_id") else rows
    if not found:
        raise Invalid("open_ids", "give the OpenIDs, one a line, or a file")
    return found
