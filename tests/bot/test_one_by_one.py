"""One that fails is logged, keeps no other waiting, and is shown at the end."""

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from bot.one_by_one import one_by_one


def test_the_others_go_on_and_the_first_problem_is_raised_at_the_end() -> None:
    done = []
    with capture_logs() as lines, pytest.raises(ValueError, match="of 2"), one_by_one() as one:
        for number in range(1, 5):
            with one(run=number):
                if number % 2 == 0:
                    raise ValueError(f"of {number}")
                done.append(number)
        done.append(99)
    assert done == [1, 3, 99]
    assert [(line["event"], line["run"]) for line in lines] == [
        ("one_failed", 2),
        ("one_failed", 4),
    ]


def test_what_a_loop_inside_has_logged_is_not_logged_twice() -> None:
    done = []
    with capture_logs() as lines, pytest.raises(ValueError), one_by_one() as one:
        with one(), one_by_one() as inner, inner(batch=1):
            raise ValueError
        with one():
            done.append("next step")
    assert done == ["next step"]
    assert [line["batch"] for line in lines] == [1]


def test_without_the_database_nobody_goes_on() -> None:
    done = []
    with pytest.raises(OperationalError), one_by_one() as one:
        for number in (1, 2):
            with one(run=number):
                done.append(number)
                raise OperationalError("SELECT", None, OSError("gone"))
    assert done == [1]
