"""People 成员与角色: who may use the console, what they see, their second factor; and one's own page."""

from dataclasses import dataclass, field
from typing import Any

import segno
from flask import Response, make_response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_login import login_user

from bot import accounts, db, operators, scopes, totp
from bot.accounts import Account
from bot.console.access import System, confirm, done, missing, system_page
from bot.console.lists import Column, Filter, Listing, asked, csv_file
from bot.console.look import LANGUAGES, THEMES, language, theme
from bot.console.security import LoggedIn
from bot.console.telling import told
from bot.errors import Invalid, Refused
from bot.operators import Operator
from bot.rights import RIGHTS, ROLES
from bot.scopes import CHANNEL_OWNER, Scopes

QR_SCALE = 5
COLUMNS = (
    Column("name", _l("用户名"), sort=True),
    Column("role", _l("角色"), sort=True),
    Column("accounts", _l("公众号")),
    Column("totp", _l("两步验证")),
    Column("last_login_at", _l("上次登录"), sort=True),
    Column("created_at", _l("创建"), shown=False),
    Column("active", _l("状态")),
)


@dataclass(frozen=True)
class Typed:
    """A person's form as it was sent, or as the person is."""

    name: str = ""
    role: str = "operator"
    every: bool = True
    chosen: frozenset[int] = frozenset()
    scenes: dict[int, str] = field(default_factory=dict)


@system_page("/operators", "operators.write")
def operators_list(system: System) -> str | Response:
    """Everybody, with what they see."""
    filters = (
        Filter("role", _("角色"), _roles()),
        Filter("active", _("状态"), [("1", _("在用")), ("0", _("已停用"))]),
    )
    wanted = asked(request.args, COLUMNS, filters, sort="name")
    with db.reading(system.rt.engine) as session:
        names = {account.id: account.name for account in accounts.every(session)}
        rows = [_line(session, one, names) for one in operators.every(session)]
    rows = [
        row
        for row in rows
        if wanted.q.casefold() in row["name"].casefold()
        and wanted.has("role") in ("", row["role_key"])
        and wanted.has("active") in ("", str(int(row["active"])))
    ]
    rows.sort(key=lambda row: (row[wanted.sort] is not None, row[wanted.sort]), reverse=wanted.down)
    if wanted.format == "csv":
        header = [column.label for column in COLUMNS]
        return csv_file(
            "operators", header, [[row[column.name] for column in COLUMNS] for row in rows]
        )
    listing = Listing(wanted, COLUMNS, filters, rows, len(rows), unit=_("人"))
    return render_template("people/list.html", listing=listing)


@system_page("/operators/new", "operators.write", methods=("GET", "POST"))
def operator_new(system: System) -> Any:
    """A new person; the generated password is shown this once."""
    if request.method == "GET":
        return _form(system, None, Typed())
    typed = _typed()
    try:
        with db.writing(system.rt.engine) as session:
            password = operators.add(
                session, typed.name, typed.role, system.now, by=system.operator.name
            )
            made = _named(session, typed.name.strip())
            _set_scopes(session, system, made.id, typed)
    except (Invalid, Refused) as problem:
        return make_response(_form(system, None, typed, _errors(problem)), 422)
    return _password_page(made.name, password, fresh=True)


@system_page("/operators/<int:operator_id>", "operators.write", methods=("GET", "POST"))
def operator_edit(system: System, operator_id: int) -> Any:
    """One person: name, role, what they see."""
    found = _found(system, operator_id)
    if request.method == "GET":
        with db.reading(system.rt.engine) as session:
            return _form(system, found, _as_is(found, scopes.of(session, operator_id)))
    typed = _typed()
    try:
        with db.writing(system.rt.engine) as session:
            operators.change(
                session,
                operator_id,
                name=typed.name,
                role=typed.role,
                by=system.operator.name,
                now=system.now,
            )
            _set_scopes(session, system, operator_id, typed)
    except (Invalid, Refused) as problem:
        return make_response(_form(system, found, typed, _errors(problem)), 422)
    return done(_("已保存，下一次打开页面就生效。"), ".operators_list")


