"""``/healthz`` alive, ``/readyz`` able to work, ``/metrics`` in Prometheus text."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import DBAPIError, TimeoutError

from bot import db, metrics
from bot.kept import RedisStore, StoreError
from bot.runtime import Runtime, runtime
from bot.tables.inbox import inbound
from bot.tables.jobs import jobs, kept
from bot.tables.outbox import outbox

blueprint = Blueprint("health", __name__)
LAST_TICK = "scheduler:last_tick"
TICK_SECONDS = 120  # a scheduler silent for longer than this is reported, and a job that waits so long for a worker


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process answers. Nothing else is asked, so that a busy database does not restart it."""
    return Response("ok\n", content_type="text/plain; charset=utf-8")


@blueprint.get("/readyz")
def readyz() -> tuple[Response, int]:
    """Database, broker, last tick, workers and rulebooks in order; 503 and the list of what is not."""
    checks = checked(runtime())
    ready = all(check["ok"] for check in checks.values())
    return jsonify(ready=ready, checks=checks), 200 if ready else 503


def checked(rt: Runtime) -> dict[str, dict[str, Any]]:
    """Each check by name: ``ok`` and, where it is not, a ``detail`` for people."""
    checks: dict[str, dict[str, Any]] = {}
    try:
        with db.reading(rt.engine) as session:
            last = session.execute(sa.select(kept.c.value).where(kept.c.key == LAST_TICK)).scalar()
            late = jobs_late(session, rt.clock())
        checks["database"] = {"ok": True}
        age = rt.clock().timestamp() - float(last) if last else None
        silent = age is None or age > TICK_SECONDS
        checks["scheduler"] = {"ok": not silent, "seconds_since_tick": age and round(age, 1)}
        if silent:
            checks["scheduler"]["detail"] = "no tick: is `qunfen scheduler` running?"
        checks["workers"] = {"ok": late is None}
        if late is not None:
            checks["workers"]["detail"] = f"a job is {late} s late: is `qunfen worker` running?"
    except (DBAPIError, TimeoutError) as problem:
        checks["database"] = {"ok": False, "detail": type(problem).__name__}
    if isinstance(rt.store, RedisStore):
        try:
            checks["redis"] = {"ok": True, "queued": rt.store.queued()}
        except StoreError as problem:
            # everything goes on, tokens by the database and jobs by a look into their table, but slower
            checks["redis"] = {"ok": False, "detail": type(problem).__name__}
    broken = rt.rulebooks.broken
    checks["rulebooks"] = {"ok": not broken}
    if broken:
        checks["rulebooks"]["detail"] = "; ".join(broken.values())
    return checks


def jobs_late(session: db.Session, now: datetime) -> int | None:
    """For how many seconds a job has been due that no worker took; None where it is less than TICK_SECONDS."""
    since = session.execute(
        sa.select(sa.func.min(jobs.c.run_at)).where(
            jobs.c.state == "waiting", jobs.c.run_at <= now - timedelta(seconds=TICK_SECONDS)
        )
    ).scalar()
    return None if since is None else round((now - since).total_seconds())


@blueprint.get("/metrics")
def metrics_text() -> Response:
    """What this process counted, and what the database holds right now."""
    rt = runtime()
    lines = [generate_latest(metrics.REGISTRY).decode()]
    try:
        held = _held(rt)
    except (DBAPIError, TimeoutError):
        held = None
    lines += [_gauge("qunfen_database_up", int(held is not None)), *(held or [])]
    lines.append(_gauge("qunfen_rulebooks_broken", len(rt.rulebooks.broken)))
    if isinstance(rt.store, RedisStore):
        lines += _broker(rt.store)
    return Response("".join(lines), content_type=CONTENT_TYPE_LATEST)


def _broker(store: RedisStore) -> list[str]:
    try:
        queued = store.queued()
    except StoreError:
        return [_gauge("qunfen_redis_up", 0)]
    return [_gauge("qunfen_redis_up", 1), _gauge("qunfen_broker_queued", queued)]


def _held(rt: Runtime) -> list[str]:
    lines = []
    with db.reading(rt.engine) as session:
        for name, column in (
            ("qunfen_outbox", outbox.c.status),
            ("qunfen_jobs", jobs.c.state),
            ("qunfen_inbox", inbound.c.status),
        ):
            lines.append(f"# TYPE {name} gauge\n")
            rows = session.execute(sa.select(column, sa.func.count()).group_by(column))
            lines += [f'{name}{{state="{state}"}} {count}\n' for state, count in rows]
    return lines


def _gauge(name: str, value: int) -> str:
    return f"# TYPE {name} gauge\n{name} {value}\n"
