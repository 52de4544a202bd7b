"""Followers in bulk, their state and their inboxes: what a control call or a test sets and reads."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from bot.sandbox import api_tags, windows
from bot.sandbox.accounts import Account
from bot.sandbox.state import Row
from bot.sandbox.world import World, month_at

SETTABLE = (
    "refuses",
    "blacklisted",
    "unionid",
    "remark",
    "subscribe_time",
    "subscribe_scene",
    "scene",
)


def add_many(world: World, account: Account, people: Iterable[Mapping[str, Any]]) -> int:
    """Followers who came before the account was connected: no push is made.

    Each is ``{"open_id", "subscribe_time"? (unix seconds), "source"? (ADD_SCENE_…), "scene"?,
    "tags"? [names], "unionid"?, "refuses"?, "wrote_at"? (unix seconds: their last message opened a window then),
    "used"? (messages of that window already used), "counts"? {month: already received}}``. Existing ones stay.
    """
    now = world.now()
    given = [dict(person) for person in people]
    with world.store.writing():
        world.store.many(
            "INSERT OR IGNORE INTO followers (account_id, open_id, subscribe_time, subscribe_scene, scene,"
            " unionid, refuses) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    account.id,
                    person["open_id"],
                    person.get("subscribe_time", now),
                    person.get("source")
                    or ("ADD_SCENE_QR_CODE" if person.get("scene") else "ADD_SCENE_SEARCH"),
                    person.get("scene") or "",
                    person.get("unionid"),
                    bool(person.get("refuses")),
                )
                for person in given
            ),
        )
        for person in given:
            if person.get("wrote_at"):
                windows.open_long(
                    world.store,
                    account.id,
                    person["open_id"],
                    float(person["wrote_at"]),
                    used=int(person.get("used") or 0),
                )
        by_tag: dict[str, list[str]] = {}
        for person in given:
            for name in person.get("tags") or ():
                by_tag.setdefault(name, []).append(person["open_id"])
        for name, open_ids in by_tag.items():
            api_tags.put_on(world, account.id, _tag_named(world, account, name), open_ids)
        counts = (
            (account.id, month, person["open_id"], count)
            for person in given
            for month, count in (person.get("counts") or {}).items()
        )
        _set_counts(world, counts)
    return len(given)


def _tag_named(world: World, account: Account, name: str) -> int:
    found = world.store.value(
        "SELECT id FROM tags WHERE account_id = ? AND name = ?", account.id, name
    )
    return api_tags.make(world, account.id, name) if found is None else int(found)


def _set_counts(world: World, rows: Iterable[tuple[int, str, str, int]]) -> None:
    world.store.many(
        "INSERT INTO mass_counts VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = excluded.count",
        rows,
    )


def set_counts(world: World, account: Account, month: str, counts: Mapping[str, int]) -> None:
    """How many mass messages followers already got in a Shanghai month."""
    with world.store.writing():
        _set_counts(world, ((account.id, month, who, count) for who, count in counts.items()))


def set_state(
    world: World, account: Account, open_ids: Iterable[str], values: Mapping[str, Any]
) -> None:
    """Set columns of many followers at once.

    Raises:
        ValueError: a name that is not settable.
    """
    open_ids = list(open_ids)
    with world.store.writing():
        for name, value in values.items():
            if name not in SETTABLE:
                raise ValueError(f"{name} cannot be set; one of {', '.join(SETTABLE)}")
            world.store.many(
                f"UPDATE followers SET {name} = ? WHERE account_id = ? AND open_id = ?",  # noqa: S608
                ((value, account.id, open_id) for open_id in open_ids),
            )


def _item(row: Row, jobs: dict[int, dict[str, Any]]) -> dict[str, Any]:
    body = json.loads(row["body"]) if row["body"] else jobs[row["job_id"]]
    return {
        "id": row["id"],
        "way": row["way"],
        "at": datetime.fromtimestamp(row["at"], UTC).isoformat(),
        "month": row["month"],
        "msg_id": row["job_id"],
        "content": body,
    }


def received(
    world: World, account: Account, open_id: str, after_id: int = 0
) -> list[dict[str, Any]]:
    """What a follower got, oldest first. ``way``: reply, customer_service, mass, preview, template,
    subscription, system; ``msg_id`` is the mass job."""
    rows = world.store.all(
        "SELECT * FROM received WHERE account_id = ? AND open_id = ? AND id > ? ORDER BY id",
        account.id,
        open_id,
        after_id,
    )
    jobs = {
        job_id: json.loads(world.store.value("SELECT body FROM mass_jobs WHERE id = ?", job_id))
        for job_id in {row["job_id"] for row in rows if row["job_id"] is not None}
    }
    return [_item(row, jobs) for row in rows]


def mass_count(world: World, account: Account, open_id: str, month: str) -> int:
    """Mass messages a follower got in a Shanghai month, given ones included."""
    return int(
        world.store.value(
            "SELECT count FROM mass_counts WHERE account_id = ? AND month = ? AND open_id = ?",
            account.id,
            month,
            open_id,
        )
        or 0
    )


def counts(world: World, account: Account, month: str) -> dict[str, int]:
    """Every follower with at least one mass message in the month."""
    rows = world.store.all(
        "SELECT open_id, count FROM mass_counts WHERE account_id = ? AND month = ? AND count > 0",
        account.id,
        month,
    )
    return {row["open_id"]: row["count"] for row in rows}


def histogram(world: World, account: Account, month: str) -> dict[int, int]:
    """How many present followers got 0, 1, 2 … mass messages in the month."""
    rows = world.store.all(
        "SELECT coalesce(c.count, 0) AS got, count(*) AS people FROM followers f LEFT JOIN mass_counts c"
        " ON c.account_id = f.account_id AND c.month = ? AND c.open_id = f.open_id"
        " WHERE f.account_id = ? AND f.subscribed GROUP BY 1 ORDER BY 1",
        month,
        account.id,
    )
    return {row["got"]: row["people"] for row in rows}


def stats(world: World, account: Account) -> dict[str, Any]:
    """Numbers of an account for a look at a glance."""
    one = world.store.value
    month = month_at(world.now())
    ways = world.store.all(
        "SELECT way, count(*) AS number FROM received WHERE account_id = ? GROUP BY way", account.id
    )
    outcomes = world.store.all(
        "SELECT outcome, count(*) AS number FROM pushes WHERE account_id = ? GROUP BY outcome",
        account.id,
    )
    jobs = world.store.all(
        "SELECT status, count(*) AS number FROM mass_jobs WHERE account_id = ? GROUP BY status",
        account.id,
    )
    return {
        "followers": one(
            "SELECT count(*) FROM followers WHERE account_id = ? AND subscribed", account.id
        ),
        "left": one(
            "SELECT count(*) FROM followers WHERE account_id = ? AND NOT subscribed", account.id
        ),
        "received": {row["way"]: row["number"] for row in ways},
        "latest_pushes": {row["outcome"]: row["number"] for row in outcomes},
        "mass_jobs": {row["status"]: row["number"] for row in jobs},
        "month": month,
        "month_histogram": histogram(world, account, month),
    }


def refused(world: World, account: Account | None) -> list[dict[str, Any]]:
    """Calls the platform refused, by path and errcode; account None: before a token was known."""
    rows = world.store.all(
        "SELECT path, errcode, count FROM refused WHERE account_id = ? ORDER BY path, errcode",
        account.id if account else 0,
    )
    return [dict(row) for row in rows]
