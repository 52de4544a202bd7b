"""SQL expressions that SQLite and PostgreSQL write differently: JSON values by type, and wildcards.

Each is a construct compiled per dialect, so that a clause can be built without knowing the database.
"""

import json
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class json_kind(FunctionElement[str]):
    """What a key of a JSON object holds: number string true false null object array, or SQL NULL without it."""

    inherit_cache = True
    type = sa.Text()

    def __init__(self, column: sa.ColumnElement[Any], name: str) -> None:
        super().__init__(column, sa.literal(name, sa.Text), sa.literal(f'$."{name}"', sa.Text))


class json_text(json_kind):
    """The text a key holds, or NULL when it holds anything else. Compares by code point."""

    inherit_cache = True
    type = sa.Text()


class json_number(FunctionElement[float]):
    """The number a key holds, or NULL when it holds anything else."""

    inherit_cache = True
    type = sa.Double()

    def __init__(self, column: sa.ColumnElement[Any], name: str) -> None:
        super().__init__(column, sa.literal(name, sa.Text), sa.literal(f'$."{name}"', sa.Text))


class matches_wildcard(FunctionElement[bool]):
    """Whether a text matches a pattern in which ``*`` stands for anything; case counts.

    Only for patterns without ``?`` and ``[``, which GLOB would read its own way.
    """

    inherit_cache = True
    type = sa.Boolean()

    def __init__(self, column: sa.ColumnElement[Any], pattern: str) -> None:
        like = pattern.replace("!", "!!").replace("%", "!%").replace("_", "!_").replace("*", "%")
        super().__init__(column, sa.literal(pattern, sa.Text), sa.literal(like, sa.Text))


class _numbers(FunctionElement[int]):
    """The numbers of a JSON list, as a table with the column ``value``."""

    inherit_cache = True
    type = sa.BigInteger()


def among(column: sa.ColumnElement[Any], ids: Iterable[int]) -> sa.ColumnElement[bool]:
    """Whether a number is one of ``ids``: an IN with one parameter however many there are.

    The statement's text stays the same, so that it is compiled and prepared once; five hundred
    parameters cost more than five hundred rows.
    """
    return column.in_(sa.select(numbers(sa.literal(json.dumps(sorted(ids)), sa.Text))))


def among_given(column: sa.ColumnElement[Any], name: str = "ids") -> sa.ColumnElement[bool]:
    """``among`` for a statement that is built once: the ids come as a parameter, a JSON list as text."""
    return column.in_(sa.select(numbers(sa.bindparam(name, type_=sa.Text))))


def numbers(listed: sa.ColumnElement[str]) -> sa.ColumnElement[int]:
    """The numbers of a JSON list, one a row: what a SELECT without a table of its own reads."""
    found = _numbers(listed).table_valued(sa.column("value"))
    return sa.cast(found.c.value, sa.BigInteger)


def _parts(element: FunctionElement[Any], compiler: SQLCompiler, chosen: int, **kw: Any) -> Any:
    found = list(element.clauses)
    return compiler.process(found[0], **kw), compiler.process(found[chosen], **kw)


@compiles(json_kind, "sqlite")
def _kind_sqlite(element: json_kind, compiler: SQLCompiler, **kw: Any) -> str:
    column, path = _parts(element, compiler, 2, **kw)
    kind = f"json_type({column}, {path})"
    return (
        f"(CASE {kind} WHEN 'integer' THEN 'number' WHEN 'real' THEN 'number'"
        f" WHEN 'text' THEN 'string' ELSE {kind} END)"
    )


@compiles(json_kind, "postgresql")
def _kind_postgresql(element: json_kind, compiler: SQLCompiler, **kw: Any) -> str:
    column, name = _parts(element, compiler, 1, **kw)
    return (
        f"(CASE jsonb_typeof({column} -> {name}) WHEN 'boolean' THEN {column} ->> {name}"
        f" ELSE jsonb_typeof({column} -> {name}) END)"
    )


@compiles(json_text, "sqlite")
def _text_sqlite(element: json_text, compiler: SQLCompiler, **kw: Any) -> str:
    column, path = _parts(element, compiler, 2, **kw)
    return f"(CASE json_type({column}, {path}) WHEN 'text' THEN json_extract({column}, {path}) END)"


@compiles(json_text, "postgresql")
def _text_postgresql(element: json_text, compiler: SQLCompiler, **kw: Any) -> str:
    column, name = _parts(element, compiler, 1, **kw)
    return (
        f"(CASE jsonb_typeof({column} -> {name}) WHEN 'string' THEN {column} ->> {name} END)"
        ' COLLATE "C"'
    )


