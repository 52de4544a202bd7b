"""The way in: name and password, the second factor, what was typed before a login ended, and the way out."""

from flask import make_response, redirect, render_template, request, session, url_for
from flask_babel import gettext as _
from flask_login import login_user, logout_user
from werkzeug.wrappers import Response

from bot import db, operators, totp
from bot.console import held
from bot.console.blueprint import blueprint
from bot.console.security import LoggedIn, inside
from bot.errors import Refused
from bot.operators import Operator
from bot.runtime import runtime

SECOND_SECONDS = 300  # between the password and the code
TOO_OFTEN = 429


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> Response:
    """Name and password; a wrong one says no more than that it is wrong."""
    if request.method == "GET":
        return _page("auth/login.html", name="")
    rt = runtime()
    name = request.form.get("name", "").strip()
    password, address = request.form.get("password", ""), request.remote_addr or ""
    try:
        found = operators.verify(rt.engine, rt.store, name, password, rt.clock(), address=address)
    except Refused:
        return _too_often("auth/login.html", name=name)
    if found is None:
        return _page("auth/login.html", 401, name=name, problem=_("用户名或密码不对。"))
    if not found.has_totp:
        return _enter(found)
    session["second"] = [found.id, found.session_number, rt.clock().timestamp()]
    return _page("auth/code.html")


@blueprint.route("/login/code", methods=["GET", "POST"])
def login_code() -> Response:
    """The second step: a code of six digits, within five minutes of the password."""
    rt = runtime()
    found = _half_way()
    if found is None:
        session.pop("second", None)
        return redirect(url_for("console.login"))
    if request.method == "GET":
        return _page("auth/code.html")
    try:
        right = totp.check(
            rt.engine,
            rt.store,
            found.id,
            request.form.get("code", ""),
            rt.secret_key,
            rt.clock(),
            address=request.remote_addr or "",
        )
    except Refused:
        return _too_often("auth/code.html")
    if not right:
        return _page("auth/code.html", 401, problem=_("验证码不对，或已经用过。"))
    session.pop("second", None)
    return _enter(found)


@blueprint.post("/logout")
def logout() -> Response:
    session.pop("second", None)
    logout_user()
    return redirect(url_for("console.login"))


def _half_way() -> Operator | None:
    """Who gave the right password less than five minutes ago, unless it was changed since."""
    rt = runtime()
    operator_id, number, at = session.get("second") or (0, 0, 0.0)
    if rt.clock().timestamp() - at > SECOND_SECONDS:
        return None
    with db.reading(rt.engine) as reading:
        found = operators.by_id(reading, operator_id)
    usable = found is not None and found.active and found.session_number == number
    return found if usable else None


def _enter(operator: Operator) -> Response:
    rt = runtime()
    login_user(LoggedIn(operator))
    session.permanent = True  # for SESSION_HOURS, also over a restart of the browser
    with db.writing(rt.engine) as writing:
        operators.audit(
            writing, "login", f"operator:{operator.name}", operator=operator.name, now=rt.clock()
        )
    unsent = held.opened(request.form.get("held", ""))
    if unsent is not None:
        page = render_template(
            "auth/unsent.html", path=inside(unsent.path, ""), fields=unsent.fields
        )
        return make_response(page)
    return redirect(inside(request.args.get("next", ""), url_for("console.start")))


def _too_often(template: str, **values: str) -> Response:
    return _page(template, TOO_OFTEN, problem=_("尝试次数太多，请几分钟后再试。"), **values)


def _page(template: str, status: int = 200, **values: str) -> Response:
    shown = {"name": "", "problem": "", "held": request.form.get("held", ""), **values}
    shown["next"] = inside(request.args.get("next", ""), "")
    return make_response(render_template(template, **shown), status)
