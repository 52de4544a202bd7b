"""The console's frame: login, sessions, cross-site protection, strict headers."""

from datetime import timedelta

from flask import Blueprint, Flask, redirect, render_template, request, session, url_for
from flask_login import LoginManager, UserMixin, login_user, logout_user
from flask_wtf.csrf import CSRFError, CSRFProtect
from sqlalchemy.exc import DBAPIError, TimeoutError
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from bot import db, operators
from bot.console.words import FILTERS
from bot.errors import Refused
from bot.operators import Operator
from bot.runtime import runtime

blueprint = Blueprint(
    "console",
    __name__,
    url_prefix="/console",
    template_folder="templates",
    static_folder="static",
)
csrf = CSRFProtect()
SESSION_HOURS = 12
TOO_OFTEN = "尝试次数太多，请几分钟后再试。"
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


class LoggedIn(UserMixin):  # type: ignore[misc]
    """An operator as Flask-Login wants one. A new password changes the id and so ends old sessions."""

    def __init__(self, operator: Operator) -> None:
        self.id = f"{operator.id}:{operator.session_number}"
        self.name = operator.name
        self.role = operator.role


def install(app: Flask) -> None:
    """Add the console to the app: its pages, its login, and the headers every page carries."""
    app.config.update(
        SESSION_COOKIE_NAME="qunfen",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=app.extensions["qunfen"].config.base_url.startswith("https://"),
        SESSION_COOKIE_PATH="/console",
        PERMANENT_SESSION_LIFETIME=timedelta(hours=SESSION_HOURS),
        WTF_CSRF_CHECK_DEFAULT=False,
    )
    manager = LoginManager(app)
    manager.login_view = "console.login"
    manager.login_message = None
    manager.user_loader(_load)
    csrf.init_app(app)
    for name, word in FILTERS.items():
        app.add_template_filter(word, name)
    app.register_blueprint(blueprint)
    app.register_error_handler(CSRFError, _expired)


@blueprint.before_request
def _protect() -> None:
    csrf.protect()  # the platform's callback posts too, so only the console asks for the mark


@blueprint.after_request
def _harden(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    if request.endpoint != "console.static":
        response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> Response | str | tuple[str, int]:
    """Name and password; a wrong one says no more than that it is wrong."""
    if request.method == "GET":
        return render_template("auth/login.html", name="", problem=None)
    rt = runtime()
    name = request.form.get("name", "").strip()
    try:
        found = operators.verify(
            rt.engine,
            rt.store,
            name,
            request.form.get("password", ""),
            rt.clock(),
            address=request.remote_addr or "",
        )
    except Refused:
        return render_template("auth/login.html", name=name, problem=TOO_OFTEN), 429
    if found is None:
        return render_template("auth/login.html", name=name, problem="用户名或密码不对。"), 401
    login_user(LoggedIn(found))
    session.permanent = True  # for SESSION_HOURS, also over a restart of the browser
    with db.writing(rt.engine) as writing:
        operators.audit(
            writing, "login", f"operator:{found.name}", operator=found.name, now=rt.clock()
        )
    return redirect(_inside(request.args.get("next", "")))


@blueprint.post("/logout")
def logout() -> Response:
    logout_user()
    return redirect(url_for("console.login"))


def _load(user_id: str) -> LoggedIn | None:
    number, _, session_number = user_id.partition(":")
    with db.reading(runtime().engine) as reading:
        operator = operators.by_id(reading, int(number))
    if operator is None or not operator.active or str(operator.session_number) != session_number:
        return None
    return LoggedIn(operator)


def _inside(target: str) -> str:
    # only pages of the console: an address in ``next`` must not lead out
    safe = target.startswith("/console/") and target.isprintable()
    safe = safe and not any(way_out in target for way_out in ("\\", "//", "/.."))
    return target if safe else url_for("console.home")


def _expired(_problem: CSRFError) -> tuple[str, int]:
    page = render_template("auth/login.html", name="", problem="页面放得太久了，请再试一次。")
    return page, 400


@blueprint.errorhandler(404)
def _missing(_problem: NotFound) -> tuple[str, int]:
    text = "没有这个页面，或者没有这个公众号。"
    return render_template("problem.html", title="找不到", text=text), 404


@blueprint.errorhandler(DBAPIError)
@blueprint.errorhandler(TimeoutError)
def _no_database(problem: DBAPIError | TimeoutError) -> tuple[str, int]:
    if not db.is_unavailable(problem):
        raise problem
    text = "数据库暂时连不上。推送没有丢，平台会重发；恢复后刷新这一页。"
    return render_template("problem.html", title="暂时不能显示", text=text), 503
