"""Dry runs over stored pushes: cut into steps, counted once, stored to be looked at; and the command that runs one."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import accounts, db, drafts, erasure, jobs, rule_trials, rulebook
from bot.accounts import Account
from bot.db import Session
from bot.errors import Invalid
from bot.runtime import Runtime
from bot.tables.followers import followers
from bot.tables.inbox import inbound
from bot.tables.jobs import jobs as jobs_table
from bot.tables.rulebooks import dry_run_changes
from bot.workers import run_due
from rules.facts import Facts
from tests import factories
from tests.scenarios.conftest import world as world
from tests.scenarios.world import World

COUPON = {
    "name": "券",
    "when": [{"text_contains": {"any": ["券"]}}],
    "then": [{"add_tag": {"tags": ["优惠敏感"]}}, {"reply": {"text": "领券"}}],
}
EXPIRED = {
    "name": "过期",
    "when": [{"text_contains": {"any": ["过期"]}}],
    "then": [{"reply": {"text": "可以补发"}}],
}
OLD = {"rules": [COUPON], "fallback": {"reply": {"text": "?"}}}
NEW = {"rules": [EXPIRED, COUPON], "fallback": {"reply": {"text": "?"}}}


def store(
    session: Session, account: Account, texts: list[str], now: datetime, follower_id: int | None
) -> list[int]:
    """Pushes as they are stored; ids in order."""
    rows = []
    for number, text in enumerate(texts):
        at = now + timedelta(seconds=number)
        facts = Facts(f"push {number}", "text", at, text=text, follower_id=follower_id or 0)
        rows.append(
            {
                "account_id": account.id,
                "dedupe_key": f"{account.id} {number} {text} {now}",
                "kind": "text",
                "message": {},
                "sent_at": at,
                "received_at": at,
                "status": "done",
                "follower_id": follower_id,
                "facts": facts.to_json(),
                "trace": {"steps": []},
            }
        )
    return list(
        session.execute(
            sa.insert(inbound).returning(inbound.c.id, sort_by_parameter_order=True), rows
        ).scalars()
    )


@pytest.fixture
def lan(engine: sa.Engine, account: Account, now: datetime) -> int:
    with db.writing(engine) as session:
        rulebook.publish(session, account.id, OLD, by="Ann", note="", now=now)
        return factories.make_follower(session, account.id, now=now)


@pytest.fixture
def begin(engine: sa.Engine, account: Account, now: datetime) -> Callable[..., int]:
    def begin(body: Any = NEW, last: int = 1000) -> int:
        with db.writing(engine) as session:
            return rule_trials.begin(session, account.id, body, last, by="Ann", now=now)

    return begin


def look(engine: sa.Engine, account: Account, run_id: int) -> rule_trials.Trial:
    with db.reading(engine) as session:
        found = rule_trials.get(session, account.id, run_id)
    assert found is not None
    return found


def test_a_dry_run_finds_what_would_have_changed_and_changes_nothing(
    rt: Runtime, engine: sa.Engine, account: Account, now: datetime, lan: int, begin: Any
) -> None:
    with db.writing(engine) as session:
        ids = store(session, account, ["券", "优惠券过期", "你好", "过期"], now, lan)
    run_id = begin()
    assert look(engine, account, run_id).state == "running"
    run_due(rt)
    trial = look(engine, account, run_id)
    assert (trial.state, trial.done, trial.total, trial.against) == ("done", 4, 4, 1)
    assert trial.summary["changed"] == 2
    assert trial.summary["people"] == 1
    assert trial.summary["kinds"] == {"answer": 2, "tags": 1, "other": 0, "rule": 0}
    with db.reading(engine) as session:
        listed, count = rule_trials.changes_of(session, account.id, run_id)
        assert count == 2
        assert [one.push_id for one in listed] == [ids[3], ids[1]]
        assert listed[1].open_id == factories.open_id(1)
        change = listed[1].change
        assert change["push"]["text"] == "优惠券过期"
        assert change["before"]["answers"] == [{"text": "领券"}]
        assert change["after"]["answers"] == [{"text": "可以补发"}]
        assert change["before"]["tags"] == [["优惠敏感"], []]
        assert rule_trials.changes_of(session, account.id, run_id, kind="tags")[1] == 1
        assert rule_trials.changes_of(session, account.id, run_id, kind="other")[1] == 0
        tagged = session.execute(sa.text("select count(*) from follower_tags")).scalar()
        assert tagged == 0
        assert rulebook.head(session, account.id) == 1


def test_unchanged_rules_change_nothing(
    rt: Runtime, engine: sa.Engine, account: Account, now: datetime, lan: int, begin: Any
) -> None:
    with db.writing(engine) as session:
        store(session, account, ["券", "优惠券过期", "你好"], now, lan)
    run_id = begin(OLD)
    run_due(rt)
    trial = look(engine, account, run_id)
    assert (trial.summary["changed"], trial.summary["pushes"]) == (0, 3)


def test_a_run_in_many_steps_counts_as_one_step_would(
    rt: Runtime,
    engine: sa.Engine,
    account: Account,
    now: datetime,
    lan: int,
    begin: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # a step of no time does one page of two pushes: what takes seconds in life
    monkeypatch.setattr(rule_trials, "PAGE", 2)
    monkeypatch.setattr(rule_trials, "STEP_SECONDS", 0.0)
    monkeypatch.setattr(rule_trials, "MOST_CHANGES", 3)
    with db.writing(engine) as session:
        store(session, account, ["过期", "券", "过期"] * 4, now, lan)
    run_id = begin(last=11)
    with db.reading(engine) as session:
        job_id = rule_trials.get(session, account.id, run_id).job_id  # type: ignore[union-attr]
    arguments: Any = {"dry_run_id": run_id}
    steps = 0
    while arguments is not None:
        # every step is cut off once and done again
        rule_trials.step(engine, account.id, job_id, arguments, now)
        arguments = rule_trials.step(
            engine, account.id, job_id, json.loads(json.dumps(arguments)), now
        )
        steps += 1
        if arguments is None:
            break
    trial = look(engine, account, run_id)
    assert steps >= 5
    assert (trial.summary["pushes"], trial.summary["changed"]) == (11, 7)
    with db.reading(engine) as session:
        assert rule_trials.changes_of(session, account.id, run_id)[1] == 3
        bar = jobs.look(session, account.id, job_id or 0)
        assert bar is not None and bar.done <= 11


def test_only_pushes_that_rules_decided_are_tried(
    rt: Runtime, engine: sa.Engine, account: Account, now: datetime, lan: int, begin: Any
) -> None:
    with db.writing(engine) as session:
        ids = store(session, account, ["过期"] * 5, now, lan)
        other = factories.make_account(session, "other", now=now)
        for push_id, values in (
            (ids[0], {"trace": {"handled": "opt_out"}}),
            (ids[1], {"facts": None}),
            (ids[2], {"status": "failed"}),
            (ids[3], {"account_id": other}),
        ):
            session.execute(sa.update(inbound).where(inbound.c.id == push_id).values(**values))
    run_id = begin()
    run_due(rt)
    assert look(engine, account, run_id).summary["pushes"] == 1


def test_a_body_that_does_not_load_is_refused_and_no_number_too(
    engine: sa.Engine, account: Account, begin: Any
) -> None:
    with pytest.raises(Invalid):
        begin({"rules": [{"name": ""}]})
    for last in (0, 1_000_001):
        with pytest.raises(Invalid, match="1,000,000"):
            begin(last=last)


def test_nobody_sees_the_runs_of_another_account(
    engine: sa.Engine, account: Account, now: datetime, lan: int, begin: Any
) -> None:
    run_id = begin()
    with db.writing(engine) as session:
        other = factories.make_account(session, "other", now=now)
        assert rule_trials.get(session, other, run_id) is None
        assert rule_trials.recent(session, other) == []
        assert rule_trials.changes_of(session, other, run_id) == ([], 0)
    assert rule_trials.step(engine, other, 1, {"dry_run_id": run_id}, now) is None


def test_the_newest_runs_are_kept(
    engine: sa.Engine,
    account: Account,
    lan: int,
    begin: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rule_trials, "KEPT_RUNS", 2)  # twenty in life
    ids = [begin() for _ in range(4)]
    with db.reading(engine) as session:
        assert [one.id for one in rule_trials.recent(session, account.id)] == ids[:1:-1]


def test_an_erased_follower_says_nothing_in_a_dry_run(
    rt: Runtime, engine: sa.Engine, account: Account, now: datetime, lan: int, begin: Any
) -> None:
    with db.writing(engine) as session:
        store(session, account, ["过期"], now, lan)
    run_id = begin()
    run_due(rt)
    with db.writing(engine) as session:
        erasure.forget(session, account.id, lan, factories.SECRET_KEY, now)
        kept = session.execute(sa.select(dry_run_changes.c.change)).scalars().all()
        assert kept == [{}]
        listed, _ = rule_trials.changes_of(session, account.id, run_id)
        assert listed[0].change == {}
        gone = session.execute(sa.select(followers.c.open_id)).scalar()
        assert str(gone).startswith("erased:")


def test_the_job_is_cut_into_steps_and_ends(
    rt: Runtime, engine: sa.Engine, account: Account, now: datetime, lan: int, begin: Any
) -> None:
    begin()
    run_due(rt)
    with db.reading(engine) as session:
        states = session.execute(sa.select(jobs_table.c.state)).scalars().all()
    assert states == ["done"]


def test_the_command_tries_the_draft_and_prints_what_would_change(world: World) -> None:
    world.connect()
    world.apply(rules=[COUPON], tags=[{"name": "优惠敏感", "family": "营销互动"}])
    world.follow(1)
    for text in ("优惠券过期", "券", "你好"):
        world.say(1, text)
    told = world.told("replay", "muyan", "--draft")
    assert (told["summary"]["pushes"], told["summary"]["changed"], told["changes"]) == (4, 0, [])
    with db.writing(world.rt.engine) as session:
        account = accounts.get(session, "muyan")
        expired = drafts.add(session, account.id, EXPIRED, by="Ann", now=world.clock())
        order = [
            expired,
            *(row.id for row in drafts.listing(session, account.id) if row.id != expired),
        ]
        drafts.move(session, account.id, order, drafts.order_version(session, account.id))
    told = world.told("replay", "muyan", "--draft", "--last", "3")
    assert (told["against"], told["summary"]["pushes"], told["summary"]["changed"]) == (1, 3, 1)
    (change,) = told["changes"]
    assert change["push"]["text"] == "优惠券过期"
    assert change["after"]["answers"] == [{"text": "可以补发"}]
    printed = world.ok("replay", "muyan", "--draft")
    assert "4" in printed and "可以补发" in printed and "-优惠敏感" not in printed
    assert world.say(1, "优惠券过期") == "领券", "nothing was published"
    assert world.cli("replay", "muyan", "--draft", "--failed").exit_code == 2
