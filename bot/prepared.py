"""Statements of the busy path, compiled once and then handed to the driver as they are.

SQLAlchemy spends about 40 µs on running a statement it compiled long ago, the driver 5. A push runs
ten of them. Types, dialects and names stay SQLAlchemy's; only the repetition is left out. Not for
statements with IN lists or other parts that change from call to call.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from bot.db import Session

Build = Callable[[str], Any]
Convert = Callable[[Any], Any] | None


class _Ready(NamedTuple):
    sql: str
    binds: tuple[tuple[str, Any, Convert], ...]  # name, value unless given, conversion
    positional: bool
    types: tuple[Any, ...]
    row: Callable[..., Any] | None


class Prepared:
    """One statement; ``build`` makes it for a dialect's name, or it is the same for all.

    ``columns`` names the values that an INSERT or UPDATE will be given.
    """

    def __init__(self, build: sa.Executable | Build, columns: Sequence[str] | None = None) -> None:
        self._build = build
        self._columns = list(columns) if columns is not None else None
        self._ready: dict[str, _Ready] = {}
        self._results: dict[str, tuple[Convert, ...]] = {}

    def run(self, session: Session, values: Mapping[str, Any]) -> None:
        """Run it for its effect."""
        self._cursor(session, values).close()

    def rows(self, session: Session, values: Mapping[str, Any]) -> list[Any]:
        """Its rows, as tuples with the columns' names."""
        cursor = self._cursor(session, values)
        found = cursor.fetchall()
        if not found:
            cursor.close()
            return []
        name = session.dialect.name
        ready = self._ready[name]
        converts = self._results.get(name)
        if converts is None:
            converts = tuple(
                kind._cached_result_processor(session.dialect, described[1])
                for kind, described in zip(ready.types, cursor.description, strict=True)
            )
            self._results[name] = converts
        cursor.close()
        row = ready.row
        assert row is not None, "this statement returns no rows"
        return [
            row(*[value if c is None else c(value) for c, value in zip(converts, raw, strict=True)])
            for raw in found
        ]

    def first(self, session: Session, values: Mapping[str, Any]) -> Any | None:
        """Its first row, or None."""
        found = self.rows(session, values)
        return found[0] if found else None

    def scalar(self, session: Session, values: Mapping[str, Any]) -> Any | None:
        """The first column of its first row, or None."""
        found = self.rows(session, values)
        return found[0][0] if found else None

    def _cursor(self, session: Session, values: Mapping[str, Any]) -> Any:
        ready = self._ready.get(session.dialect.name)
        if ready is None:
            ready = self._compiled(session.dialect)
            self._ready[session.dialect.name] = ready
        given: Any
        if ready.positional:
            given = [
                convert(values.get(name, usual)) if convert else values.get(name, usual)
                for name, usual, convert in ready.binds
            ]
        else:
            given = {
                name: convert(values.get(name, usual)) if convert else values.get(name, usual)
                for name, usual, convert in ready.binds
            }
        driver: Any = session.connection.driver_connection
        try:
            return driver.execute(ready.sql, given)
        except session.dialect.loaded_dbapi.Error as problem:
            # callers tell a lost database from a bug by SQLAlchemy's families of exceptions
            raise sa.exc.DBAPIError.instance(
                ready.sql,
                None,
                problem,
                session.dialect.loaded_dbapi.Error,
                hide_parameters=True,
                dialect=session.dialect,
            ) from problem

    def _compiled(self, dialect: sa.Dialect) -> _Ready:
        statement: Any = self._build(dialect.name) if callable(self._build) else self._build
        compiled = statement.compile(dialect=dialect, column_keys=self._columns)
        assert not compiled.post_compile_params, "a statement with changing parts is not for here"
        usual = compiled.construct_params(_check=False)
        names = list(compiled.positiontup) if compiled.positional else list(compiled.binds)
        processors = compiled._bind_processors
        columns = compiled._result_columns
        return _Ready(
            sql=compiled.string,
            binds=tuple((name, usual.get(name), processors.get(name)) for name in names),
            positional=bool(compiled.positional),
            types=tuple(column.type for column in columns),
            row=_row_type([column.keyname for column in columns]) if columns else None,
        )


def _row_type(names: list[str]) -> Callable[..., Any]:
    return namedtuple("Row", names)
