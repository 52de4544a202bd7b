"""The audit log: an account's own, everything for an administrator, what changed in words, as CSV."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import audit_log, db, operators
from bot.accounts import Account
from tests import factories
from tests.bot.console import pages

Role = Callable[..., FlaskClient]


def change(
    engine: sa.Engine, account_id: int | None, thing: str, at: datetime, **more: object
) -> None:
    with db.writing(engine) as session:
        given = {"operator": "小林", **more}
        operators.audit(session, "rule.change", thing, account_id=account_id, now=at, **given)  # type: ignore[arg-type]


def test_a_change_is_shown_as_what_differs(
    as_role: Role, engine: sa.Engine, account: Account, now: datetime
) -> None:
    before = {"name": "领券", "when": [{"text_is": ["领券"]}], "enabled": True}
    after = {"name": "领券", "when": [{"text_is": ["领券", "优惠"]}], "enabled": False}
    change(engine, account.id, "领券", now, before=before, after=after)
    page = as_role("lead").get("/console/muyan/audit").get_data(as_text=True)
    assert "修改规则" in page
    assert "<dt>条件 1 · 文字等于</dt>" in page
    assert "领券、优惠" in page
    assert "<dt>启用</dt>" in page
    assert "<dt>名称</dt>" not in page, "what stayed is left out"


def test_an_account_sees_its_own_changes_and_an_administrator_all(
    as_role: Role, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        other = factories.make_account(session, "shop", now=now)
    change(engine, account.id, "mine", now)
    change(engine, other, "theirs", now)
    change(engine, None, "nobodys", now)
    own = pages.text(as_role("lead").get("/console/muyan/audit"))
    assert "mine" in own
    assert "theirs" not in own
    assert "nobodys" not in own
    everything = pages.text(as_role("admin").get("/console/system/audit"))
    for thing in ("mine", "theirs", "nobodys"):
        assert thing in everything


def test_it_is_searched_by_who_what_and_when_and_goes_on_by_key(
    as_role: Role, engine: sa.Engine, account: Account, now: datetime
) -> None:
    for number in range(audit_log.PAGE + 5):
        change(engine, account.id, f"rule {number:02}", now + timedelta(seconds=number))
    change(engine, account.id, "later", now + timedelta(days=2), operator="周姐")
    lead = as_role("lead")
    first = lead.get("/console/muyan/audit").get_data(as_text=True)
    assert "rule 54" in first
    assert "rule 04" not in first
    more = first[first.index("after=") + 6 :].split('"')[0]
    assert "rule 04" in pages.text(lead.get(f"/console/muyan/audit?after={more}"))
    only = pages.text(lead.get("/console/muyan/audit?operator=周姐"))
    assert "later" in only
    assert "共 1 条记录" in only
    day = "since=2025-03-05&until=2025-03-05"
    assert "共 1 条记录" in pages.text(lead.get(f"/console/muyan/audit?{day}"))
    assert "没有符合的记录" in pages.text(lead.get("/console/muyan/audit?q=nothing"))
    assert lead.get("/console/muyan/audit?since=yesterday").status_code == 422


def test_a_file_of_it_holds_no_formula(
    as_role: Role, engine: sa.Engine, account: Account, now: datetime
) -> None:
    change(engine, account.id, "=HYPERLINK(1)", now, after={"note": "<script>x</script>"})
    lead = as_role("lead")
    assert "'=HYPERLINK(1)" in lead.get("/console/muyan/audit?format=csv").get_data(as_text=True)
    assert "<script>x" not in lead.get("/console/muyan/audit").get_data(as_text=True)


@pytest.mark.sqlite  # about the form, not the rows
@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        (None, {"a": 1}, [("a", None, 1)]),
        ({"a": 1}, None, [("a", 1, None)]),
        ({"a": [1, 2]}, {"a": [1, 3]}, [("a", [1, 2], [1, 3])]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, [("a.c", 2, 3)]),
        ({"a": False}, {"a": 0}, []),
        ("x", "y", [("", "x", "y")]),
        (None, None, []),
    ],
)
def test_what_differs_is_named_by_its_path(
    before: object, after: object, changed: list[object]
) -> None:
    assert audit_log.changes(before, after) == changed
