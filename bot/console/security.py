"""The console's frame: sessions, cross-site protection, strict headers."""

from datetime import timedelta
from urllib.parse import urlsplit

from flask import Flask, abort, g, make_response, redirect, render_template, request, url_for
from flask_babel import Babel
from flask_babel import gettext as _
from flask_login import LoginManager, UserMixin, current_user
from flask_wtf.csrf import CSRFError, CSRFProtect
from sqlalchemy.exc import DBAPIError, TimeoutError
from werkzeug.exceptions import Forbidden, NotFound, RequestEntityTooLarge
from werkzeug.wrappers import Response

from bot import db, operators
from bot.console.access import by_htmx
from bot.console.blueprint import blueprint
from bot.console.held import hold
from bot.console.look import language, register
from bot.errors import Invalid, Refused, WeChatError
from bot.operators import Operator
from bot.runtime import runtime
from bot.sentences import in_chinese

csrf = CSRFProtect()
SESSION_HOURS = 12
LARGEST_ID = 2**63 - 1
LARGEST_FORM = 2_000_000  # bytes of what is typed: a pasted list of QR codes is the longest
LARGEST_UPLOAD = 24 * 1024 * 1024  # bytes of a request; each page has limits of its own below this
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self' data:; media-src 'self'; connect-src 'self'; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


class LoggedIn(UserMixin):  # type: ignore[misc]
    """An operator as Flask-Login wants one. A new password changes the id and so ends old sessions."""

    def __init__(self, operator: Operator) -> None:
        self.id = f"{operator.id}:{operator.session_number}"
        self.operator = operator


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
        WTF_CSRF_TIME_LIMIT=SESSION_HOURS * 3600,
        MAX_CONTENT_LENGTH=LARGEST_UPLOAD,
        MAX_FORM_MEMORY_SIZE=LARGEST_FORM,
        BABEL_DEFAULT_LOCALE="zh",
        BABEL_TRANSLATION_DIRECTORIES="console/translations",
        BABEL_DEFAULT_TIMEZONE="Asia/Shanghai",
    )
    Babel(app, locale_selector=language)
    manager = LoginManager(app)
    manager.user_loader(_load)
    manager.unauthorized_handler(_log_in_first)
    csrf.init_app(app)
    register(app)
    app.register_blueprint(blueprint)
    app.register_error_handler(CSRFError, _expired)


def _log_in_first() -> Response:
    """To the login, and from there back to the page that was wanted; a form that was sent is held."""
    if by_htmx():  # the page stays as it is, with what was typed into it
        return _ended(401)
    if request.method == "POST":
        return _login_again(_("登录已经结束，请重新登录。"), 401)
    return redirect(url_for("console.login", next=request.full_path.rstrip("?")))


def _login_again(problem: str, status: int) -> Response:
    unsent = hold()
    if unsent:
        problem += _("填写的内容还在，登录后可以再提交。")
    page = render_template("auth/login.html", name="", problem=problem, held=unsent, next="")
    return make_response(page, status)


def _ended(status: int) -> Response:
    told = _("登录已经结束，没有保存。请在新标签页登录后刷新这一页；填写的内容请先复制。")
    answer = _problem_page(_("没有保存"), told, status)
    answer.headers["HX-Reswap"] = "innerHTML"  # a page that asks every few seconds says it once
    return answer


@blueprint.before_request
def _protect() -> None:
    _storable()
    csrf.protect()  # the platform's callback posts too, so only the console asks for the mark


def _storable() -> None:
    """What no browser sends and no database takes: NUL in a text, a number beyond 64 bits in an address.

    Raises:
        Invalid: a text has it; it stands beside no field, because nobody typed it into one.
    """
    if any(isinstance(one, int) and one > LARGEST_ID for one in (request.view_args or {}).values()):
        abort(404)
    texts = [request.path]
    for given in (request.args, request.form):
        texts += [text for name, values in given.lists() for text in (name, *values)]
    texts += [upload.filename or "" for _name, upload in request.files.items(multi=True)]
    if any("\x00" in text for text in texts):
        raise Invalid("", "has characters that cannot be stored")


