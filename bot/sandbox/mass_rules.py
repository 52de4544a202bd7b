"""When a mass send is refused for how often or how again it comes. Source: docs/wechat-limits.md 8."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from bot.clock import day_of
from bot.sandbox.accounts import Account
from bot.sandbox.calls import Json
from bot.sandbox.limits import (
    CLIENT_MSG_ID_BYTES,
    CLIENT_MSG_ID_RETRY_SECONDS,
    CLIENT_MSG_ID_SECONDS,
    SUBSCRIPTION_MASS_PER_DAY,
    TO_ALL_PER_DAY,
    TO_ALL_PER_MONTH,
)
from bot.sandbox.refusal import Refusal
from bot.sandbox.world import World, month_at


def client_id(audience: Any, body: Json) -> str:
    """The caller's clientmsgid, or the digest of audience and content the platform makes."""
    given = body.get("clientmsgid")
    if given is None or given == "":
        text = json.dumps([audience, {k: body[k] for k in body if k != "touser"}], sort_keys=True)
        return "digest:" + hashlib.sha256(text.encode()).hexdigest()
    if not isinstance(given, str) or len(given.encode()) > CLIENT_MSG_ID_BYTES:
        raise Refusal(45067)
    return given


def once(world: World, account: Account, client_id: str) -> None:
    """Refuse what was already submitted in the last 24 hours.

    Raises:
        Refusal: 45065 with the old id; 45066 when its answer was lost less than a minute ago.
    """
    now = world.now()
    row = world.store.one(
        "SELECT * FROM client_ids WHERE account_id = ? AND client_id = ? AND at > ?",
        account.id,
        client_id,
        now - CLIENT_MSG_ID_SECONDS,
    )
    if row is None:
        return
    if row["lost"] and now - row["tried_at"] < CLIENT_MSG_ID_RETRY_SECONDS:
        raise Refusal(45066)
    raise Refusal(45065, msg_id=row["job_id"])


def _sent_since(world: World, account: Account, audiences: tuple[str, ...]) -> tuple[int, int]:
    """Submitted sends of these audiences today and this month."""
    marks = ", ".join("?" * len(audiences))
    rows = world.store.all(
        "SELECT submitted_at FROM mass_jobs WHERE account_id = ? AND submitted_at > ?"  # noqa: S608
        f" AND audience IN ({marks})",
        account.id,
        world.now() - 32 * 86_400,
        *audiences,
    )
    today, month = day_of(world.moment()), month_at(world.now())
    times = [row["submitted_at"] for row in rows]
    return (
        sum(day_of(datetime.fromtimestamp(each, UTC)) == today for each in times),
        sum(month_at(each) == month for each in times),
    )


def quota(world: World, account: Account, to_all: bool) -> None:
    """Raises: Refusal: 45028. Source: docs/wechat-limits.md 8; where the guides differ, both rules hold."""
    if account.kind == "subscription":
        if _sent_since(world, account, ("tag", "all"))[0] >= SUBSCRIPTION_MASS_PER_DAY:
            raise Refusal(45028)
        if to_all and _sent_since(world, account, ("site",))[0]:
            raise Refusal(45028)
        return
    if to_all:
        day, month = _sent_since(world, account, ("all", "site"))
        if day >= TO_ALL_PER_DAY or month >= TO_ALL_PER_MONTH:
            raise Refusal(45028)
