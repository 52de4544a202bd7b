"""What becomes of an outbox row after a call: pure, so that every answer of the platform is a line of a table."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot import logs
from bot.clock import day_of, start_of_day
from bot.errors import Invalid, Refused, WeChatError

FIRST_WAIT = 10.0  # seconds; doubles with every try
LONGEST_WAIT = 3600.0
MOST_DOUBLINGS = 9
MOST_TRIES = 10  # of a call that is answered with a temporary error each time
# of one whose picture or article the platform has no copy of: some 21 hours, so that a day's used-up quota
# of uploads may come back. Source: our choice.
WITHOUT_MATERIAL = 30
TRIES_WHEN_BUSY = 3  # Source: docs/wechat-limits.md 13, "-1: RETRY ≤ 3, then STOP" (read 2026-11)
REPEAT_WAIT = 60.0  # 45066 punishes a sooner repeat. Source: docs/wechat-limits.md 8 (read 2026-11)
# the platform remembers a clientmsgid for 24 h; later the same call would be a second send.
# Source: docs/wechat-limits.md 8 (read 2026-11); four hours are kept as a margin
REPEAT_FOR = timedelta(hours=20)

BUSY = -1
# system busy on a mass call: it may have been taken. 45066 says an earlier one with this id was.
# Source: docs/wechat-limits.md 8 and 13 (read 2026-11)
MASS_OUTCOME_UNKNOWN = frozenset({BUSY, 268488001, 268487001, 268487002, 9500002, 45066})
DAY_USED_UP = 45009
TOO_FREQUENT = 45011
NO_MASS_QUOTA = 45028
CLIENT_MSG_ID_EXISTS = 45065
ERROR_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known about a row when its call ends. ``repeatable``: the same call may safely be made again."""

    attempts: int  # this call included
    first_try_at: datetime
    repeatable: bool
    account_kind: str = "service"
    unanswered: bool = False  # an earlier call brought no answer
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The row's next status; with ``waiting`` goes ``not_before``. ``unanswered`` marks the row for good."""

    status: str
    error: str | None = None
    errcode: int | None = None
    not_before: datetime | None = None
    receipt: dict[str, Any] | None = None
    unanswered: bool = False


def succeeded(receipt: dict[str, Any]) -> Outcome:
    """The platform took it."""
    return Outcome("sent", receipt=receipt)


def after_problem(problem: Exception, situation: Situation, now: datetime) -> Outcome:
    """What a failed call means for its row.

    1. 45065: the platform has this clientmsgid, so it was submitted: sent.
    2. Refused by ourselves (our checks, our content): nothing left the house: failed.
    3. No answer, or one that leaves the outcome open, or any error that is not the platform's.
    4. A permanent error: failed; but after an earlier call without answer nobody knows.
    5. A temporary error: wait.
    """
    error = logs.clean(str(problem) or type(problem).__name__)[:ERROR_CHARACTERS]
    if isinstance(problem, Refused | Invalid):
        return Outcome("unknown" if situation.unanswered else "failed", error)
    if not isinstance(problem, WeChatError):
        return no_answer(situation, now, error=f"{type(problem).__name__}: {error}")
    if problem.errcode == CLIENT_MSG_ID_EXISTS:
        return succeeded(_receipt_of_repeat(problem))
    if never_left(problem):
        return later(error, situation, now)
    if problem.errcode is None and not problem.permanent:
        return no_answer(situation, now, error=error)
    if situation.repeatable and _open_outcome(problem):
        return no_answer(situation, now, error=error, errcode=problem.errcode)
    if problem.errcode == NO_MASS_QUOTA and situation.account_kind == "subscription":
        return _wait(problem, error, situation, now)  # one send a day: the next one is tomorrow's
    if problem.permanent or problem.errcode == NO_MASS_QUOTA:
        return Outcome("unknown" if situation.unanswered else "failed", error, problem.errcode)
    return _wait(problem, error, situation, now)


def no_answer(
    situation: Situation, now: datetime, *, error: str, errcode: int | None = None
) -> Outcome:
    """Whether the platform took it is unknown: repeat what is safe to repeat, else leave it unknown for good."""
    wait = timedelta(seconds=max(REPEAT_WAIT, wait_seconds(situation.attempts)))
    if not situation.repeatable or too_late(situation, now + wait):
        return Outcome("unknown", error, errcode, unanswered=True)
    return Outcome("waiting", error, errcode, not_before=now + wait, unanswered=True)


def too_late(situation: Situation, moment: datetime) -> bool:
    """Whether at ``moment`` a call of unknown outcome may not be repeated any more."""
    return moment >= situation.first_try_at + REPEAT_FOR or (
        situation.expires_at is not None and moment >= situation.expires_at
    )


def never_left(problem: WeChatError) -> bool:
    """Whether the request cannot have reached the platform (no connection), so that a repeat is safe."""
    return problem.errcode is None and problem.action == "retry"


def _open_outcome(problem: WeChatError) -> bool:
    return problem.action == "unknown" or problem.errcode in MASS_OUTCOME_UNKNOWN


def wait_seconds(attempts: int) -> float:
    """10 s, 20 s, 40 s … after the n-th call, at most an hour."""
    doublings = min(max(attempts - 1, 0), MOST_DOUBLINGS)
    return min(FIRST_WAIT * (1 << doublings), LONGEST_WAIT)


def later(
    error: str,
    situation: Situation,
    now: datetime,
    *,
    not_before: datetime | None = None,
    errcode: int | None = None,
) -> Outcome:
    """Wait with the usual back-off or to ``not_before``, never past the row's expiry."""
    usual = now + timedelta(seconds=wait_seconds(situation.attempts))
    moment = max(usual, not_before or usual)
    if situation.unanswered:
        if too_late(situation, moment):
            return Outcome("unknown", error, errcode)
    elif situation.expires_at is not None and moment >= situation.expires_at:
        return Outcome("expired", error, errcode)
    return Outcome("waiting", error, errcode, not_before=moment)


def without_material(error: str, situation: Situation, now: datetime) -> Outcome:
    """The platform has no copy of something it names yet: wait as usual, but not without an end."""
    if situation.attempts >= WITHOUT_MATERIAL and not situation.unanswered:
        return Outcome("failed", f"{error}: given up after {situation.attempts} tries")
    return later(error, situation, now)


def _wait(problem: WeChatError, error: str, situation: Situation, now: datetime) -> Outcome:
    most = TRIES_WHEN_BUSY if problem.errcode == BUSY else MOST_TRIES
    # a call of unknown outcome is repeated until its time is over, however often
    if situation.attempts >= most and not situation.unanswered:
        return Outcome("failed", error, problem.errcode)
    seconds = problem.wait_seconds
    if problem.errcode == TOO_FREQUENT:
        seconds = max(seconds, REPEAT_WAIT)
    moment = now + timedelta(seconds=seconds)
    if problem.errcode in (DAY_USED_UP, NO_MASS_QUOTA):
        moment = start_of_day(day_of(now) + timedelta(days=1))
    return later(error, situation, now, not_before=moment, errcode=problem.errcode)


def _receipt_of_repeat(problem: WeChatError) -> dict[str, Any]:
    # the documents say msgid, the platform was seen to answer msg_id
    known = problem.body.get("msg_id") or problem.body.get("msgid")
    return {"msg_id": str(known) if known else None, "msg_data_id": None, "repeated": True}
