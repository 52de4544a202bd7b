"""Every answer of the platform is a line of a table: what becomes of the row."""

from datetime import datetime, timedelta

import pytest

from bot.errors import Invalid, Refused, WeChatError
from bot.outcomes import Outcome, Situation, after_problem, later, no_answer, wait_seconds
from tests.factories import at

NOW = at("2025-03-03 20:00")
MIDNIGHT = at("2025-03-04 00:00")


def situation(
    attempts: int = 1,
    *,
    mass: bool = False,
    unanswered: bool = False,
    expires_at: datetime | None = None,
    first_try_at: datetime = NOW,
    kind: str = "service",
) -> Situation:
    return Situation(attempts, first_try_at, mass, kind, unanswered, expires_at)


def error(
    errcode: int | None, *, permanent: bool = False, wait: float = 0, action: str = "retry"
) -> WeChatError:
    return WeChatError(
        errcode, "says the platform", permanent=permanent, wait_seconds=wait, action=action
    )


NO_ANSWER = error(None, action="unknown")
NEVER_LEFT = error(None, action="retry")


def seconds(outcome: Outcome) -> float:
    assert outcome.not_before is not None
    return (outcome.not_before - NOW).total_seconds()


@pytest.mark.parametrize(
    ("problem", "where", "status", "wait"),
    [
        (NO_ANSWER, situation(), "unknown", None),
        (NO_ANSWER, situation(mass=True), "waiting", 60),
        (NO_ANSWER, situation(5, mass=True), "waiting", 160),
        (NO_ANSWER, situation(30, mass=True), "waiting", 3600),
        (NEVER_LEFT, situation(), "waiting", 10),
        (NEVER_LEFT, situation(50), "waiting", 3600),
        (error(None, permanent=True, action="fix"), situation(), "failed", None),
        (error(-1), situation(1), "waiting", 10),
        (error(-1), situation(2), "waiting", 20),
        (error(-1), situation(3), "failed", None),
        (error(-1), situation(1, mass=True), "waiting", 60),
        (error(-1, action="unknown"), situation(4, mass=True), "waiting", 80),
        (error(268488001), situation(mass=True), "waiting", 60),
        (error(268488001), situation(), "waiting", 10),
        (error(45066, wait=60, action="wait"), situation(mass=True), "waiting", 60),
        (error(45011, action="wait"), situation(), "waiting", 60),
        (error(42010, wait=120, action="wait"), situation(mass=True), "waiting", 120),
        (error(45009, wait=3600, action="wait"), situation(), "waiting", 4 * 3600),
        (error(45028, wait=3600, action="wait"), situation(mass=True), "failed", None),
        (
            error(45028, wait=3600, action="wait"),
            situation(mass=True, kind="subscription"),
            "waiting",
            4 * 3600,
        ),
        (error(45015, permanent=True, action="drop"), situation(), "failed", None),
        (error(45047, permanent=True, action="drop"), situation(), "failed", None),
        (error(43004, permanent=True, action="drop"), situation(), "failed", None),
        (error(50005, permanent=True, action="drop"), situation(), "failed", None),
        (error(48001, permanent=True, action="stop"), situation(mass=True), "failed", None),
        (error(40001, wait=60, action="token"), situation(), "waiting", 60),
        (error(42001, wait=60, action="token"), situation(9), "waiting", 2560),
        (error(42001, wait=60, action="token"), situation(10), "failed", None),
        (Refused("too few"), situation(mass=True), "failed", None),
        (Invalid("content", "cannot be sent"), situation(mass=True), "failed", None),
        (KeyError("a bug"), situation(), "unknown", None),
        (KeyError("a bug"), situation(mass=True), "waiting", 60),
    ],
)
def test_what_becomes_of_a_row(
    problem: Exception, where: Situation, status: str, wait: float | None
) -> None:
    outcome = after_problem(problem, where, NOW)
    assert outcome.status == status
    assert outcome.error
    if wait is not None:
        assert seconds(outcome) == wait


@pytest.mark.parametrize("body", [{"msg_id": 31}, {"msgid": 31}, {"msgid": "31"}])
def test_45065_means_it_was_submitted(body: dict[str, object]) -> None:
    exists = WeChatError(45065, "clientmsgid exist", permanent=False, action="ok", body=body)
    outcome = after_problem(exists, situation(mass=True), NOW)
    assert outcome.status == "sent"
    assert outcome.receipt == {"msg_id": "31", "msg_data_id": None, "repeated": True}


def test_nothing_waits_past_its_expiry() -> None:
    soon = situation(expires_at=NOW + timedelta(seconds=10))
    assert after_problem(error(45011), soon, NOW).status == "expired"
    assert after_problem(NEVER_LEFT, soon, NOW).status == "expired"
    after = situation(expires_at=NOW + timedelta(seconds=11))
    assert after_problem(NEVER_LEFT, after, NOW).status == "waiting"


def test_a_call_of_unknown_outcome_stays_unknown_whatever_the_repeat_is_told() -> None:
    repeat = situation(2, mass=True, unanswered=True)
    for problem in (error(48001, permanent=True), error(45028), Refused("too few now")):
        assert after_problem(problem, repeat, NOW).status == "unknown"


def test_a_repeat_that_is_told_to_wait_goes_on_however_often() -> None:
    outcome = after_problem(error(45011), situation(15, mass=True, unanswered=True), NOW)
    assert outcome.status == "waiting"


def test_a_clientmsgid_is_repeated_for_twenty_hours_and_then_never() -> None:
    early = situation(1, mass=True, first_try_at=NOW - timedelta(hours=20) + timedelta(seconds=61))
    late = situation(1, mass=True, first_try_at=NOW - timedelta(hours=20) + timedelta(seconds=60))
    assert after_problem(NO_ANSWER, early, NOW).status == "waiting"
    assert after_problem(NO_ANSWER, late, NOW).status == "unknown"


def test_no_answer_marks_the_row_for_good() -> None:
    assert no_answer(situation(), NOW, error="no answer").unanswered
    assert no_answer(situation(mass=True), NOW, error="no answer").unanswered
    assert not after_problem(NEVER_LEFT, situation(), NOW).unanswered


def test_the_error_shows_no_secret() -> None:
    told = after_problem(KeyError("access_token=SECRET"), situation(), NOW)
    assert "SECRET" not in str(told.error)


def test_waiting_for_material_uses_the_usual_steps() -> None:
    assert seconds(later("not uploaded yet", situation(3), NOW)) == 40
    assert [wait_seconds(tries) for tries in (1, 2, 3, 4, 9, 10, 99)] == [
        10,
        20,
        40,
        80,
        2560,
        3600,
        3600,
    ]


def test_the_daily_quota_ends_at_midnight_in_shanghai() -> None:
    assert after_problem(error(45009), situation(), NOW).not_before == MIDNIGHT