@compiles(json_number, "sqlite")
def _number_sqlite(element: json_number, compiler: SQLCompiler, **kw: Any) -> str:
    column, path = _parts(element, compiler, 2, **kw)
    return (
        f"(CASE WHEN json_type({column}, {path}) IN ('integer', 'real')"
        f" THEN json_extract({column}, {path}) END)"
    )


@compiles(json_number, "postgresql")
def _number_postgresql(element: json_number, compiler: SQLCompiler, **kw: Any) -> str:
    column, name = _parts(element, compiler, 1, **kw)
    return (
        f"(CASE jsonb_typeof({column} -> {name}) WHEN 'number'"
        f" THEN ({column} ->> {name})::double precision END)"
    )


@compiles(matches_wildcard, "sqlite")
def _wildcard_sqlite(element: matches_wildcard, compiler: SQLCompiler, **kw: Any) -> str:
    column, pattern = _parts(element, compiler, 1, **kw)
    return f"({column} GLOB {pattern})"


@compiles(matches_wildcard, "postgresql")
def _wildcard_postgresql(element: matches_wildcard, compiler: SQLCompiler, **kw: Any) -> str:
    column, pattern = _parts(element, compiler, 2, **kw)
    return f"({column} LIKE {pattern} ESCAPE '!')"


class unindexed(FunctionElement[Any]):
    """A column that SQLite must not choose an index by; PostgreSQL decides from statistics as ever.

    Without statistics SQLite prefers the index with more equal columns, even where that reads the
    whole table once a row and another index reads two rows.
    """

    inherit_cache = True

    def __init__(self, column: sa.ColumnElement[Any]) -> None:
        super().__init__(column)
        self.type = column.type


@compiles(unindexed, "sqlite")
def _unindexed_sqlite(element: unindexed, compiler: SQLCompiler, **kw: Any) -> str:
    return f"+{compiler.process(element.clauses, **kw)}"


@compiles(unindexed, "postgresql")
def _unindexed_postgresql(element: unindexed, compiler: SQLCompiler, **kw: Any) -> str:
    return str(compiler.process(element.clauses, **kw))


class shanghai_day(FunctionElement[str]):
    """The Shanghai calendar day of a moment, as text such as ``2025-11-25``."""

    inherit_cache = True
    type = sa.Text()


@compiles(shanghai_day, "sqlite")
def _day_sqlite(element: shanghai_day, compiler: SQLCompiler, **kw: Any) -> str:
    # China has kept UTC+8 without summer time since 1991
    return f"date({compiler.process(element.clauses, **kw)}, '+8 hours')"


@compiles(shanghai_day, "postgresql")
def _day_postgresql(element: shanghai_day, compiler: SQLCompiler, **kw: Any) -> str:
    moment = compiler.process(element.clauses, **kw)
    return f"to_char({moment} AT TIME ZONE 'Asia/Shanghai', 'YYYY-MM-DD')"


@compiles(_numbers, "sqlite")
def _numbers_sqlite(element: _numbers, compiler: SQLCompiler, **kw: Any) -> str:
    (listed,) = element.clauses
    return f"json_each({compiler.process(listed, **kw)})"


@compiles(_numbers, "postgresql")
def _numbers_postgresql(element: _numbers, compiler: SQLCompiler, **kw: Any) -> str:
    (listed,) = element.clauses
    return f"jsonb_array_elements_text(CAST({compiler.process(listed, **kw)} AS jsonb))"


class contains(FunctionElement[bool]):
    """Whether a text holds another; case counts, and nothing in it is a wildcard."""

    inherit_cache = True
    type = sa.Boolean()

    def __init__(self, column: sa.ColumnElement[Any], part: str) -> None:
        super().__init__(column, sa.literal(part, sa.Text))


class starts_with(FunctionElement[bool]):
    """Whether a text begins with another of ASCII; an index of the column finds it where it is sorted by code."""

    inherit_cache = True
    type = sa.Boolean()

    def __init__(self, column: sa.ColumnElement[Any], begin: str) -> None:
        last = begin[:-1] + chr(ord(begin[-1]) + 1)
        super().__init__(column, sa.literal(begin, sa.Text), sa.literal(last, sa.Text))


