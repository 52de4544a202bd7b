"""Things to do one after another, of which one that fails keeps none of the others waiting."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from bot import db, logs

log = logs.get()


@contextmanager
def one_by_one() -> Iterator[Callable[..., AbstractContextManager[None]]]:
    """``with one_by_one() as one: for run_id in ids: with one(run=run_id): …``.

    What fails inside ``one`` is logged under the names it was given, and the first of it raised at the end, so
    that the job shows it. Without names the loop inside has logged it already.

    Raises:
        Exception: the first that was held back; at once when the database is unavailable.
    """
    problems: list[Exception] = []

    @contextmanager
    def one(**names: Any) -> Iterator[None]:
        try:
            yield
        except Exception as problem:
            if db.is_unavailable(problem):
                raise
            if names:
                log.error("one_failed", **names, exc_info=problem)
            problems.append(problem)

    yield one
    if problems:
        raise problems[0]
