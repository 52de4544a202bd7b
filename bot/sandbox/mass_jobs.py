"""Mass jobs after the call: who gets it, the counts, the finish event. Source: docs/wechat-limits.md 2 and 8."""

import json
from typing import Any

from bot.sandbox import faults, media
from bot.sandbox.accounts import Account, by_id
from bot.sandbox.limits import MASS_FINISH_SECONDS, MASS_PER_MONTH
from bot.sandbox.pushes import push
from bot.sandbox.state import Row
from bot.sandbox.world import World, month_at

MSG_ID_START = 3_147_483_649  # beyond 32 bits, as real ones are
BATCH_OF_EVENTS = 50


def create(
    world: World, account: Account, audience: str, body: dict[str, Any], client_id: str | None
) -> int:
    """A job that will be due after the account's delay; its targets are added by the caller."""
    now = world.now()
    due = now + float(account.options.get("mass_seconds", MASS_FINISH_SECONDS))
    if body.get("type") == "mpnews":
        media.end(world, body["media_id"], due)  # a draft that was sent leaves the box
    number = world.store.next_id("msg_id", MSG_ID_START)
    world.store.run(
        "INSERT INTO mass_jobs (id, account_id, audience, body, client_id, submitted_at, due_at, status)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, 'SENDING')",
        number,
        account.id,
        audience,
        json.dumps(body, ensure_ascii=False),
        client_id,
        now,
        due,
    )
    return number


def target_open_ids(world: World, job_id: int, open_ids: list[str]) -> None:
    world.store.many(
        "INSERT OR IGNORE INTO mass_targets VALUES (?, ?)", ((job_id, each) for each in open_ids)
    )


def target_tag(world: World, account: Account, job_id: int, tag_id: int) -> None:
    world.store.run(
        "INSERT INTO mass_targets SELECT ?, open_id FROM follower_tags WHERE account_id = ? AND tag_id = ?",
        job_id,
        account.id,
        tag_id,
    )


def target_all(world: World, account: Account, job_id: int) -> None:
    world.store.run(
        "INSERT INTO mass_targets SELECT ?, open_id FROM followers WHERE account_id = ? AND subscribed",
        job_id,
        account.id,
    )


def finish(world: World, job: Row) -> None:
    """Deliver a job: filter its targets, write every chat, count the month, plan the event.

    Filtered out are those who left, refuse messages, are on the blacklist, or (service accounts)
    already got 4 in the month of the delivery.
    """
    account = by_id(world.store, job["account_id"])
    at = job["due_at"]
    month = month_at(at)
    cap = MASS_PER_MONTH if account.kind == "service" else 1_000_000
    fault = faults.take(
        world.store, faults.FINISH_EVENT, account.app_id, world.chance, {"mass_errors"}
    )
    failing = int(fault.errcode) if fault else int(account.options.get("mass_errors", 0))
    with world.store.writing():
        total = world.store.value("SELECT count(*) FROM mass_targets WHERE job_id = ?", job["id"])
        fitting = (
            " FROM mass_targets t JOIN followers f ON f.account_id = ? AND f.open_id = t.open_id"
            " LEFT JOIN mass_counts c ON c.account_id = f.account_id AND c.month = ?"
            " AND c.open_id = f.open_id WHERE t.job_id = ? AND f.subscribed AND NOT f.refuses"
            " AND NOT f.blacklisted AND coalesce(c.count, 0) < ?"
        )
        values = (account.id, month, job["id"], cap)
        filtered = world.store.value(f"SELECT count(*){fitting}", *values)
        errors = min(max(failing, 0), filtered)
        world.store.run(
            "INSERT INTO received (account_id, open_id, way, body, at, month, job_id)"
            f" SELECT f.account_id, f.open_id, 'mass', NULL, ?, ?, ?{fitting}"
            " ORDER BY f.id LIMIT ?",
            at,
            month,
            job["id"],
            *values,
            filtered - errors,
        )
        world.store.run(
            "INSERT INTO mass_counts SELECT account_id, month, open_id, 1 FROM received"
            " WHERE job_id = ? ON CONFLICT DO UPDATE SET count = count + 1",
            job["id"],
        )
        world.store.run(
            "UPDATE mass_jobs SET status = 'SEND_SUCCESS', total = ?, filtered = ?, sent = ?, errors = ?"
            " WHERE id = ?",
            total,
            filtered,
            filtered - errors,
            errors,
            job["id"],
        )
        fields = {
            "ToUserName": account.original_id,
            "FromUserName": "oPlatform_mass_sender",
            "CreateTime": int(at),
            "MsgType": "event",
            "Event": faults.FINISH_EVENT,
            "MsgID": job["id"],
            "Status": "send success",
            "TotalCount": total,
            "FilterCount": filtered,
            "SentCount": filtered - errors,
            "ErrorCount": errors,
        }
        _plan_finish(world, account, at, fields)


def _plan_finish(world: World, account: Account, at: float, fields: dict[str, Any]) -> None:
    fault = faults.take(
        world.store, faults.FINISH_EVENT, account.app_id, world.chance, faults.FINISH_KINDS
    )
    kind = fault.kind if fault else ""
    if kind == "finish_lose":
        return
    due = at + float(account.options.get("event_seconds", 0))
    if fault and kind == "finish_delay":
        due += fault.seconds
    for _ in range(2 if kind == "finish_duplicate" else 1):
        plan_event(world, account, due, fields)


def plan_event(world: World, account: Account, due: float, fields: dict[str, Any]) -> None:
    """Push an event at its time, by ``run_due``."""
    world.store.run(
        "INSERT INTO due_events (account_id, due_at, open_id, fields) VALUES (?, ?, ?, ?)",
        account.id,
        due,
        fields["FromUserName"],
        json.dumps(fields, ensure_ascii=False),
    )


def run_due(world: World) -> int:
    """Finish the jobs and push the events whose time has come; how many of both."""
    if not world.running.acquire(timeout=30):
        return 0
    try:
        done = 0
        now = world.now()
        for job in world.store.all(
            "SELECT * FROM mass_jobs WHERE status = 'SENDING' AND due_at <= ? ORDER BY due_at, id",
            now,
        ):
            finish(world, job)
            done += 1
        for row in world.store.all(
            "SELECT * FROM due_events WHERE due_at <= ? ORDER BY due_at, id LIMIT ?",
            now,
            BATCH_OF_EVENTS,
        ):
            # deleted after the push: a platform killed in between repeats it, it never forgets it
            push(world, by_id(world.store, row["account_id"]), json.loads(row["fields"]))
            world.store.run("DELETE FROM due_events WHERE id = ?", row["id"])
            done += 1
        return done
    finally:
        world.running.release()


def create_preview_id(world: World) -> int:
    """A msg_id for a preview; no job stands behind it."""
    return world.store.next_id("msg_id", MSG_ID_START)


def from_the_site(
    world: World,
    account: Account,
    body: dict[str, Any],
    open_ids: list[str] | None,
    tag_id: int | None,
) -> int:
    """A send made by hand on the platform's own site: it counts like any other, and its finish event
    carries an id the product never saw. To all unless OpenIDs or a tag are given."""
    with world.store.writing():
        number = create(world, account, "site", body, None)
        if open_ids is not None:
            target_open_ids(world, number, open_ids)
        elif tag_id is not None:
            target_tag(world, account, number, tag_id)
        else:
            target_all(world, account, number)
    return number
