"""access_token: two families, their lives, and the check on each call. Source: docs/wechat-limits.md 4."""

from bot.sandbox.accounts import Account, by_id
from bot.sandbox.limits import STABLE_RENEW_SECONDS, TOKEN_OVERLAP_SECONDS, TOKEN_SECONDS
from bot.sandbox.refusal import Refusal
from bot.sandbox.world import World, secret

TOKEN_CHARACTERS = 136


def _make(world: World, account: Account, family: str) -> tuple[str, int]:
    now = world.now()
    token = f"{world.store.next_id('token', 10)}_{secret(TOKEN_CHARACTERS)}"
    world.store.run(
        "INSERT INTO tokens (token, account_id, family, made_at, expires_at) VALUES (?, ?, ?, ?, ?)",
        token,
        account.id,
        family,
        now,
        now + TOKEN_SECONDS,
    )
    world.store.run("DELETE FROM tokens WHERE expires_at < ?", now - 86_400)
    return token, TOKEN_SECONDS


def fresh(world: World, account: Account) -> tuple[str, int]:
    """/cgi-bin/token: always a new one; the old one of this family lives on 5 minutes at most."""
    world.store.run(
        "UPDATE tokens SET expires_at = min(expires_at, ?), killed = 1"
        " WHERE account_id = ? AND family = 'token' AND NOT killed",
        world.now() + TOKEN_OVERLAP_SECONDS,
        account.id,
    )
    return _make(world, account, "token")


def stable(world: World, account: Account) -> tuple[str, int]:
    """stable_token in normal mode: the same one until 5 minutes before its end."""
    row = world.store.one(
        "SELECT token, expires_at FROM tokens WHERE account_id = ? AND family = 'stable'"
        " AND NOT killed AND expires_at > ? ORDER BY expires_at DESC LIMIT 1",
        account.id,
        world.now() + STABLE_RENEW_SECONDS,
    )
    if row is not None:
        return row["token"], int(row["expires_at"] - world.now())
    return _make(world, account, "stable")


def forced(world: World, account: Account) -> tuple[str, int]:
    """stable_token with force_refresh: a new one, and the former dies at once."""
    kill(world, account, "stable")
    return _make(world, account, "stable")


def kill(world: World, account: Account, family: str | None = None) -> int:
    """Make the tokens of an account invalid now (40001), as another program's refresh would."""
    return world.store.run(
        "UPDATE tokens SET killed = 1, expires_at = 0 WHERE account_id = ? AND coalesce(?, family) = family",
        account.id,
        family,
    )


def peek(world: World, token: str) -> Account | None:
    """Whose token this is or was, without judging it."""
    found = (
        world.store.value("SELECT account_id FROM tokens WHERE token = ?", token) if token else None
    )
    return None if found is None else by_id(world.store, found)


def account_of(world: World, token: str) -> Account:
    """The account a token opens.

    Raises:
        Refusal: 41001 missing, 42001 expired, 40001 unknown or replaced.
    """
    if not token:
        raise Refusal(41001)
    row = world.store.one("SELECT * FROM tokens WHERE token = ?", token)
    if row is None or (row["killed"] and row["expires_at"] <= world.now()):
        raise Refusal(40001)
    if row["expires_at"] <= world.now():
        raise Refusal(42001)
    return by_id(world.store, row["account_id"])