@compiles(contains, "sqlite")
def _contains_sqlite(element: contains, compiler: SQLCompiler, **kw: Any) -> str:
    column, part = _parts(element, compiler, 1, **kw)
    return f"(instr({column}, {part}) > 0)"


@compiles(contains, "postgresql")
def _contains_postgresql(element: contains, compiler: SQLCompiler, **kw: Any) -> str:
    column, part = _parts(element, compiler, 1, **kw)
    return f"(strpos({column}, {part}) > 0)"


@compiles(starts_with, "sqlite")
def _starts_sqlite(element: starts_with, compiler: SQLCompiler, **kw: Any) -> str:
    column, begin = _parts(element, compiler, 1, **kw)
    _column, last = _parts(element, compiler, 2, **kw)
    return f"({column} >= {begin} AND {column} < {last})"


@compiles(starts_with, "postgresql")
def _starts_postgresql(element: starts_with, compiler: SQLCompiler, **kw: Any) -> str:
    column, begin = _parts(element, compiler, 1, **kw)
    return f"starts_with({column}, {begin})"


class plus_days(FunctionElement[Any]):
    """A moment so many times 24 hours later, to be compared with moments only (milliseconds on SQLite)."""

    inherit_cache = True

    def __init__(self, column: sa.ColumnElement[Any], days: int) -> None:
        super().__init__(column, sa.literal(days))
        self.type = column.type


@compiles(plus_days, "sqlite")
def _plus_days_sqlite(element: plus_days, compiler: SQLCompiler, **kw: Any) -> str:
    column, days = _parts(element, compiler, 1, **kw)
    return f"strftime('%Y-%m-%d %H:%M:%f', {column}, '+' || {days} || ' days')"


@compiles(plus_days, "postgresql")
def _plus_days_postgresql(element: plus_days, compiler: SQLCompiler, **kw: Any) -> str:
    column, days = _parts(element, compiler, 1, **kw)
    return f"({column} + make_interval(hours => 24 * {days}))"


class json_entries(FunctionElement[str]):
    """The entries of a JSON object, as a table with the column ``key``."""

    inherit_cache = True
    type = sa.Text()


@compiles(json_entries, "sqlite")
def _entries_sqlite(element: json_entries, compiler: SQLCompiler, **kw: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **kw)})"


@compiles(json_entries, "postgresql")
def _entries_postgresql(element: json_entries, compiler: SQLCompiler, **kw: Any) -> str:
    return f"jsonb_each({compiler.process(element.clauses, **kw)})"


class json_items(FunctionElement[Any]):
    """The items of a JSON list given as text, as a table with the column ``value``."""

    inherit_cache = True
    type = sa.Text()


class json_part(FunctionElement[Any]):
    """One item of a list inside ``json_items``, by its place; a number must be cast to its type."""

    inherit_cache = True
    type = sa.types.NullType()

    def __init__(self, value: sa.ColumnElement[Any], place: int) -> None:
        super().__init__(value, sa.literal_column(str(place)))


@compiles(json_items, "sqlite")
def _items_sqlite(element: json_items, compiler: SQLCompiler, **kw: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **kw)})"


@compiles(json_items, "postgresql")
def _items_postgresql(element: json_items, compiler: SQLCompiler, **kw: Any) -> str:
    return f"jsonb_array_elements(CAST({compiler.process(element.clauses, **kw)} AS jsonb))"


@compiles(json_part, "sqlite")
def _part_sqlite(element: json_part, compiler: SQLCompiler, **kw: Any) -> str:
    value, place = _parts(element, compiler, 1, **kw)
    return f"json_extract({value}, '$[{place}]')"


@compiles(json_part, "postgresql")
def _part_postgresql(element: json_part, compiler: SQLCompiler, **kw: Any) -> str:
    value, place = _parts(element, compiler, 1, **kw)
    return f"({value} -> {place})"


class commas(FunctionElement[str]):
    """All values of a column as one text with commas between them, NULL of none: an aggregate.

    A million ids arrive as one value in a third of the time that as many rows take.
    """

    inherit_cache = True
    type = sa.Text()


@compiles(commas, "sqlite")
def _commas_sqlite(element: commas, compiler: SQLCompiler, **kw: Any) -> str:
    return f"group_concat({compiler.process(element.clauses, **kw)})"


@compiles(commas, "postgresql")
def _commas_postgresql(element: commas, compiler: SQLCompiler, **kw: Any) -> str:
    return f"string_agg(CAST({compiler.process(element.clauses, **kw)} AS text), ',')"
