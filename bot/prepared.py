"""Statements of the busy path, compiled once and then handed to the driver as they are.

SQLAlchemy spends about 40 µs on running a statement it compiled long ago, the driver 5. A push runs
ten of them. Types, dialects and names stay SQLAlchemy's; only the repetition is left out. Not for
statements with IN lists or other parts that change from call to call.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa

from bot.db import Session

Build = Callable[[str], Any]


class _Ready(NamedTuple):
    sql: str
    usual: dict[str, Any]  # values that stand in the statement itself
    names: tuple[str, ...]
    order: Callable[[Any], tuple[Any, ...]] | None  # None: the driver takes names
    converts: tuple[tuple[Any, Callable[[Any], Any]], ...]  # by position or by name
    types: tuple[Any, ...]
    row: Any


class Prepared:
    """One statement; ``build`` makes it for a dialect's name, or it is the same for all.

    ``columns`` names the values that an INSERT or UPDATE will be given.
    """

    def __init__(self, build: sa.Executable | Build, columns: Sequence[str] | None = None) -> None:
        self._build = build
        self._columns = list(columns) if columns is not None else None
        self._ready: dict[str, _Ready] = {}
        self._results: dict[str, tuple[tuple[int, Callable[[Any], Any]], ...]] = {}

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
            made = (
                kind._cached_result_processor(session.dialect, described[1])
                for kind, described in zip(ready.types, cursor.description, strict=True)
            )
            converts = tuple((place, convert) for place, convert in enumerate(made) if convert)
            self._results[name] = converts
        cursor.close()
        if not converts:
            return list(map(ready.row, found))
        rows = []
        for raw in found:
            values_ = list(raw)
            for place, convert in converts:
                values_[place] = convert(values_[place])
            rows.append(ready.row(values_))
        return rows

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
        if ready.usual:
            values = {**ready.usual, **values}
        given: Any
        if ready.order is not None:
            given = list(ready.order(values))
        else:
            given = {name: values[name] for name in ready.names}
        for place, convert in ready.converts:
            given[place] = convert(given[place])
        driver: Any = session.connection.dbapi_connection
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
        # a statement's own values; whatever has none must be given, or it is a KeyError here
        given = compiled.construct_params(_check=False)
        required = {name for bind, name in compiled.bind_names.items() if bind.required}
        required |= set(self._columns or ())
        usual = {name: value for name, value in given.items() if name not in required}
        names = tuple(compiled.positiontup if compiled.positional else given)
        converts = [
            (place if compiled.positional else name, compiled._bind_processors[name])
            for place, name in enumerate(names)
            if compiled._bind_processors.get(name) is not None
        ]
        columns = compiled._result_columns
        return _Ready(
            sql=compiled.string,
            usual=usual,
            names=names,
            order=_in_order(names) if compiled.positional else None,
            converts=tuple(converts),
            types=tuple(column.type for column in columns),
            row=_row_maker([column.keyname for column in columns]) if columns else None,
        )


def _in_order(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) == 1:
        return lambda values: (values[names[0]],)
    return itemgetter(*names)


def _row_maker(names: list[str]) -> Any:
    row: Any = namedtuple("Row", names)  # type: ignore[misc]  # they come at run time
    return row._make
