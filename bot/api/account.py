"""One official account: what it is, and the emergency stop of everything that leaves it."""

from pydantic import Field

from bot import accounts
from bot.accounts import Account
from bot.api.frame import Area, Asked, Call, Told
from bot.db import Session

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


class Reason(Asked):
    reason: str = Field(min_length=1, max_length=200)


@area("GET", "", "home.read")
def account_get(call: Call) -> AccountTold:
    """The account as it is set up. No secrets."""
    return _told(call.account)


@area("POST", "/stop", "account.write")
def account_stop(call: Call, session: Session, body: Reason) -> AccountTold:
    """Stop every send at once. Replies to messages go on."""
    account = call.account
    accounts.stop(session, account.id, body.reason, call.now)
    call.audit(session, "account.stop", f"account:{account.slug}", after={"reason": body.reason})
    return _told(accounts.by_id(session, account.id))


@area("POST", "/go", "account.write")
def account_go(call: Call, session: Session) -> AccountTold:
    """End an emergency stop."""
    account = call.account
    accounts.go(session, account.id)
    before = {"reason": account.stopped_reason} if account.stopped else None
    call.audit(session, "account.go", f"account:{account.slug}", before=before)
    return _told(accounts.by_id(session, account.id))


def _told(account: Account) -> AccountTold:
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
    )
