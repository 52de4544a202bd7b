"""How a page is entered and left: who may, for which account, and what a view is handed.

Every view is declared with ``page`` (of one account) or ``system_page``; both name the right it takes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any, NoReturn

from flask import (
    abort,
    current_app,
    flash,
    g,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask_login import current_user
from werkzeug.wrappers import Response

from bot import db, operators, scopes
from bot.accounts import Account
from bot.console.blueprint import blueprint
from bot.db import Session
from bot.operators import Operator
from bot.rights import rights_of
from bot.runtime import Runtime, runtime
from bot.secrets import short

View = Callable[..., Any]
# endpoint -> the right it takes; None: whoever is logged in. Tests walk it.
RIGHT_OF: dict[str, str | None] = {}


@dataclass(frozen=True)
class System:
    """What a page beside the accounts is given."""

    rt: Runtime
    operator: Operator
    now: datetime

    def may(self, right: str) -> bool:
        return right in rights_of(self.operator.role)

    def audit(
        self, session: Session, action: str, thing: str, *, before: Any = None, after: Any = None
    ) -> None:
        """Who changed what, in the transaction of the change."""
        operators.audit(
            session,
            action,
            thing,
            operator=self.operator.name,
            now=self.now,
            account_id=None,
            before=before,
            after=after,
        )


@dataclass(frozen=True)
class Here:
    """What a page of one account is given. ``scenes``: patterns a channel owner is limited to, else None."""

    rt: Runtime
    account: Account
    operator: Operator
    now: datetime
    scenes: tuple[str, ...] | None = None

    def may(self, right: str) -> bool:
        return right in rights_of(self.operator.role)

    def open_id(self, open_id: str | None) -> str:
        """An OpenID as this operator may see it: whole, or its last characters."""
        if not open_id:
            return ""
        return open_id if self.may("followers.open_id") else short(open_id)

    def audit(
        self, session: Session, action: str, thing: str, *, before: Any = None, after: Any = None
    ) -> None:
        """Who changed what, in the transaction of the change. No secrets and no whole OpenIDs."""
        operators.audit(
            session,
            action,
            thing,
            operator=self.operator.name,
            now=self.now,
            account_id=self.account.id,
            before=before,
            after=after,
        )


def page(
    rule: str, right: str | None, *, methods: Sequence[str] = ("GET",)
) -> Callable[[View], View]:
    """A page of one account: ``/console/<slug>`` + ``rule``, called with a ``Here``.

    404 for an account the operator does not see, 403 without the right.
    """

    return _declared(f"/<slug>{rule}", right, methods, lambda values: _here(values.pop("slug")))


def system_page(
    rule: str, right: str | None, *, methods: Sequence[str] = ("GET",)
) -> Callable[[View], View]:
    """A page of the installation: ``/console/system`` + ``rule``, called with a ``System``."""

    return _declared(f"/system{rule}", right, methods, lambda _values: _system())


def _declared(
    rule: str,
    right: str | None,
    methods: Sequence[str],
    place: Callable[[dict[str, Any]], Here | System],
) -> Callable[[View], View]:
    def declare(view: View) -> View:
        @wraps(view)
        def enter(**values: Any) -> Any:
            if not current_user.is_authenticated:
                return current_app.login_manager.unauthorized()  # type: ignore[attr-defined]
            where = place(values)
            if right is not None and not where.may(right):
                abort(403)
            return view(where, **values)

        blueprint.add_url_rule(rule, endpoint=view.__name__, view_func=enter, methods=list(methods))
        RIGHT_OF[f"console.{view.__name__}"] = right
        return view

    return declare


def _system() -> System:
    rt = runtime()
    return System(rt, current_user.operator, rt.clock())


def _here(slug: str) -> Here:
    seen = next((each for each in visible() if each.account.slug == slug), None)
    if seen is None:
        abort(404)
    rt = runtime()
    here = Here(rt, seen.account, current_user.operator, rt.clock(), seen.scenes)
    g.here = here
    return here


def visible() -> list[scopes.Seen]:
    """The accounts this operator sees, read once a request."""
    if "visible" not in g:
        with db.reading(runtime().engine) as session:
            g.visible = scopes.accounts_of(session, current_user.operator)
    found: list[scopes.Seen] = g.visible
    return found


@blueprint.url_defaults
def _same_account(endpoint: str, values: dict[str, Any]) -> None:
    if "slug" in values or "here" not in g:
        return
    if current_app.url_map.is_endpoint_expecting(endpoint, "slug"):
        values["slug"] = g.here.account.slug


def by_htmx() -> bool:
    """Whether a fragment is wanted rather than a page."""
    return request.headers.get("HX-Request") == "true"


def done(message: str, endpoint: str, **values: Any) -> Response:
    """After a change: say so and show a page again."""
    flash(message, "success")
    return go(url_for(f"console.{endpoint.removeprefix('.').removeprefix('console.')}", **values))


def go(address: str) -> Response:
    """To another page of ours, also out of a fragment."""
    if by_htmx():
        answer: Response = make_response("", 200)
        answer.headers["HX-Redirect"] = address
        return answer
    return redirect(address, 303)


def missing() -> NoReturn:
    """There is no such thing in this account."""
    abort(404)


def confirm(
    title: str,
    what: Sequence[str],
    *,
    action: str,
    button: str,
    back: str,
    typed: str | None = None,
    hidden: Mapping[str, Any] | None = None,
    problem: str | None = None,
) -> str:
    """Asks before something is destroyed: a page, or the same in a dialog.

    ``what`` says what will happen and to how many. With ``typed`` the button works only after this word was
    typed; the view compares ``request.form["typed"]`` itself.
    """
    template = "confirm_dialog.html" if by_htmx() else "confirm.html"
    return render_template(
        template,
        title=title,
        what=what,
        action=action,
        button=button,
        back=back,
        typed=typed,
        hidden=hidden or {},
        problem=problem,
    )