@system_page(
    "/operators/<int:operator_id>/<any(off,on,password,sessions,totp):action>",
    "operators.write",
    methods=("GET", "POST"),
)
def operator_act(system: System, operator_id: int, action: str) -> Any:
    """Switch off or on, a new password, end sessions, second factor off: each asks first."""
    found = _found(system, operator_id)
    if request.method == "GET":
        return _ask(found, action)
    by, now = system.operator.name, system.now
    with db.writing(system.rt.engine) as session:
        if action in ("off", "on"):
            operators.change(session, operator_id, active=action == "on", by=by, now=now)
        elif action == "sessions":
            operators.end_sessions(session, operator_id, by=by, now=now)
        elif action == "totp":
            totp.off(session, operator_id, by=by, now=now)
        else:
            password = operators.passwd(session, found.name, now, by=by)
    if action == "password":
        return _password_page(found.name, password, fresh=False)
    return done(_("已完成。"), ".operator_edit", operator_id=operator_id)


@system_page("/me", None, methods=("GET", "POST"))
def me(system: System) -> Any:
    """One's own page: password, second factor, language, theme."""
    if request.method == "GET":
        return _me()
    old, new = request.form.get("old", ""), request.form.get("new", "")
    try:
        if new != request.form.get("again", ""):
            raise Invalid("again", "the two new passwords differ")
        operators.own_password(
            system.rt.engine, system.rt.store, system.operator.id, old, new, system.now
        )
    except Invalid as problem:
        place = "new" if problem.field == "password" else problem.field
        return make_response(_me({place: told(problem.message)}), 422)
    except Refused as problem:
        return make_response(_me({"old": told(str(problem))}), 429)
    _stay(system)
    return done(_("密码已更换，其他地方的登录都已退出。"), ".me")


@system_page("/me/totp", None, methods=("GET", "POST"))
def me_totp(system: System) -> Any:
    """Turn one's own second factor on: scan, then prove with a code."""
    rt = system.rt
    if system.operator.has_totp:
        return done(_("两步验证已经打开。"), ".me")
    problem = None
    if request.method == "POST":
        code = request.form.get("code", "")
        try:
            totp.confirm(rt.engine, rt.store, system.operator.id, code, rt.secret_key, system.now)
            return done(_("两步验证已打开，下次登录会要 6 位数字。"), ".me")
        except Invalid as wrong:
            problem = told(wrong.message)
    secret = totp.begin(rt.store, system.operator.id, rt.secret_key)
    picture = segno.make(totp.address(secret, system.operator.name), error="m")
    page = render_template(
        "people/totp.html",
        picture=picture.svg_data_uri(scale=QR_SCALE, border=2, dark="#000", light="#fff"),
        secret=" ".join(secret[place : place + 4] for place in range(0, len(secret), 4)),
        problem=problem,
        active="me",
    )
    return make_response(page, 422 if problem else 200)


@system_page("/me/totp/off", None, methods=("GET", "POST"))
def me_totp_off(system: System) -> Any:
    """Turn one's own second factor off, with a code of it."""
    if not system.operator.has_totp:
        return done(_("两步验证没有打开。"), ".me")
    problem = None
    if request.method == "POST":
        rt = system.rt
        code = request.form.get("code", "")
        if totp.check(rt.engine, rt.store, system.operator.id, code, rt.secret_key, system.now):
            with db.writing(rt.engine) as session:
                totp.off(session, system.operator.id, by=system.operator.name, now=system.now)
            return done(_("两步验证已关闭。"), ".me")
        problem = _("验证码不对，或已经用过。")
    page = render_template("people/totp_off.html", problem=problem, active="me")
    return make_response(page, 422 if problem else 200)


def _found(system: System, operator_id: int) -> Operator:
    with db.reading(system.rt.engine) as session:
        found = operators.by_id(session, operator_id)
    if found is None:
        missing()
    assert found is not None
    return found


def _password_page(name: str, password: str, *, fresh: bool) -> str:
    return render_template(
        "people/password.html", name=name, password=password, fresh=fresh, active="operators_list"
    )


def _stay(system: System) -> None:
    """The session that changed the password goes on; every other one ended."""
    with db.reading(system.rt.engine) as session:
        again = operators.by_id(session, system.operator.id)
    if again is not None:
        login_user(LoggedIn(again))


