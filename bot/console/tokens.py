"""API tokens API 密钥: those of this account and those of every account; a new one is shown this once."""

from datetime import timedelta
from typing import Any

from flask import Response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as Answer

from bot import db, rights, tokens
from bot.console.access import Here, confirm, done, missing, page
from bot.console.lists import Column, Filter, Listing, asked, csv_file
from bot.console.look import language
from bot.console.telling import beside
from bot.db import Session
from bot.errors import Invalid
from bot.tokens import Maker, Token

STATES = {"active": _l("有效"), "expired": _l("已过期"), "revoked": _l("已吊销")}
LIVES = (("90", _l("90 天")), ("365", _l("1 年")), ("30", _l("30 天")), ("", _l("不过期")))
COLUMNS = (
    Column("name", _l("名称"), sort=True),
    Column("shown", _l("密钥")),
    Column("reach", _l("范围")),
    Column("scopes", _l("权限"), shown=False),
    Column("state", _l("状态")),
    Column("created_by", _l("创建人"), sort=True),
    Column("created_at", _l("创建时间"), sort=True, shown=False),
    Column("expires_at", _l("到期"), sort=True),
    Column("last_used_at", _l("上次使用"), sort=True),
)
PAGE = 50


@page("/tokens", "tokens.write")
def tokens_list(here: Here) -> str | Response:
    """The tokens that reach this account."""
    filters = (Filter("state", _l("状态"), tuple(STATES.items())),)
    wanted = asked(request.args, COLUMNS, filters, sort="-created_at")
    with db.reading(here.rt.engine) as session:
        found = _visible(session, here)
    rows = [one for one in found if wanted.q.casefold() in f"{one.name} {one.shown}".casefold()]
    if wanted.has("state"):
        rows = [one for one in rows if one.state(here.now) == wanted.has("state")]
    rows.sort(key=lambda one: _order(one, wanted.sort), reverse=wanted.down)
    if wanted.format == "csv":
        header = [column.label for column in COLUMNS]
        return csv_file(
            "tokens", header, ([_cell(here, one, c.name) for c in COLUMNS] for one in rows)
        )
    begin = (wanted.page - 1) * PAGE
    more = wanted.page + 1 if len(rows) > begin + PAGE else None
    listing = Listing(
        wanted, COLUMNS, filters, rows[begin : begin + PAGE], len(rows), more, unit=_("个密钥")
    )
    return render_template(
        "tokens/list.html", listing=listing, now=here.now, states=STATES, labels=_labels(None)
    )


@page("/tokens/new", "tokens.write")
def token_new(here: Here) -> str:
    """The form of a new token."""
    with db.reading(here.rt.engine) as session:
        return _form(_maker(session, here), {"reach": "account", "days": "90"}, {})


@page("/tokens/new", "tokens.write", methods=("POST",))
def token_create(here: Here) -> str | tuple[str, int]:
    """Make it, and show it this once: it is nowhere else, so the page is not a redirect."""
    days = request.form.get("days", "")
    try:
        with db.writing(here.rt.engine) as session:
            maker = _maker(session, here)
            plain, token = tokens.create(
                session,
                maker,
                request.form.get("name", ""),
                request.form.getlist("scopes"),
                here.now,
                account_id=None if request.form.get("reach") == "all" else here.account.id,
                expires_at=here.now + timedelta(days=_days(days)) if days else None,
            )
            here.audit(
                session,
                "token.create",
                f"token:{token.id}",
                after={"name": token.name, "scopes": list(token.scopes)},
            )
    except Invalid as problem:
        given: dict[str, Any] = {**request.form, "scopes": request.form.getlist("scopes")}
        return _form(maker, given, beside(problem)), 422
    return render_template("tokens/made.html", plain=plain, token=token)


@page("/tokens/<int:token_id>/revoke", "tokens.write")
def token_ask_revoke(here: Here, token_id: int) -> str:
    """What revoking does."""
    with db.reading(here.rt.engine) as session:
        token = _found(session, here, token_id)
    return confirm(
        _("吊销密钥「%(name)s」", name=token.name),
        [
            _("使用这个密钥的程序会立即收到 401，不能恢复。"),
            _("上次使用：%(when)s", when=_cell(here, token, "last_used_at") or _("从未")),
        ],
        action=url_for("console.token_revoke", slug=here.account.slug, token_id=token.id),
        button=_("吊销"),
        back=url_for("console.tokens_list", slug=here.account.slug),
    )


@page("/tokens/<int:token_id>/revoke", "tokens.write", methods=("POST",))
def token_revoke(here: Here, token_id: int) -> Answer:
    """End it at once."""
    with db.writing(here.rt.engine) as session:
        token = _found(session, here, token_id)
        tokens.revoke(session, token.id, here.now)
        here.audit(session, "token.revoke", f"token:{token.id}", before={"name": token.name})
    return done(_("已吊销密钥「%(name)s」", name=token.name), "tokens_list")


def _maker(session: Session, here: Here) -> Maker:
    return tokens.maker_named(session, here.operator.name) or missing()


def _visible(session: Session, here: Here) -> list[Token]:
    """Tokens of this account; those of every account only for whoever sees every account."""
    everywhere = _maker(session, here).accounts is None
    return [
        one
        for one in tokens.every(session)
        if one.account_id == here.account.id or (one.account_id is None and everywhere)
    ]


def _found(session: Session, here: Here, token_id: int) -> Token:
    found = (one for one in _visible(session, here) if one.id == token_id)
    return next(found, None) or missing()


def _form(maker: Maker, given: Any, problems: Any) -> str:
    return render_template(
        "tokens/new.html",
        given=given,
        problems=problems,
        groups=_grouped(maker),
        everywhere=maker.accounts is None,
        lives=LIVES,
    )


def _grouped(maker: Maker) -> dict[str, list[tuple[str, str]]]:
    """The rights the maker has, by what they are about."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for right, label in _labels(maker).items():
        groups.setdefault(right.partition(".")[0], []).append((right, label))
    return groups


def _labels(maker: Maker | None) -> dict[str, str]:
    lang = language()
    return {
        right: label[lang]
        for right, label in rights.RIGHTS.items()
        if maker is None or right in maker.rights
    }


def _days(text: str) -> int:
    if text not in {days for days, _label in LIVES}:
        raise Invalid("days", "is not known")
    return int(text)


def _order(token: Token, name: str) -> Any:
    value = getattr(token, name)
    return (value is not None, value if value is not None else 0)


def _cell(here: Here, token: Token, name: str) -> Any:
    if name == "state":
        return str(STATES[token.state(here.now)])
    if name == "reach":
        return here.account.slug if token.account_id else "*"
    value = getattr(token, name)
    if name.endswith("_at") and value is not None:
        return f"{value:%Y-%m-%d %H:%M}" if name != "last_used_at" else value
    return list(value) if isinstance(value, tuple) else value
