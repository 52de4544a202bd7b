"""Pages of the frame itself: where one lands, the bar of a background job, language and theme."""

from flask import current_app, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from bot import db, jobs
from bot.console.access import Here, System, by_htmx, go, missing, page, system_page, visible
from bot.console.blueprint import blueprint
from bot.console.look import LANGUAGES, THEMES, first_page
from bot.console.security import inside
from bot.rights import rights_of

YEAR = 365 * 86400  # seconds a choice of language or theme is remembered


@blueprint.get("/")
def start() -> Response | str:
    """The first account this operator sees, there the first page of their role; without any, what to do next."""
    if not current_user.is_authenticated:
        unauthorized: Response = current_app.login_manager.unauthorized()  # type: ignore[attr-defined]
        return unauthorized
    accounts = [seen.account for seen in visible()]
    if accounts:
        return redirect(first_page(accounts[0].slug))
    may_add = "accounts.add" in rights_of(current_user.operator.role)
    return render_template("no_account.html", may_add=may_add)


@page("/start", None)
def account_start(here: Here) -> Response:
    """The first page of this account that the operator's role may see."""
    return redirect(first_page(here.account.slug))


@page("/progress/<int:job_id>", None)
def progress(here: Here, job_id: int) -> str | Response:
    """How far a background job of this account has come."""
    with db.reading(here.rt.engine) as session:
        job = jobs.look(session, here.account.id, job_id)
    if job is None:
        missing()
    then = inside(request.args.get("then", ""), "")
    shown = {
        "job_id": job_id,
        "then": then,
        "state": job.state,
        "ended": job.state in ("done", "dead"),
        "error": job.error,
        "done": job.done,
        "total": job.total,
    }
    if by_htmx():
        return go(then) if job.state == "done" and then else render_template("_work.html", **shown)
    return render_template("work.html", **shown)


@system_page("/look", None, methods=("POST",))
def look(system: System) -> Response:
    """Language and theme of this browser."""
    answer = go(inside(request.form.get("back", ""), url_for("console.start")))
    for name, known in (("lang", LANGUAGES), ("theme", THEMES)):
        chosen = request.form.get(name, "")
        if chosen in known:
            answer.set_cookie(
                name,
                chosen,
                max_age=YEAR,
                path="/console",
                samesite="Lax",
                httponly=True,
                secure=request.is_secure,
            )
    return answer