def _me(errors: dict[str, str] | None = None) -> str:
    return render_template(
        "people/me.html",
        errors=errors or {},
        languages=LANGUAGES.items(),
        themes=THEMES.items(),
        chosen=(language(), theme()),
    )


def _roles() -> list[tuple[str, str]]:
    return [(key, role.label[language()]) for key, role in ROLES.items()]


def _line(session: db.Session, one: Operator, names: dict[int, str]) -> dict[str, Any]:
    seen = _("全部公众号")
    if not scopes.sees_all(one):
        listed = scopes.of(session, one.id).accounts
        seen = _("、").join(names[key] for key in listed if key in names) or _("没有")
    return {
        "id": one.id,
        "name": one.name,
        "role": ROLES[one.role].label[language()],
        "role_key": one.role,
        "accounts": seen,
        "totp": _("已开") if one.has_totp else "",
        "last_login_at": one.last_login_at,
        "created_at": one.created_at,
        "active": one.active,
    }


def _named(session: db.Session, name: str) -> Operator:
    return next(one for one in operators.every(session) if one.name == name)


def _typed() -> Typed:
    form = request.form
    chosen = frozenset(
        int(one[:18]) for one in form.getlist("accounts") if one.isascii() and one.isdigit()
    )
    return Typed(
        name=form.get("name", ""),
        role=form.get("role", ""),
        every=form.get("every") == "1",
        chosen=chosen,
        scenes={one: form.get(f"scenes-{one}", "") for one in chosen},
    )


def _as_is(one: Operator, found: Scopes) -> Typed:
    return Typed(
        name=one.name,
        role=one.role,
        every=found.every_account,
        chosen=frozenset(found.accounts),
        scenes={key: "\n".join(patterns or ()) for key, patterns in found.accounts.items()},
    )


def _set_scopes(session: db.Session, system: System, operator_id: int, typed: Typed) -> None:
    limited = typed.role == CHANNEL_OWNER
    scopes.set_scopes(
        session,
        operator_id,
        every_account=typed.every and not limited,
        listed={
            one: typed.scenes.get(one, "").replace(",", "\n").splitlines() if limited else None
            for one in typed.chosen
        },
        by=system.operator.name,
        now=system.now,
    )


def _errors(problem: Invalid | Refused) -> dict[str, str]:
    if isinstance(problem, Invalid):
        return {problem.field: told(problem.message)}
    return {"": told(str(problem))}


def _form(
    system: System, one: Operator | None, typed: Typed, errors: dict[str, str] | None = None
) -> str:
    with db.reading(system.rt.engine) as session:
        every: list[Account] = accounts.every(session)
    lang = language()
    return render_template(
        "people/edit.html",
        one=one,
        typed=typed,
        errors=errors or {},
        every=every,
        roles=_roles(),
        may={
            key: _("、").join(RIGHTS[right][lang] for right in RIGHTS if right in role.rights)
            for key, role in ROLES.items()
        },
        active="operators_list",
    )


def _ask(one: Operator, action: str) -> str:
    name = one.name
    said = {
        "off": (
            _("停用 %(name)s", name=name),
            _("马上退出登录，不能再进来；做过的事和审计日志都保留，以后可以重新启用。"),
            _("停用"),
        ),
        "on": (_("启用 %(name)s", name=name), _("可以用原来的密码重新登录。"), _("启用")),
        "password": (
            _("给 %(name)s 新密码", name=name),
            _("旧密码马上失效，打开着的登录都会退出；新密码只显示一次，请转告本人。"),
            _("生成新密码"),
        ),
        "sessions": (
            _("让 %(name)s 退出登录", name=name),
            _("所有地方打开着的登录都会退出，密码不变。"),
            _("全部退出"),
        ),
        "totp": (
            _("关闭 %(name)s 的两步验证", name=name),
            _("登录只要密码；手机找回来后，本人可以在自己的页面重新打开。"),
            _("关闭两步验证"),
        ),
    }
    title, what, button = said[action]
    return confirm(
        title,
        [what],
        action=url_for("console.operator_act", operator_id=one.id, action=action),
        button=button,
        back=url_for("console.operator_edit", operator_id=one.id),
    )
