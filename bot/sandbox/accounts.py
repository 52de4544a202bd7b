"""The official accounts that live on this platform."""

import json
from dataclasses import dataclass
from typing import Any

from bot.sandbox.limits import CAPABILITIES
from bot.sandbox.state import Row, Store

KINDS = ("service", "subscription")
MODES = ("plain", "compatible", "safe")
COLUMNS = (
    "app_id",
    "app_secret",
    "token",
    "aes_key",
    "original_id",
    "kind",
    "verified",
    "callback_url",
    "mode",
    "options",
)


@dataclass(frozen=True)
class Account:
    """One account. Options: mass_seconds, mass_errors, event_seconds, agreement (False: 48003),
    oauth_domain, quotas {api: calls a day}, capabilities {name: bool}."""

    id: int
    app_id: str
    app_secret: str
    token: str
    aes_key: str | None
    original_id: str
    kind: str
    verified: bool
    callback_url: str | None
    mode: str
    options: dict[str, Any]

    def may(self, capability: str) -> bool:
        """Whether this kind of account has the right, or the operator of the test said otherwise."""
        said = self.options.get("capabilities", {}).get(capability)
        if said is not None:
            return bool(said)
        return capability in CAPABILITIES[self.kind, self.verified]


def _read(row: Row) -> Account:
    return Account(
        id=row["id"],
        app_id=row["app_id"],
        app_secret=row["app_secret"],
        token=row["token"],
        aes_key=row["aes_key"],
        original_id=row["original_id"],
        kind=row["kind"],
        verified=bool(row["verified"]),
        callback_url=row["callback_url"],
        mode=row["mode"],
        options=json.loads(row["options"]),
    )


def add(store: Store, values: dict[str, Any]) -> Account:
    """Add an account, or change the one with this AppID.

    Raises:
        ValueError: a kind, mode or key that the console would not take.
    """
    if values["kind"] not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}")
    if values["mode"] not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}")
    if values["mode"] != "plain" and len(values["aes_key"] or "") != 43:
        raise ValueError("aes_key must have 43 characters")  # Source: docs/wechat-limits.md 1
    names = [*COLUMNS]
    update = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
    store.run(
        f"INSERT INTO accounts ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
        f" ON CONFLICT (app_id) DO UPDATE SET {update}",
        *(values[name] for name in names[:-1]),
        json.dumps(values.get("options") or {}, ensure_ascii=False),
    )
    return get(store, values["app_id"])


def get(store: Store, app_id: str) -> Account:
    """The account with this AppID.

    Raises:
        KeyError: there is none.
    """
    row = store.one("SELECT * FROM accounts WHERE app_id = ?", app_id)
    if row is None:
        raise KeyError(f"no account {app_id}")
    return _read(row)


def by_id(store: Store, account_id: int) -> Account:
    row = store.one("SELECT * FROM accounts WHERE id = ?", account_id)
    if row is None:
        raise KeyError(f"no account {account_id}")
    return _read(row)


def find(store: Store, app_id: str) -> Account | None:
    row = store.one("SELECT * FROM accounts WHERE app_id = ?", app_id)
    return None if row is None else _read(row)


def every(store: Store) -> list[Account]:
    return [_read(row) for row in store.all("SELECT * FROM accounts ORDER BY id")]


def change(store: Store, app_id: str, **values: Any) -> Account:
    """Change single values; ``options`` are merged into those already there."""
    account = get(store, app_id)
    if "options" in values:
        merged = account.options | values["options"]
        values["options"] = json.dumps(merged, ensure_ascii=False)
    for name, value in values.items():
        if name not in COLUMNS[1:]:
            raise ValueError(f"{name} cannot be changed")
        store.run(f"UPDATE accounts SET {name} = ? WHERE id = ?", value, account.id)  # noqa: S608
    return get(store, app_id)
