"""The account by API: its limits and brand, changed as the account file changes them."""

from typing import Any

import pytest
import sqlalchemy as sa

from bot import accounts, db
from bot.accounts import Account
from bot.runtime import Runtime
from bot.tables.operators import audit
from tests.bot.api.conftest import Make, Program


def changes(rt: Runtime) -> list[Any]:
    with db.reading(rt.engine) as session:
        return list(
            session.execute(
                sa.select(audit.c.before, audit.c.after)
                .where(audit.c.action == "account.change")
                .order_by(audit.c.id)
            )
        )


def test_limits_that_are_named_change_null_takes_back_and_the_rest_stays(
    api: Program, rt: Runtime, account: Account
) -> None:
    first = api.told("GET", "")["limits"]
    caps = [{"messages": 2, "days": 7, "channel": "mass"}]
    given = {"holdout": 0.1, "caps": caps, "all_send_hold": "20m", "guard": False}
    told = api.told("PATCH", "", {"limits": given, "brand": "沐颜"})
    assert told["limits"] == first | given
    assert told["brand"] == "沐颜"
    with db.reading(rt.engine) as session:
        found = accounts.by_id(session, account.id)
    assert (found.limits.holdout, found.limits.guard, found.brand) == (0.1, False, "沐颜")
    told = api.told("PATCH", "", {"limits": {"guard": None, "caps": None}, "brand": ""})
    assert told["limits"] == first | {"holdout": 0.1, "all_send_hold": "20m"}
    assert told["brand"] is None
    assert api.told("PATCH", "", {}) == told, "nothing was said, nothing changes"
    rows = changes(rt)
    assert len(rows) == 2
    assert rows[0].before == {"brand": None, "limits": first}
    assert rows[0].after == {"brand": "沐颜", "limits": first | given}
    assert rows[1].before == rows[0].after


@pytest.mark.sqlite  # about what is asked, not the rows
@pytest.mark.parametrize(
    "limits",
    [
        {"holdout": 0.6},
        {"holdout": "0.1"},
        {"caps": [{"messages": 0, "days": 1}]},
        {"caps": [{"messages": 1, "days": 1, "channel": "fax"}]},
        {"person_cap": {"messages": 1}},
        {"most_people": 0},
        {"guard_every": "soon"},
        {"unheard": 1},
    ],
)
def test_a_limit_that_does_not_parse_changes_nothing(
    api: Program, rt: Runtime, limits: dict[str, Any]
) -> None:
    assert api.refused("PATCH", "", {"limits": limits, "brand": "x"})[0] == 422
    assert changes(rt) == []


@pytest.mark.sqlite  # about the right, not the rows
def test_whoever_may_only_read_changes_nothing(program: Make) -> None:
    assert program("home.read").refused("PATCH", "", {"brand": "x"})[0] == 403
