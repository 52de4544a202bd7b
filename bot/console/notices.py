"""模板与订阅通知: the platform's templates, how many notices followers still permit, and where SMS go."""

from typing import Any

from flask import Response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as Answer

from bot import consents, db, jobs, outgoing, templates
from bot.console.access import Here, confirm, done, page
from bot.console.lists import Column, Filter, Listing, asked, csv_file, whole
from bot.console.telling import beside
from bot.errors import Invalid, Refused

KINDS = {"template": _l("模板消息"), "subscription": _l("订阅通知")}
COLUMNS = (
    Column("title", _l("模板"), sort=True),
    Column("kind", _l("类型"), sort=True),
    Column("places", _l("要填的内容")),
    Column("people", _l("可通知的人"), sort=True, number=True),
    Column("left", _l("剩余次数"), sort=True, number=True),
    Column("accepted", _l("同意"), number=True, shown=False),
    Column("sent", _l("已发"), sort=True, number=True),
    Column("rejected", _l("拒收"), number=True, shown=False),
    Column("id", _l("模板 ID"), shown=False),
)
FILTERS = (Filter("kind", _l("全部类型"), tuple(KINDS.items())),)


@page("/notices", "materials.read")
def notices(here: Here) -> str | Response:
    """Every template with what followers permit of it."""
    wanted = asked(request.args, COLUMNS, FILTERS, sort="kind")
    with db.reading(here.rt.engine) as session:
        listed = templates.every(session, here.account.id)
        totals = consents.totals(session, here.account.id)
        reading = bool(jobs.open_arguments(session, templates.READ, here.account.id))
    q = wanted.q.casefold()
    rows = [
        _row(one, totals.get(one.id))
        for one in listed
        if q in f"{one.title} {one.content} {one.id}".casefold()
        and wanted.has("kind") in ("", one.kind)
    ]
    rows.sort(key=lambda row: row[wanted.sort], reverse=wanted.down)
    if wanted.format == "csv":
        header = [column.label for column in COLUMNS]
        return csv_file(
            "templates", header, ([_cell(row, c.name) for c in COLUMNS] for row in rows)
        )
    read_at = max((one.read_at for one in listed), default=None)
    listing = Listing(wanted, COLUMNS, FILTERS, rows, len(rows), None, unit=_("个模板"))
    return render_template(
        "notices/list.html", listing=listing, any=bool(listed), kinds=KINDS, read_at=read_at, reading=reading
    )  # fmt: skip


@page("/notices/read", "materials.write", methods=("POST",))
def notices_read(here: Here) -> Answer:
    """Read the platform's list anew."""
    with db.writing(here.rt.engine) as session:
        if not jobs.open_arguments(session, templates.READ, here.account.id):
            jobs.enqueue(
                session,
                templates.READ,
                {"account_id": here.account.id},
                now=here.now,
                account_id=here.account.id,
            )
        here.audit(session, "template.read", f"account:{here.account.slug}")
    return done(_("正在读取，几秒后刷新"), "notices", slug=here.account.slug)


@page("/outgoing", "webhooks.write")
def outgoing_settings(here: Here) -> str:
    """Where messages of the channel `webhook` go."""
    with db.reading(here.rt.engine) as session:
        found = outgoing.get(session, here.account.id)
    given = {"together": 1}
    if found is not None:
        given = {"url": found.url, "together": found.together, "open_id": found.open_id}  # type: ignore[dict-item]
        given["fields"] = _("、").join(found.fields)
    return _outgoing(found is not None, given, {})


@page("/outgoing", "webhooks.write", methods=("POST",))
def outgoing_save(here: Here) -> Answer | str | tuple[str, int]:
    """Keep it; a secret that was made just now is shown this once."""
    form = request.form
    given: dict[str, Any] = {name: form.get(name, "") for name in ("url", "together", "fields")}
    given["open_id"] = bool(form.get("open_id")) and here.may("followers.open_id")
    with db.reading(here.rt.engine) as session:
        before = outgoing.get(session, here.account.id)
    try:
        with db.writing(here.rt.engine) as session:
            secret = outgoing.save(
                session,
                here.account.id,
                url=given["url"],
                together=whole(given["together"]) or 0,
                open_id=given["open_id"],
                fields=given["fields"].replace("，", "、").replace(",", "、").split("、"),
                by=here.operator.name,
                secret_key=here.rt.secret_key,
                now=here.now,
                new_secret=bool(form.get("new_secret")),
            )
            after = {"url": given["url"], "together": given["together"]}
            here.audit(session, "outgoing.change", f"account:{here.account.slug}", after=after)
    except Invalid as problem:
        return _outgoing(before is not None, given, dict(beside(problem))), 422
    if secret is not None:
        return render_template("notices/secret.html", url=given["url"], secret=secret)
    return done(_("已保存"), "outgoing_settings", slug=here.account.slug)


@page("/outgoing/remove", "webhooks.write")
def outgoing_ask_remove(here: Here) -> str:
    """What it means."""
    return confirm(
        _("停用短信等其他系统"),
        [_("还没有发出的消息会失败；之后用这个渠道的活动也会失败。")],
        action=url_for("console.outgoing_remove"),
        button=_("停用"),
        back=url_for("console.outgoing_settings"),
    )


@page("/outgoing/remove", "webhooks.write", methods=("POST",))
def outgoing_remove(here: Here) -> Answer:
    """Messages go nowhere any more."""
    with db.writing(here.rt.engine) as session:
        if outgoing.get(session, here.account.id) is None:
            raise Refused("no address is set for messages to other systems")
        outgoing.remove(session, here.account.id)
        here.audit(session, "outgoing.remove", f"account:{here.account.slug}")
    return done(_("已停用"), "outgoing_settings", slug=here.account.slug)


def _outgoing(there: bool, given: dict[str, Any], problems: dict[str, str]) -> str:
    return render_template("notices/outgoing.html", there=there, given=given, problems=problems)


def _row(one: templates.Template, total: consents.Total | None) -> dict[str, Any]:
    counts = dict.fromkeys(("people", "left", "accepted", "sent", "rejected"), 0)
    if total is not None and one.kind == "subscription":
        counts = {name: getattr(total, name) for name in counts}
    return {
        "title": one.title,
        "kind": one.kind,
        "places": one.places,
        "id": one.id,
        "long_term": one.long_term,
        "content": one.content,
        "example": one.example,
        **counts,
    }


def _cell(row: dict[str, Any], name: str) -> Any:
    if name == "places":
        return [f"{label or key} {key}" for key, label in row["places"]]
    return KINDS[row["kind"]] if name == "kind" else row[name]
