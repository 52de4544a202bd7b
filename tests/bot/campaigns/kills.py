"""Deaths of a process at any of its actions: each transaction it ends, each call of the platform it begins or ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa


class Death(BaseException):
    """As a kill: nothing that is written to catch errors catches it."""


class Life:
    """Counts actions and ends at one of them; from then on none succeeds, also not what would tidy up.

    ``outside``: the same database for whoever only looks, which is no action of this life.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self.outside = engine.execution_options(outside=True)
        self._most: int | None = None
        self.actions = 0

    @contextmanager
    def of(self, most: int | None) -> Iterator[None]:
        """A life of so many actions; None: until its work is done. Its death ends here."""
        self._most, self.actions = most, 0
        sa.event.listen(self._engine, "commit", self._act)
        try:
            yield
        except Death:
            pass
        finally:
            sa.event.remove(self._engine, "commit", self._act)

    def watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A call to the outside: death may come before it leaves, or when only its answer is missing."""

        def watching(*arguments: Any, **named: Any) -> Any:
            self._act()
            answer = call(*arguments, **named)
            self._act()
            return answer

        return watching

    def _act(self, connection: sa.Connection | None = None) -> None:
        if connection is not None and connection.get_execution_options().get("outside"):
            return
        self.actions += 1
        if self._most is not None and self.actions > self._most:
            raise Death
