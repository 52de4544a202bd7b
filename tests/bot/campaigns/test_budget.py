"""Platform numbers of the mass budget."""

import pytest

from bot.campaigns import budget
from tests.factories import at


@pytest.mark.parametrize(
    ("reserved", "spent", "left"),
    [(0, 0, 4), (1, 0, 3), (0, 1, 3), (2, 2, 0), (4, 0, 0), (1, 4, 0), (0, 7, 0)],
)
def test_what_is_left_of_four(reserved: int, spent: int, left: int) -> None:
    assert budget.left(reserved, spent) == left


@pytest.mark.parametrize(
    ("moment", "opens"),
    [
        ("2025-11-30 23:29:59", "2025-11-30 23:29:59"),
        ("2025-11-30 23:30", "2025-12-01 00:00"),
        ("2025-11-30 23:59:59", "2025-12-01 00:00"),
        ("2025-12-01 00:00", "2025-12-01 00:00"),
        ("2025-12-31 23:45", "2026-01-01 00:00"),
        ("2025-02-28 23:30", "2025-03-01 00:00"),
        ("2024-02-28 23:30", "2024-02-28 23:30"),
    ],
)
def test_the_last_half_hour_of_a_shanghai_month_is_closed(moment: str, opens: str) -> None:
    assert budget.opens_at(at(moment)) == at(opens)
    assert budget.is_closed(at(moment)) is (moment != opens)


@pytest.mark.parametrize(
    ("kind", "verified", "expected"),
    [
        ("service", True, budget.SERVICE),
        ("subscription", True, budget.SUBSCRIPTION),
        ("service", False, None),
        ("subscription", False, None),
    ],
)
def test_the_allowance_of_an_account_kind(
    kind: str, verified: bool, expected: budget.Allowance | None
) -> None:
    assert budget.allowance(kind, verified) is expected
