"""``qunfen jobs`` and ``qunfen outbox``: what was given up is seen and tried again."""

import json

import pytest
import sqlalchemy as sa

from bot import db, jobs, outbox
from bot.clock import now
from bot.tables.jobs import jobs as jobs_table
from bot.tables.outbox import outbox as outbox_table
from tests import factories
from tests.bot.test_cli import Line, line, ready

__all__ = ["line", "ready"]


@pytest.fixture
def troubled(ready: Line) -> Line:
    """An account with a dead job and messages that did not arrive."""
    engine = db.make_engine(ready.url)
    with db.writing(engine) as session:
        account_id = factories.make_account(session, now=now())
        job_id = jobs.enqueue(session, "publish_menu", {}, now=now(), account_id=account_id)
        jobs.enqueue(session, "upload", {}, now=now())
        session.execute(
            sa.update(jobs_table)
            .where(jobs_table.c.id == job_id)
            .values(state="dead", tries=8, error="WeChatError: 40018", finished_at=now())
        )
        follower_id = factories.make_follower(session, account_id, now=now())
        for key, status, errcode in (
            ("a", "failed", 45047),
            ("b", "unknown", None),
            ("c", "sent", None),
        ):
            outbox.put(
                session,
                account_id=account_id,
                channel="customer_service",
                purpose="reply",
                purpose_id=None,
                payload={"content": {"text": "好"}},
                now=now(),
                follower_id=follower_id,
                key=key,
            )
            session.execute(
                sa.update(outbox_table)
                .where(outbox_table.c.key == key)
                .values(status=status, errcode=errcode, error="x")
            )
    engine.dispose()
    return ready


def test_a_dead_job_is_listed_with_its_cause_and_tried_again(troubled: Line) -> None:
    listed = json.loads(troubled.ok("jobs", "list", "--dead", "--json"))
    assert [(job["name"], job["account"], job["error"]) for job in listed] == [
        ("publish_menu", "muyan", "WeChatError: 40018")
    ]
    assert len(json.loads(troubled.ok("jobs", "list", "--json"))) == 2
    assert "qunfen jobs retry" in troubled.ok("jobs", "list", "--dead")
    assert "1 job(s)" in troubled.ok("jobs", "retry", str(listed[0]["id"]))
    assert json.loads(troubled.ok("jobs", "list", "--dead", "--json")) == []
    assert "not among the dead" in troubled.fails("jobs", "retry", str(listed[0]["id"]))
    assert "0 job(s)" in troubled.ok("jobs", "retry", "--all")
    assert troubled("jobs", "retry").exit_code == 2


def test_the_outbox_says_what_to_do_and_shows_no_open_id(troubled: Line) -> None:
    text = troubled.ok("outbox", "muyan", "--json")
    assert factories.open_id(1) not in text
    unknown, failed = json.loads(text)
    assert (failed["errcode"], failed["status"]) == (45047, "failed")
    assert "条" in failed["what_to_do"] or "次" in failed["what_to_do"]
    assert unknown["status"] == "unknown"
    assert "不会重发" in unknown["what_to_do"]
    assert len(json.loads(troubled.ok("outbox", "muyan", "--status", "sent", "--json"))) == 1
    assert "no account" in troubled.fails("outbox", "nobody")
