"""One official account: what it is, and the emergency stop of everything that leaves it."""

from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field, StringConstraints

from bot import accounts
from bot.accounts import Account
from bot.api.frame import Area, Asked, Call, Json, Told
from bot.as_code.document import LimitsPart, limits_doc, limits_said
from bot.db import Session
from bot.tables.accounts import accounts as accounts_table

area = Area("account", "One official account · 公众号")


class AccountTold(Told):
    slug: str
    name: str
    kind: str
    verified: bool
    mode: str
    app_id: str
    original_id: str
    sandbox: bool
    stopped: bool
    stopped_reason: str | None
    opening_stated: bool
    refused_features: list[str] = Field(description="what the platform does not grant (48001)")
    brand: str | None = Field(description="accounts of one brand count a person together")
    limits: Json = Field(
        description="as the account file writes them; what is as by default is left out"
    )


class Reason(Asked):
    reason: str = Field(min_length=1, max_length=200)


class AccountChange(Asked):
    brand: Annotated[str, StringConstraints(strip_whitespace=True, max_length=60)] | None = Field(
        None, description="empty takes it away"
    )
    limits: LimitsPart | None = Field(
        None, description="a limit that is not named stays, null goes back to its default"
    )


@area("GET", "", "home.read")
def account_get(call: Call, session: Session) -> AccountTold:
    """The account as it is set up. No secrets."""
    return _told(session, call.account)


@area("PATCH", "", "account.write")
def account_change(call: Call, session: Session, body: AccountChange) -> AccountTold:
    """Change the limits of what is sent, and which accounts are of one brand."""
    account = call.account
    before: dict[str, Any] = {"brand": account.brand, "limits": _limits(session, account)}
    after = dict(before)
    if body.brand is not None:
        after["brand"] = body.brand or None
    if body.limits is not None:
        after["limits"] = limits_doc(before["limits"] | limits_said(body.limits))
    changed = {key: value for key, value in after.items() if value != before[key]}
    if changed:
        accounts.change(session, account.id, call.rt.secret_key, changed)
        call.audit(
            session,
            "account.change",
            account.slug,
            before={key: before[key] for key in changed},
            after=changed,
        )
    return _told(session, accounts.by_id(session, account.id))


@area("POST", "/stop", "account.write")
def account_stop(call: Call, session: Session, body: Reason) -> AccountTold:
    """Stop every send at once. Replies to messages go on."""
    account = call.account
    accounts.stop(session, account.id, body.reason, call.now)
    call.audit(session, "account.stop", f"account:{account.slug}", after={"reason": body.reason})
    return _told(session, accounts.by_id(session, account.id))


@area("POST", "/go", "account.write")
def account_go(call: Call, session: Session) -> AccountTold:
    """End an emergency stop."""
    account = call.account
    accounts.go(session, account.id)
    before = {"reason": account.stopped_reason} if account.stopped else None
    call.audit(session, "account.go", f"account:{account.slug}", before=before)
    return _told(session, accounts.by_id(session, account.id))


def _told(session: Session, account: Account) -> AccountTold:
    return AccountTold(
        slug=account.slug,
        name=account.name,
        kind=account.kind,
        verified=account.verified,
        mode=account.mode,
        app_id=account.app_id,
        original_id=account.original_id,
        sandbox=account.sandbox_url is not None,
        stopped=account.stopped,
        stopped_reason=account.stopped_reason,
        opening_stated=account.opening_stated,
        refused_features=sorted(key for key, granted in account.rights.items() if not granted),
        brand=account.brand,
        limits=_limits(session, account),
    )


def _limits(session: Session, account: Account) -> Json:
    stored = session.execute(
        sa.select(accounts_table.c.limits).where(accounts_table.c.id == account.id)
    ).scalar_one()
    return limits_doc(stored)
