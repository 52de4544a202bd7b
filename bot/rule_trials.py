"""Dry runs (试运行): a draft rulebook decides stored pushes again, and what would have changed is kept to look at.

Nothing is sent, tagged or written to a follower. Pushes are read by id downwards, a page at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import clock, db, jobs
from bot.db import Session
from bot.errors import Invalid
from bot.rulebook import EMPTY, head, snapshot
from bot.tables.followers import followers
from bot.tables.inbox import inbound
from bot.tables.jobs import jobs as jobs_table
from bot.tables.rulebooks import dry_run_changes, dry_runs
from rules import dryrun
from rules.dryrun import Change, Tally
from rules.engine import decide
from rules.facts import Facts
from rules.model import Rulebook, load

JOB = "dry_run"
RUNNING, DONE, FAILED = "running", "done", "failed"
PAGE = 2_000  # pushes in one reading transaction
STEP_SECONDS = 20.0  # of one job step
MOST_PUSHES = 1_000_000
MOST_CHANGES = 1_000  # that are stored to be looked at; the counts are of all
KEPT_RUNS = 20  # an account
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """A dry run as an operator sees it. ``job_id`` is the job that does it."""

    id: int
    against: int
    state: str
    last: int
    done: int
    total: int
    summary: Json
    error: str
    created_by: str
    created_at: datetime
    finished_at: datetime | None
    job_id: int | None


@dataclass(frozen=True, slots=True)
class Stored:
    """One change of a dry run; ``change`` is empty where the follower was erased since."""

    push_id: int
    follower_id: int | None
    open_id: str | None
    change: Json


def begin(
    session: Session,
    account_id: int,
    body: Mapping[str, Any],
    last: int,
    *,
    by: str,
    now: datetime,
) -> int:
    """Write a dry run of ``body`` over the last ``last`` stored pushes, and the job that does it; its id.

    Raises:
        Invalid: the body does not load, or ``last`` is no number from 1 to 1,000,000.
    """
    if not 1 <= last <= MOST_PUSHES:
        raise Invalid("last", "must be a number from 1 to 1,000,000")
    load(body)
    newest = session.execute(
        sa.select(sa.func.max(inbound.c.id)).where(inbound.c.account_id == account_id)
    ).scalar()
    run_id = session.execute(
        sa.insert(dry_runs)
        .values(
            account_id=account_id,
            body=dict(body),
            against=head(session, account_id),
            state=RUNNING,
            last=last,
            from_id=newest,
            done=0,
            total=_stored(session, account_id, last),
            created_by=by,
            created_at=now,
        )
        .returning(dry_runs.c.id)
    ).scalar_one()
    _drop_old(session, account_id)
    arguments = {"dry_run_id": run_id}
    jobs.enqueue(
        session, JOB, arguments, now=now, unique_key=f"{JOB}:{run_id}", account_id=account_id
    )
    return int(run_id)


def step(
    engine: Engine, account_id: int, job_id: int, arguments: Mapping[str, Any], now: datetime
) -> Json | None:
    """Decide pushes for up to 20 seconds; the arguments of the next step, or None at the end.

    What a step found is in its arguments, so that one that was cut off is done again from its beginning.
    """
    run_id = int(arguments["dry_run_id"])
    with db.writing(engine) as session:
        run = _row(session, account_id, run_id)
        if run is None or run.state != RUNNING:
            return None
        before = int(arguments.get("before") or (run.from_id or 0) + 1)
        session.execute(
            sa.delete(dry_run_changes).where(
                dry_run_changes.c.dry_run_id == run_id, dry_run_changes.c.push_id < before
            )
        )
    try:
        old, new = _rulebook(engine, account_id, run.against), load(run.body)
    except Invalid as problem:
        _fail(engine, run_id, str(problem), now)
        return None
    tally, stored = Tally(), int(arguments.get("stored", 0))
    if "summary" in arguments:
        tally = dryrun.of_json(arguments["summary"], arguments["people"])
    until = clock.tick_seconds() + STEP_SECONDS
    more = True
    while more:
        page, more = _page(engine, account_id, before, min(PAGE, run.last - tally.pushes))
        if not page:
            break
        before = page[-1][0]
        changes = _changes(old, new, page, tally)
        kept = changes[: MOST_CHANGES - stored]
        stored += len(kept)
        _keep(engine, account_id, run_id, job_id, kept, tally, run.total)
        more = more and tally.pushes < run.last
        if clock.tick_seconds() >= until:
            break
    if not more:
        _finish(engine, run_id, tally, now)
        return None
    return {
        "dry_run_id": run_id,
        "before": before,
        "stored": stored,
        "summary": tally.to_json(),
        "people": sorted(tally.people),
    }


def compare_now(
    engine: Engine, account_id: int, body: Mapping[str, Any], last: int, kept: int
) -> tuple[Tally, list[tuple[int, Change]]]:
    """The same at once, without writing anything: the counts, and up to ``kept`` changes with their push ids.

    Raises:
        Invalid: the body does not load.
    """
    with db.reading(engine) as session:
        old = _rulebook(engine, account_id, head(session, account_id))
    new, tally = load(body), Tally()
    found: list[tuple[int, Change]] = []
    for page in pages(engine, account_id, last):
        changes = _changes(old, new, page, tally)
        found += changes[: kept - len(found)]
    return tally, found


def pages(engine: Engine, account_id: int, last: int) -> Iterator[list[tuple[int, Facts]]]:
    """The last ``last`` pushes the rules decided, newest first: pages of (push id, facts)."""
    before, left, more = 2**62, last, True
    while left > 0 and more:
        page, more = _page(engine, account_id, before, min(PAGE, left))
        if page:
            before = page[-1][0]
            left -= len(page)
            yield page


def recent(session: Session, account_id: int) -> list[Trial]:
    """The dry runs of an account, newest first."""
    rows = session.execute(
        _with_job().where(dry_runs.c.account_id == account_id).order_by(dry_runs.c.id.desc())
    )
    return [_trial(row) for row in rows]


def get(session: Session, account_id: int, run_id: int) -> Trial | None:
    """One dry run of the account."""
    if run_id > 2**62:
        return None
    row = session.execute(
        _with_job().where(dry_runs.c.account_id == account_id, dry_runs.c.id == run_id)
    ).one_or_none()
    return _trial(row) if row is not None else None


def changes_of(
    session: Session,
    account_id: int,
    run_id: int,
    *,
    kind: str = "",
    skip: int = 0,
    limit: int = 50,
) -> tuple[list[Stored], int]:
    """Stored changes, newest push first, of one kind where given; and how many there are."""
    where = [
        dry_run_changes.c.account_id == account_id,
        dry_run_changes.c.dry_run_id == run_id,
    ]
    if kind:
        where.append(dry_run_changes.c.change[("is", kind)].as_boolean())
    count = session.execute(
        sa.select(sa.func.count()).select_from(dry_run_changes).where(*where)
    ).scalar_one()
    rows = session.execute(
        sa.select(dry_run_changes, followers.c.open_id)
        .outerjoin(followers, followers.c.id == dry_run_changes.c.follower_id)
        .where(*where)
        .order_by(dry_run_changes.c.id)
        .limit(limit)
        .offset(skip)  # of a thousand rows at the most
    )
    listed = [Stored(row.push_id, row.follower_id, row.open_id, row.change) for row in rows]
    return listed, count


def answer(rulebook: Rulebook, facts: Facts) -> tuple[str, Json]:
    """(the first rule that wins, the first answer) of a rulebook to a push; empty where there is none."""
    found = dryrun.outcome(decide(rulebook, facts))
    return next(iter(found.rules), ""), next(iter(found.answers), {})


def change_json(change: Change) -> Json:
    """A change as it is stored: the push, what each side does with it, and why."""
    facts = change.facts
    said = {"kind": facts.kind, "at": facts.at.isoformat()}
    said |= {name: value for name in ("text", "key", "scene") if (value := getattr(facts, name))}
    return {
        "push": said,
        "kinds": list(change.kinds),
        "is": dict.fromkeys(change.kinds, True),
        "before": change.before.to_json(),
        "after": change.after.to_json(),
    }


def _changes(
    old: Rulebook, new: Rulebook, page: Sequence[tuple[int, Facts]], tally: Tally
) -> list[tuple[int, Change]]:
    ids = {id(facts): push_id for push_id, facts in page}
    found = dryrun.compare(old, new, (facts for _, facts in page), tally)
    return [(ids[id(change.facts)], change) for change in found]


def _page(
    engine: Engine, account_id: int, before: int, limit: int
) -> tuple[list[tuple[int, Facts]], bool]:
    """(pushes below an id, whether there may be more). Those a handler answered by itself asked no rule."""
    if limit <= 0:
        return [], False
    with db.reading(engine) as session:
        rows = session.execute(
            sa.select(inbound.c.id, inbound.c.facts)
            .where(
                inbound.c.account_id == account_id,
                inbound.c.id < before,
                inbound.c.status == "done",
                inbound.c.facts.is_not(None),
                inbound.c.trace["handled"].as_string().is_(None),
            )
            .order_by(inbound.c.id.desc())
            .limit(limit)
        ).all()
    return [(row.id, Facts.from_json(row.facts)) for row in rows], len(rows) == limit


def _rulebook(engine: Engine, account_id: int, number: int) -> Rulebook:
    if number == 0:
        return EMPTY
    with db.reading(engine) as session:
        body = snapshot(session, account_id, number)
    return load(body, number)


def _stored(session: Session, account_id: int, last: int) -> int:
    """How many pushes there are, up to ``last``."""
    newest = (
        sa.select(inbound.c.id).where(inbound.c.account_id == account_id).limit(last).subquery()
    )
    return int(session.execute(sa.select(sa.func.count()).select_from(newest)).scalar_one())


def _keep(
    engine: Engine,
    account_id: int,
    run_id: int,
    job_id: int,
    changes: Sequence[tuple[int, Change]],
    tally: Tally,
    total: int,
) -> None:
    rows = [
        {
            "account_id": account_id,
            "dry_run_id": run_id,
            "push_id": push_id,
            "follower_id": change.facts.follower_id or None,
            "change": change_json(change),
        }
        for push_id, change in changes
    ]
    with db.writing(engine) as session:
        if rows:
            session.execute(sa.insert(dry_run_changes), rows)
        session.execute(
            sa.update(dry_runs).where(dry_runs.c.id == run_id).values(done=tally.pushes)
        )
        jobs.progress(session, job_id, tally.pushes, total)


def _finish(engine: Engine, run_id: int, tally: Tally, now: datetime) -> None:
    with db.writing(engine) as session:
        session.execute(
            sa.update(dry_runs)
            .where(dry_runs.c.id == run_id)
            .values(
                state=DONE,
                summary=tally.to_json(),
                done=tally.pushes,
                total=tally.pushes,
                finished_at=now,
            )
        )


def _fail(engine: Engine, run_id: int, error: str, now: datetime) -> None:
    with db.writing(engine) as session:
        session.execute(
            sa.update(dry_runs)
            .where(dry_runs.c.id == run_id)
            .values(state=FAILED, error=error[:1000], finished_at=now)
        )


def _drop_old(session: Session, account_id: int) -> None:
    old = (
        sa.select(dry_runs.c.id)
        .where(dry_runs.c.account_id == account_id)
        .order_by(dry_runs.c.id.desc())
        .limit(100)
        .offset(KEPT_RUNS)
    )
    gone = list(session.execute(old).scalars())
    if gone:
        session.execute(sa.delete(dry_run_changes).where(dry_run_changes.c.dry_run_id.in_(gone)))
        session.execute(sa.delete(dry_runs).where(dry_runs.c.id.in_(gone)))


def _row(session: Session, account_id: int, run_id: int) -> Any:
    return session.execute(
        sa.select(dry_runs).where(dry_runs.c.id == run_id, dry_runs.c.account_id == account_id)
    ).one_or_none()


def _with_job() -> sa.Select[Any]:
    columns = [column for column in dry_runs.c if column.name != "body"]
    key = sa.literal(f"{JOB}:") + sa.cast(dry_runs.c.id, sa.Text)
    job = sa.select(jobs_table.c.id).where(jobs_table.c.unique_key == key).scalar_subquery()
    return sa.select(*columns, job.label("job_id"))


def _trial(row: sa.Row[Any]) -> Trial:
    return Trial(
        row.id,
        row.against,
        row.state,
        row.last,
        row.done,
        row.total,
        row.summary or {},
        row.error or "",
        row.created_by,
        row.created_at,
        row.finished_at,
        row.job_id,
    )
