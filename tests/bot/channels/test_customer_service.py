"""Free, to one follower, while a 48-hour window has a message left."""

from datetime import timedelta

import pytest

from bot.campaigns.reach import Candidate
from bot.channels import customer_service
from tests.factories import at

NOW = at("2025-03-03 09:00")
SOON = NOW + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("windows", "reason"),
    [
        ((), "no_window"),
        ((("message", SOON, 1),), None),
        ((("message", SOON, 0),), "no_window"),
        ((("message", NOW, 5),), "no_window"),
        ((("menu", SOON, 3), ("follow", SOON, 3), ("scan", SOON, 3)), "no_window"),
        ((("menu", SOON, 3), ("message", SOON, 1)), None),
    ],
)
def test_a_follower_is_reached_in_an_open_long_window(
    windows: tuple[tuple[str, object, int], ...], reason: str | None
) -> None:
    candidate = Candidate(1, windows=windows)  # type: ignore[arg-type]
    assert customer_service.blocked(candidate, {"text": "hi"}, NOW) == reason
