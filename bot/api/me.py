"""Who the token is, and which accounts it reaches."""

from bot import accounts
from bot.api.cursors import Listing, slice_of
from bot.api.frame import Area, Call, Id, Page, Told, When
from bot.db import Session

area = Area("me", "The token itself · 密钥自己", under="")


class TokenTold(Told):
    id: Id
    name: str
    scopes: list[str]
    accounts: list[str]
    created_by: str
    created_at: When
    expires_at: When | None


class AccountBrief(Told):
    slug: str
    name: str
    kind: str
    stopped: bool


@area("GET", "/me", None)
def me(call: Call, session: Session) -> TokenTold:
    """The token that asks: its scopes as they hold right now, and its accounts."""
    token = call.bearer.token
    return TokenTold(
        id=token.id,
        name=token.name,
        scopes=sorted(call.bearer.scopes),
        accounts=[account.slug for account in _seen(call, session)],
        created_by=token.created_by,
        created_at=token.created_at,
        expires_at=token.expires_at,
    )


@area("GET", "/accounts", None)
def accounts_list(call: Call, session: Session, query: Page) -> Listing[AccountBrief]:
    """The official accounts this token reaches."""

    def told(account: accounts.Account) -> AccountBrief:
        return AccountBrief(
            slug=account.slug, name=account.name, kind=account.kind, stopped=account.stopped
        )

    return slice_of(call, query, _seen(call, session), told)


def _seen(call: Call, session: Session) -> list[accounts.Account]:
    return [one for one in accounts.every(session) if call.bearer.sees(one.id)]
