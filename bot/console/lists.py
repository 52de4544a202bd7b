"""What every list has: search, filters kept in the address, sort, column choice, CSV, and a total."""

import csv
import io
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import chain
from typing import Any
from urllib.parse import quote, urlencode

import xlsxwriter
from flask import Response, request, stream_with_context
from flask_babel import lazy_gettext as _l

from bot.clock import local
from bot.errors import Invalid

LONGEST_SEARCH = 100  # characters
PAGE_SIZE = 30
ROWS = _l("条")
_TEMPTING = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet reads as a formula
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list: ``shown`` says whether it shows before anybody chose."""

    name: str
    label: Any
    sort: bool = False
    number: bool = False
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of a list: a choice of (value, label), or free text where ``choices`` is None."""

    name: str
    label: Any
    choices: Sequence[tuple[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks of a list. ``after`` is the cursor of a long list, ``page`` the number of a short one."""

    q: str
    sort: str
    down: bool
    columns: tuple[str, ...]
    filters: Mapping[str, str]
    after: str
    page: int
    format: str

    def has(self, name: str) -> str:
        """The value of a filter; empty when it is not set."""
        return self.filters.get(name, "")


@dataclass(frozen=True)
class Listing:
    """A list as its template draws it.

    ``rows`` are dicts or objects; ``more`` is the next cursor (text) or page (number), None at the end.
    """

    asked: Asked
    columns: Sequence[Column]
    filters: Sequence[Filter]
    rows: Sequence[Any]
    total: int | None
    more: str | int | None = None
    unit: Any = ROWS
    about: str = ""  # beside the total: "10 万以上" and the like
    exports: Sequence[str] = ("csv",)
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def shown(self) -> list[Column]:
        """The columns that are shown, in their own order."""
        return [column for column in self.columns if column.name in self.asked.columns]

    @property
    def narrowed(self) -> bool:
        """Whether a search or a filter is set."""
        return bool(self.asked.q or any(self.asked.filters.values()))

    def url(self, **changes: Any) -> str:
        """This list's address with some of its words changed; empty ones are left out."""
        words: dict[str, Any] = {
            name: values if name == "columns" else values[-1]
            for name, values in request.args.lists()
        }
        if not changes.keys() & {"after", "page"}:
            words.pop("after", None)
            words.pop("page", None)
        words.update(changes)
        kept = {name: value for name, value in words.items() if value not in ("", None, [])}
        return f"{request.path}?{urlencode(kept, doseq=True)}" if kept else request.path

    @property
    def next_url(self) -> str | None:
        """The address of the next page; None on the last."""
        if self.more is None:
            return None
        return self.url(page=self.more) if isinstance(self.more, int) else self.url(after=self.more)

    def sort_url(self, column: Column) -> str:
        """The address that sorts by a column, the other way round when it does already."""
        again = self.asked.sort == column.name and not self.asked.down
        return self.url(sort=f"-{column.name}" if again else column.name)


def asked(
    args: Any, columns: Sequence[Column], filters: Sequence[Filter] = (), *, sort: str = ""
) -> Asked:
    """Read a list's address. What it does not know is ignored, so that an old bookmark still works.

    ``sort`` is the order nobody asked for, ``-name`` for downwards.

    Raises:
        Invalid: a search longer than 100 characters, or a page that is no number.
    """
    q = args.get("q", "").strip()
    if len(q) > LONGEST_SEARCH:
        raise Invalid("q", "is longer than 100 characters")
    wanted = args.get("sort", "") or sort
    sortable = {column.name for column in columns if column.sort}
    if wanted.removeprefix("-") not in sortable:
        wanted = sort
    known = [column.name for column in columns]
    chosen = [name for name in args.getlist("columns") if name in known]
    page = args.get("page", "1")
    if not re.fullmatch(r"[1-9]\d{0,5}", page):
        raise Invalid("page", "must be a number from 1")
    return Asked(
        q=q,
        sort=wanted.removeprefix("-"),
        down=wanted.startswith("-"),
        columns=tuple(chosen) or tuple(column.name for column in columns if column.shown),
        filters={one.name: _chosen(args.get(one.name, "").strip(), one) for one in filters},
        after=args.get("after", "")[:200],
        page=int(page),
        format=args.get("format", ""),
    )


def _chosen(value: str, one: Filter) -> str:
    if one.choices is None:
        return value[:LONGEST_SEARCH]
    return value if value in [str(choice) for choice, _label in one.choices] else ""


def whole(text: str) -> int | None:
    """A whole number from 0 that every database takes; None for whatever else was typed."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def cell(value: Any) -> Any:
    """A value as a spreadsheet may have it: texts that look like formulas begin with an apostrophe."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int | float):
        return value
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{local(value):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, date):
        return value.isoformat()
    text = (
        "、".join(map(str, value))
        if isinstance(value, list | tuple | set | frozenset)
        else str(value)
    )
    text = text.replace("\x00", "")
    return f"'{text}" if text.startswith(_TEMPTING) and not _NUMBER.fullmatch(text) else text


def csv_file(name: str, header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> Response:
    """A CSV for download, streamed; with the mark by which Excel knows UTF-8."""

    def lines() -> Iterator[str]:
        buffer = io.StringIO()
        writer = csv.writer(buffer)
        buffer.write("\ufeff")
        writer.writerow([cell(str(one)) for one in header])
        for number, row in enumerate(rows):
            writer.writerow([cell(one) for one in row])
            if number % 200 == 0:
                yield buffer.getvalue()
                buffer.seek(0)
                buffer.truncate()
        yield buffer.getvalue()

    return Response(
        stream_with_context(lines()),
        mimetype="text/csv; charset=utf-8",
        headers=attachment(f"{name}.csv"),
    )


def xlsx_file(name: str, header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> Response:
    """An Excel file for download, written to disk row by row; nothing in it is a formula or a link."""
    with tempfile.SpooledTemporaryFile(max_size=1 << 20) as file:
        book = xlsxwriter.Workbook(
            file,
            {
                "constant_memory": True,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
            },
        )
        sheet = book.add_worksheet()
        for number, row in enumerate(chain([[str(one) for one in header]], rows)):
            for place, value in enumerate(row):
                sheet.write(number, place, cell(value))
        book.close()
        file.seek(0)
        data = file.read()
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    return Response(data, mimetype=kind, headers=attachment(f"{name}.xlsx"))


def csv_text(header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """A small CSV as a text, for a file inside another."""
    buffer = io.StringIO()
    buffer.write("\ufeff")
    csv.writer(buffer).writerows([cell(one) for one in row] for row in [header, *rows])
    return buffer.getvalue()


def attachment(name: str) -> dict[str, str]:
    """Headers of a download under this name, which may be Chinese."""
    safe = re.sub(r"[^\w.\-]+", "_", name)
    plain = safe.encode("ascii", "replace").decode().replace("?", "_")
    return {
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(safe)}"
    }
