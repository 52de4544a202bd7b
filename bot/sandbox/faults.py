"""Failures on demand: what goes wrong on which path, how often."""

import random
from collections.abc import Collection
from dataclasses import dataclass

from bot.sandbox.state import Store

# errcode: refuse with it; http_500, html: answer so; slow: answer after ``seconds``; timeout: no answer for
# ``seconds``, then hang up; drop: hang up. finish_*: what happens to MASSSENDJOBFINISH; mass_errors: that
# many followers of a job fail in delivery; result_*: what a notice's result event says, by its name as path
KINDS = {
    "errcode",
    "http_500",
    "html",
    "slow",
    "timeout",
    "drop",
    "finish_lose",
    "finish_duplicate",
    "finish_delay",
    "mass_errors",
    "result_blocked",
    "result_failed",
}
WORK_IS_DONE = {"slow", "drop"}  # unless said otherwise these strike after the work
FINISH_KINDS = {"finish_lose", "finish_duplicate", "finish_delay"}
FINISH_EVENT = "MASSSENDJOBFINISH"
RESULT_KINDS = {"result_blocked", "result_failed"}


@dataclass(frozen=True)
class Fault:
    kind: str
    errcode: int
    seconds: float
    after: bool  # the work is done before the fault strikes: the answer is lost, not the effect


def add(
    store: Store,
    path: str,
    kind: str,
    times: int | None,
    *,
    app_id: str | None,
    errcode: int | None,
    seconds: float | None,
    after: bool | None,
    probability: float,
) -> int:
    """Arm a fault; ``path`` may end in ``*``; ``times`` None means until cleared. Its id."""
    if kind not in KINDS:
        raise ValueError(f"unknown fault {kind!r}; one of {', '.join(sorted(KINDS))}")
    done = kind in WORK_IS_DONE if after is None else after
    return store.insert(
        "INSERT INTO faults (app_id, path, kind, errcode, seconds, after, times, probability)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        app_id,
        path,
        kind,
        errcode,
        seconds,
        done,
        times,
        probability,
    )


def take(
    store: Store,
    path: str,
    app_id: str | None,
    chance: random.Random,
    kinds: Collection[str] = KINDS,
) -> Fault | None:
    """The fault that strikes this call, if any; it is used up by one."""
    if store.value("SELECT 1 FROM faults LIMIT 1") is None:
        return None
    with store.writing():
        for row in store.all("SELECT * FROM faults ORDER BY id"):
            pattern = row["path"]
            fits = path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern
            if not fits or row["app_id"] not in (None, app_id) or row["kind"] not in kinds:
                continue
            if chance.random() >= row["probability"]:
                continue
            if row["times"] is not None:
                store.run("UPDATE faults SET times = times - 1 WHERE id = ?", row["id"])
                store.run("DELETE FROM faults WHERE id = ? AND times <= 0", row["id"])
            return Fault(
                row["kind"],
                -1 if row["errcode"] is None else row["errcode"],
                15.0 if row["seconds"] is None else row["seconds"],
                bool(row["after"]),
            )
    return None


def clear(store: Store, path: str | None = None) -> int:
    """Disarm the faults of a path, or all; how many."""
    if path is None:
        return store.run("DELETE FROM faults")
    return store.run("DELETE FROM faults WHERE path = ?", path)