@blueprint.after_request
def _harden(response: Response) -> Response:
    # a page that stands in a frame of ours says so by a stricter policy of its own
    framed = "Content-Security-Policy" in response.headers
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Frame-Options"] = "SAMEORIGIN" if framed else "DENY"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    if request.endpoint != "console.static":
        response.headers["Cache-Control"] = "no-store"
    return response


def _load(user_id: str) -> LoggedIn | None:
    number, _, session_number = user_id.partition(":")
    with db.reading(runtime().engine) as reading:
        operator = operators.by_id(reading, int(number))
    if operator is None or not operator.active or str(operator.session_number) != session_number:
        return None
    return LoggedIn(operator)


def inside(target: str, otherwise: str) -> str:
    """``target`` if it is a page of the console: an address that was handed in must not lead out."""
    safe = target.startswith("/console/") and target.isprintable()
    safe = safe and not any(way_out in target for way_out in ("\\", "//", "/.."))
    return target if safe else otherwise


def _expired(_problem: CSRFError) -> Response:
    if current_user.is_authenticated:
        told = _("页面放得太久了，请刷新后再试一次。填写的内容可以用浏览器的后退找回。")
        return _problem_page(_("没有保存"), told, 400)
    return _ended(400) if by_htmx() else _login_again(_("页面放得太久了，请再试一次。"), 400)


@blueprint.app_errorhandler(404)
def _missing(problem: NotFound) -> Response | NotFound:
    if not request.path.startswith("/console"):
        return problem
    return _problem_page(_("找不到"), _("没有这个页面，或者没有这个公众号。"), 404)


@blueprint.errorhandler(403)
def _forbidden(_problem: Forbidden) -> Response:
    told = _("你的角色没有这项权限。需要的话，请联系管理员在「成员与角色」里调整。")
    return _problem_page(_("没有权限"), told, 403)


@blueprint.errorhandler(413)
def _too_large(_problem: RequestEntityTooLarge) -> Response:
    megabytes = LARGEST_UPLOAD // 1024 // 1024
    return _problem_page(
        _("文件太大"), _("一次最多上传 %(size)s MB，没有保存任何内容。", size=megabytes), 413
    )


@blueprint.errorhandler(Invalid)
def _invalid(problem: Invalid) -> Response:
    place = f"{problem.field}{_('：')}" if problem.field else ""
    return _problem_page(_("填写有误"), f"{place}{_told(problem.message)}", 422)


@blueprint.errorhandler(Refused)
def _refused(problem: Refused) -> Response:
    return _problem_page(_("现在不能这样做"), _told(str(problem)), 409)


@blueprint.errorhandler(WeChatError)
def _platform(problem: WeChatError) -> Response:
    return _problem_page(_("平台没有接受"), _told(str(problem)), 502)


@blueprint.errorhandler(DBAPIError)
@blueprint.errorhandler(TimeoutError)
def _no_database(problem: DBAPIError | TimeoutError) -> Response:
    if not db.is_unavailable(problem):
        raise problem
    g.no_database = True  # the page is drawn without asking it again
    told = _("数据库暂时连不上。推送没有丢，平台会重发；恢复后刷新这一页。")
    return _problem_page(_("暂时不能显示"), told, 503)


def _told(sentence: str) -> str:
    return in_chinese(sentence) if language() == "zh" else sentence


def _problem_page(title: str, text: str, status: int) -> Response:
    """A problem in words: a page, or for a fragment a note that leaves the page as it is."""
    if by_htmx():
        answer: Response = make_response(
            render_template("problem_note.html", title=title, text=text), status
        )
        answer.headers["HX-Retarget"] = "#notes"
        answer.headers["HX-Reswap"] = "beforeend"
        return answer
    page = render_template("problem.html", title=title, text=text, back=_came_from())
    return make_response(page, status)


def _came_from() -> str:
    """The page of ours somebody came from, to go back to; the first page otherwise."""
    came = urlsplit(request.referrer or "")
    target = f"{came.path}?{came.query}" if came.query else came.path
    if came.netloc != request.host or target in (request.path, request.full_path):
        target = ""
    return inside(target, url_for("console.start"))
