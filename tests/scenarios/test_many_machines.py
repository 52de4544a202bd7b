"""Two workers on PostgreSQL and Redis: they share the sending of one campaign, and one takes up what the other left."""

import os
import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot import clock, db, followers, jobs, scheduler
from bot.config import load_config
from bot.distributed import Announcer
from bot.runtime import Runtime, build
from bot.tables.campaigns import campaign_runs, deliveries
from bot.tables.followers import followers as people
from bot.tables.jobs import jobs as table
from tests import factories
from tests.chaos import setting as settings
from tests.chaos.machines import Part
from tests.chaos.processes import Sandbox, free_port, until
from tests.chaos.setting import Planned, Setting
from tests.chaos.verify import read_platform

PEOPLE = 1_200
PATIENCE = 60.0  # seconds before a test gives up; none waits for it
NAMES = ("worker-a", "worker-b")

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.slow,  # real processes are started, and talk to a platform of their own
]

# who took each outbox row, by the name its worker gives to PostgreSQL
NOTE_WHO_SENDS = """
CREATE TABLE senders (claim bigserial, row_id bigint, who text);
CREATE FUNCTION note_sender() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO senders (row_id, who) VALUES (NEW.id, current_setting('application_name'));
  RETURN NEW;
END $$;
CREATE TRIGGER note_sender AFTER UPDATE OF status ON outbox
  FOR EACH ROW WHEN (NEW.status = 'sending') EXECUTE FUNCTION note_sender();
"""
# a worker that is held up gives back what it claimed and did not begin: the last to claim a row sent it
WHO_SENT = "SELECT DISTINCT ON (row_id) who FROM senders ORDER BY row_id, claim DESC"


@pytest.fixture
def environ(database_url: str, redis_url: str) -> dict[str, str]:
    where = {"QUNFEN_DATABASE_URL": database_url, "QUNFEN_REDIS_URL": redis_url}
    return settings.config_of(where, f"http://127.0.0.1:{free_port(random.Random())}")


@pytest.fixture
def rt(environ: dict[str, str]) -> Iterator[Runtime]:
    """The test's own look into the installation; it plays the scheduler."""
    built = build(load_config(environ, dotenv=None))
    yield built
    built.close()


@pytest.fixture
def workers(environ: dict[str, str], tmp_path: Path) -> Iterator[dict[str, Part]]:
    """Two, not started yet."""
    parts = {}
    for name in NAMES:
        url = f"{environ['QUNFEN_DATABASE_URL']}?application_name={name}"
        told = {**os.environ, **environ, "QUNFEN_DATABASE_URL": url}
        log = tmp_path / f"{name}.log"
        parts[name] = Part(name, ["worker", "--threads", "2"], log, told)
    yield parts
    for part in parts.values():
        part.close()


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    platform = Sandbox(tmp_path)
    yield platform
    platform.stop()


@pytest.fixture
def announcer(rt: Runtime) -> Iterator[Announcer]:
    """A scheduler tells the workers what is due."""
    one = Announcer(rt)
    one.start()
    yield one
    one.stop()


def one(rt: Runtime, statement: sa.Select[Any]) -> Any:
    with db.reading(rt.engine) as session:
        return session.execute(statement).scalar()


def open_windows(setting: Setting, sandbox: Sandbox) -> None:
    """Everybody wrote a moment ago, on both sides."""
    now = clock.now()
    wrote = [{"open_id": name, "wrote_at": now.timestamp()} for name in setting.people]
    sandbox.control("followers", {"app_id": factories.APP_ID, "people": wrote})
    with db.writing(setting.rt.engine) as session:
        for follower_id in session.execute(sa.select(people.c.id)).scalars().all():
            followers.open_window(session, setting.account_id, follower_id, "message", now)


@pytest.mark.usefixtures("announcer")
def test_two_workers_share_a_campaign_and_nobody_gets_it_twice(
    environ: dict[str, str],
    rt: Runtime,
    workers: dict[str, Part],
    sandbox: Sandbox,
    tmp_path: Path,
) -> None:
    now = clock.now()
    setting = settings.make(
        tmp_path,
        environ,
        environ["QUNFEN_BASE_URL"],
        sandbox.url,
        sandbox.control,
        PEOPLE,
        random.Random(7),
        now,
    )
    open_windows(setting, sandbox)
    path = "/cgi-bin/message/custom/send"  # an answer takes as long as the platform's do
    fault = {"path": path, "kind": "slow", "seconds": 0.05, "times": None}
    sandbox.control("faults", {**fault, "app_id": factories.APP_ID})
    with db.writing(rt.engine) as session:
        session.execute(sa.text(NOTE_WHO_SENDS))
    try:
        for part in workers.values():
            part.start()
        for name in NAMES:
            assert until(lambda: _is_connected(rt, name), PATIENCE), name  # noqa: B023
        campaign = Planned("甲", "全体", ("customer_service",), 0.0)
        settings.schedule(setting, campaign, now - timedelta(seconds=3))

        def ended() -> bool:
            # the scheduler's part; planning is a job, and sending is the workers' own
            for name in ("start", "waves", "collect"):
                scheduler.tick(rt, name, clock.now())
            return one(rt, sa.select(campaign_runs.c.status)) == "finished"

        assert until(ended, PATIENCE, every=0.2)
        with db.reading(rt.engine) as session:
            who = Counter(session.execute(sa.text(WHO_SENT)).scalars())
            ends = Counter(session.execute(sa.select(deliveries.c.status)).scalars())
    finally:
        for part in workers.values():
            part.kill()
        with db.writing(rt.engine) as session:
            session.execute(sa.text("DROP TABLE senders; DROP FUNCTION note_sender CASCADE"))
        setting.rt.close()
    assert ends == {"sent": PEOPLE}
    assert sum(who.values()) == PEOPLE
    assert all(who[name] >= PEOPLE // 10 for name in NAMES), who
    got = read_platform(sandbox.file).got
    assert {(name, "甲"): ["customer_service"] for name in setting.people} == got


@pytest.mark.usefixtures("announcer")
def test_the_job_of_a_worker_that_was_killed_is_taken_up_by_another(
    rt: Runtime, workers: dict[str, Part]
) -> None:
    for part in workers.values():
        part.start()
    with db.writing(rt.engine) as session:
        job_id = jobs.enqueue(session, "expire_tags", {}, now=rt.clock())
    job = sa.select(table).where(table.c.id == job_id)

    def row() -> Any:
        with db.reading(rt.engine) as session:
            return session.execute(job).one()

    with rt.engine.connect() as holding, holding.begin():
        # whoever begins the job now waits in the middle of it
        holding.execute(sa.text("LOCK TABLE follower_tags IN ACCESS EXCLUSIVE MODE"))
        assert until(lambda: row().state == "running", PATIENCE)
        first = row().lease_owner
        (name,) = [name for name in NAMES if f":{workers[name].pid}:" in first]
        workers[name].kill()
        with db.writing(rt.engine) as session:
            minute_ago = rt.clock() - jobs.LEASE
            session.execute(sa.update(table).values(lease_until=minute_ago))
    assert until(lambda: row().state == "done", PATIENCE)
    assert row().tries == 2
    (other,) = [other for other in NAMES if other != name]
    assert f":{workers[other].pid}:" in row().lease_owner


def _is_connected(rt: Runtime, name: str) -> bool:
    question = "SELECT count(*) FROM pg_stat_activity WHERE application_name = :name"
    with db.reading(rt.engine) as session:
        return bool(session.execute(sa.text(question), {"name": name}).scalar())
