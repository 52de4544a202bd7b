"""The control API under /sandbox/: what a tester does to the platform and its followers. docs/sandbox.md."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from bot.sandbox import accounts, personas
from bot.sandbox.acts import NotPossible
from bot.sandbox.platform import Platform
from bot.sandbox.world import month_at

Words = dict[str, Any]
Answer = dict[str, Any]
CONTROLS: dict[str, Callable[[Platform, Words], Answer]] = {}
Control = Callable[[Platform, Words], Answer]


def _on(name: str) -> Callable[[Control], Control]:
    def register(work: Control) -> Control:
        CONTROLS[name] = work
        return work

    return register


def handle(platform: Platform, name: str, method: str, words: Words) -> tuple[int, Answer]:
    """Run one control; HTTP status and answer."""
    work = CONTROLS.get(name)
    if work is None:
        return 404, {"error": f"no control {name}", "controls": sorted(CONTROLS)}
    try:
        return 200, work(platform, words)
    except NotPossible as error:
        return 409, {"error": str(error)}
    except KeyError as error:
        return 422, {"error": f"missing or unknown: {error.args[0]}"}
    except (ValueError, TypeError) as error:
        return 422, {"error": str(error)}


def _month(platform: Platform, words: Words) -> str:
    return str(words.get("month") or month_at(platform.now()))


def _public(account: accounts.Account) -> Answer:
    shown = asdict(account)
    for name in ("app_secret", "token", "aes_key"):
        shown.pop(name)
    return shown


@_on("about")
def about(platform: Platform, words: Words) -> Answer:
    """Whose sandbox this is: the file of its state, empty in memory."""
    return {"file": str(platform.store.all("PRAGMA database_list")[0]["file"])}


@_on("accounts")
def list_accounts(platform: Platform, words: Words) -> Answer:
    if "app_id" in words:
        given = {name: value for name, value in words.items() if name in accounts.COLUMNS}
        return _public(platform.add_account(**given))
    return {"accounts": [_public(each) for each in accounts.every(platform.store)]}


@_on("accounts/change")
def change_account(platform: Platform, words: Words) -> Answer:
    return _public(platform.change_account(words.pop("app_id"), **words))


@_on("accounts/verify")
def verify(platform: Platform, words: Words) -> Answer:
    return {"verified": platform.verify_url(words["app_id"])}


@_on("accounts/kill_tokens")
def kill_tokens(platform: Platform, words: Words) -> Answer:
    return {"killed": platform.kill_tokens(words["app_id"])}


@_on("followers")
def followers(platform: Platform, words: Words) -> Answer:
    """Create ``people``, or ``count`` of them named ``prefix`` and a number."""
    given = words.get("people")
    if given is None:
        common = {
            name: words[name]
            for name in ("source", "scene", "tags", "subscribe_time")
            if name in words
        }
        prefix, first = words.get("prefix", "o_sandbox_"), int(words.get("first", 1))
        width = 28 - len(prefix)
        given = [
            {"open_id": f"{prefix}{number:0{width}d}", **common}
            for number in range(first, first + int(words["count"]))
        ]
    return {"added": platform.add_followers(words["app_id"], given)}


@_on("followers/set")
def set_followers(platform: Platform, words: Words) -> Answer:
    platform.set_followers(words["app_id"], words["open_ids"], **words.get("values", {}))
    return {"set": len(words["open_ids"])}


@_on("followers/accept")
def accept(platform: Platform, words: Words) -> Answer:
    """``times`` more subscription notices of ``template_id`` are welcome."""
    times = int(words.get("times", 1))
    platform.accept_notices(words["app_id"], words["open_id"], words["template_id"], times)
    return {"accepted": times}


@_on("counts/set")
def set_counts(platform: Platform, words: Words) -> Answer:
    platform.set_counts(words["app_id"], _month(platform, words), words["counts"])
    return {"set": len(words["counts"])}


@_on("counts")
def counts(platform: Platform, words: Words) -> Answer:
    return {"counts": platform.mass_counts(words["app_id"], _month(platform, words))}


@_on("histogram")
def histogram(platform: Platform, words: Words) -> Answer:
    month = _month(platform, words)
    return {"month": month, "histogram": platform.histogram(words["app_id"], month)}


@_on("stats")
def stats(platform: Platform, words: Words) -> Answer:
    return platform.stats(words["app_id"])


@_on("refused")
def refused(platform: Platform, words: Words) -> Answer:
    return {"refused": platform.refused(words.get("app_id"))}


@_on("received")
def received(platform: Platform, words: Words) -> Answer:
    after = int(words.get("after_id", 0))
    return {"received": platform.received(words["app_id"], words["open_id"], after)}


@_on("act")
def act(platform: Platform, words: Words) -> Answer:
    """``act``: follow, scan, say, message, event, tap, view, leave, allow; the rest are its arguments."""
    name = words.pop("act")
    if name not in ("follow", "scan", "say", "message", "event", "tap", "view", "leave", "allow"):
        raise ValueError(f"no act {name}")
    result: Answer = getattr(platform, name)(words.pop("app_id"), words.pop("open_id"), **words)
    return result


@_on("site_send")
def site_send(platform: Platform, words: Words) -> Answer:
    return {
        "msg_id": platform.site_send(
            words["app_id"], words["text"], words.get("open_ids"), words.get("tag_id")
        )
    }


@_on("jobs")
def jobs(platform: Platform, words: Words) -> Answer:
    rows = platform.store.all(
        "SELECT id AS msg_id, audience, client_id, submitted_at, due_at, status, total, filtered, sent,"
        " errors FROM mass_jobs WHERE account_id = ? ORDER BY id",
        platform.account(words["app_id"]).id,
    )
    return {"jobs": [dict(row) for row in rows]}


@_on("pushes")
def latest_pushes(platform: Platform, words: Words) -> Answer:
    rows = platform.store.all(
        "SELECT id, open_id, kind, at, attempts, outcome, why FROM pushes WHERE account_id = ?"
        " ORDER BY id DESC LIMIT ?",
        platform.account(words["app_id"]).id,
        int(words.get("limit", 50)),
    )
    return {"pushes": [dict(row) for row in rows]}


@_on("clock")
def clock(platform: Platform, words: Words) -> Answer:
    """``now`` sets it, ``advance`` (seconds) moves it, ``frozen`` stops or starts it; nothing reads it."""
    if words.get("advance") is not None:
        platform.set_clock(platform.moment() + timedelta(seconds=float(words["advance"])))
    if words.get("now") is not None or words.get("frozen") is not None:
        platform.set_clock(words.get("now"), frozen=words.get("frozen"))
    stopped = platform.clock.frozen_at is not None
    return {"now": platform.moment().isoformat(), "frozen": stopped}


@_on("faults")
def faults(platform: Platform, words: Words) -> Answer:
    if "kind" in words:
        return {"id": platform.fault(words.pop("path"), words.pop("kind"), **words)}
    rows = platform.store.all("SELECT * FROM faults ORDER BY id")
    return {"faults": [dict(row) for row in rows]}


@_on("faults/clear")
def clear_faults(platform: Platform, words: Words) -> Answer:
    return {"cleared": platform.clear_faults(words.get("path"))}


@_on("run_due")
def run_due(platform: Platform, words: Words) -> Answer:
    return {"done": platform.run_due()}


@_on("live")
def live(platform: Platform, words: Words) -> Answer:
    return {"acts": personas.live(platform, words["app_id"], float(words.get("seconds", 60)))}
