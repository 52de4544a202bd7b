"""Many QR channels from one list (one per shop): read, checked line by line, and stored all or none.

A list is pasted text, a CSV file or an XLSX file. Without a line of headings its columns are those of
``COLUMNS`` in order.
"""

import csv
import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from bot import jobs, scenes
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.followers import tags as tags_table
from bot.tables.tracking import scenes as table
from rules import pinyin

MOST = 1000  # codes of one list
MOST_BYTES = 2 * 1024 * 1024  # of an uploaded file
MOST_UNPACKED = 50 * 1024 * 1024  # of an XLSX file, which is a ZIP
COLUMNS = ("name", "key", "group", "tags", "reply", "cost")
# what a heading may be called, lower case
_HEADINGS = {
    "name": ("name", "名称", "名字", "渠道名称", "门店名称"),
    "key": ("key", "scene", "场景值", "编号", "参数"),
    "group": ("group", "分组", "分类"),
    "tags": ("tags", "tag", "标签"),
    "reply": ("reply", "回复", "回复内容", "扫码回复"),
    "cost": ("cost", "成本", "费用", "花费"),
}
_COLUMN_OF = {heading: name for name, listed in _HEADINGS.items() for heading in listed}
_TAG_MARKS = str.maketrans("，；;|\n", "、、、、、")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in a line of the list; ``line`` 0 is the list as a whole."""

    line: int
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Row:
    """A line with something in it, by column."""

    line: int
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class New:
    """A code to be made."""

    line: int
    key: str
    name: str
    group: str
    tags: tuple[str, ...]
    reply: Mapping[str, Any] | None
    cost: float | None


@dataclass(frozen=True, slots=True)
class Checked:
    """``new`` is complete only without ``problems``."""

    new: list[New] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_text(text: str) -> list[Row]:
    """The lines of a pasted or CSV list; columns are parted by tabs where there is one, else by commas.

    Raises:
        Invalid: the text is no list, or too long.
    """
    if "\x00" in text:
        raise Invalid("list", "this is not a text")
    mark = "\t" if "\t" in text.split("\n", 1)[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    return _rows(_numbered(reader))


def read_file(name: str, data: bytes) -> list[Row]:
    """The lines of an uploaded CSV or XLSX file. What it is decides its content, not its name.

    Raises:
        Invalid: it is neither, or too large.
    """
    if len(data) > MOST_BYTES:
        raise Invalid("file", "the file is larger than 2 MB")
    if data[:4] == b"PK\x03\x04":
        return _rows(_sheet(data))
    if data[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" or name.lower().endswith(".xls"):
        raise Invalid("file", "old .xls files cannot be read; save it as .xlsx or .csv")
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return read_text(data.decode(encoding))
        except UnicodeDecodeError:
            continue
        except Invalid as problem:
            raise Invalid("file", problem.message) from None
    raise Invalid("file", "this is not a text")


def check(
    session: Session,
    account_id: int,
    rows: Sequence[Row],
    *,
    prefix: str = "",
    group: str = "",
    tags: Sequence[str] = (),
) -> Checked:
    """Every code of a list with its key, and every problem with its line.

    A missing key is made of ``prefix`` and the next free number, without a prefix of the name's pinyin.
    ``group`` stands in for a missing one, ``tags`` are given to all.
    """
    found = Checked()
    if not rows:
        found.problems.append(Problem(0, "list", "the list is empty"))
    if len(rows) > MOST:
        found.problems.append(Problem(0, "list", f"at most {MOST} codes at once"))
    if found.problems:
        return found
    stored = session.execute(
        sa.select(table.c.key, table.c.permanent, table.c.archived_at).where(
            table.c.account_id == account_id
        )
    ).all()
    if sum(row.permanent for row in stored) + len(rows) > scenes.MOST_PERMANENT:
        found.problems.append(
            Problem(0, "list", "the platform keeps 100,000 permanent codes of an account")
        )
    known = set(
        session.execute(
            sa.select(tags_table.c.name).where(
                tags_table.c.account_id == account_id, tags_table.c.archived_at.is_(None)
            )
        ).scalars()
    )
    taken = {row.key for row in stored}
    lines = {row.values["key"]: row.line for row in reversed(rows) if row.values.get("key")}
    keys = _Keys(prefix, taken | set(lines))
    for row in rows:
        given = row.values
        key = given.get("key", "") or keys(given.get("name", ""))
        if key in taken:
            found.problems.append(Problem(row.line, "key", f"the key '{key}' is taken already"))
        elif lines.get(key, row.line) != row.line:
            message = f"the key '{key}' stands in line {lines[key]} too"
            found.problems.append(Problem(row.line, "key", message))
        new, problems = _checked(row, key, group, tags, known)
        found.problems.extend(problems)
        if new is not None:
            found.new.append(new)
    return found


def create(session: Session, account_id: int, new: Iterable[New], now: datetime) -> int | None:
    """Store the codes of a list without problems; the job that makes them on the platform.

    Raises:
        Invalid: a code has a problem after all.
        Refused: somebody else took a key in the meantime.
    """
    for one in new:
        if scenes.exists(session, account_id, one.key):
            raise Refused(f"the key '{one.key}' is taken already")
        scenes.save(
            session,
            account_id,
            key=one.key,
            name=one.name,
            group=one.group,
            tags=one.tags,
            reply=one.reply,
            cost=one.cost,
            now=now,
        )
    return make_soon(session, account_id, now)


def make_soon(session: Session, account_id: int, now: datetime) -> int | None:
    """Enqueue the job that makes what was never made."""
    return jobs.enqueue(
        session, scenes.MAKE, {"account_id": account_id}, now=now, account_id=account_id
    )


def quoted(cell: str) -> str:
    """A cell as ``read_text`` reads it back in a list parted by tabs."""
    if not any(mark in cell for mark in '\t\n\r"'):
        return cell
    return '"' + cell.replace('"', '""') + '"'


def tag_names(text: str) -> list[str]:
    """The tags of one cell, parted by 、 ， ； or |."""
    listed = text.replace(",", "、").translate(_TAG_MARKS).split("、")
    return list(dict.fromkeys(name.strip() for name in listed if name.strip()))


def _checked(
    row: Row, key: str, group: str, tags: Sequence[str], known: set[str]
) -> tuple[New | None, list[Problem]]:
    given = row.values
    problems = []
    names = list(dict.fromkeys([*tags, *tag_names(given.get("tags", ""))]))
    problems += [
        Problem(row.line, "tags", f"there is no tag '{name[:60]}'")
        for name in names
        if name not in known
    ]
    cost: float | None = None
    if text := given.get("cost", "").replace("¥", "").replace("元", "").replace(",", "").strip():
        try:
            cost = float(text)
        except ValueError:
            problems.append(Problem(row.line, "cost", "must be a number from 0 up"))
    reply = {"text": given["reply"]} if given.get("reply") else None
    new = New(
        row.line,
        key,
        given.get("name", ""),
        given.get("group", "") or group,
        tuple(names),
        reply,
        cost,
    )
    try:
        scenes.check(key=key, name=new.name, group=new.group, tags=new.tags, reply=reply, cost=cost)
    except Invalid as problem:
        problems.append(Problem(row.line, problem.field, problem.message))
    return (None if problems else new), problems


class _Keys:
    """Keys nobody has: ``prefix`` and a number that goes on after the largest, or the name in pinyin."""

    def __init__(self, prefix: str, taken: set[str]) -> None:
        self._prefix = prefix
        self._taken = set(taken)
        tails = [key.removeprefix(prefix) for key in taken if key.startswith(prefix)]
        numbers = [int(tail) for tail in tails if tail.isascii() and tail.isdigit()]
        self._number = max(numbers, default=0)

    def __call__(self, name: str) -> str:
        key = self._numbered() if self._prefix else self._spelt(name)
        self._taken.add(key)
        return key

    def _numbered(self) -> str:
        self._number += 1
        return f"{self._prefix}{self._number:02d}"

    def _spelt(self, name: str) -> str:
        spelt = "".join(pinyin.syllables(name)).lower()
        base = "".join(letter for letter in spelt if scenes.KEY.fullmatch(letter))[:50] or "code"
        key, number = base, 2
        while key in self._taken:
            key, number = f"{base}_{number}", number + 1
        return key


def _numbered(reader: Any) -> Iterator[tuple[int, list[str]]]:
    line = 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error:
        raise Invalid("list", f"line {line} cannot be read") from None


def _sheet(data: bytes) -> Iterator[tuple[int, list[str]]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            if sum(part.file_size for part in packed.infolist()) > MOST_UNPACKED:
                raise Invalid("file", "the file is too large when unpacked")
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        for line, cells in enumerate(
            sheet.iter_rows(max_row=MOST + 1000, max_col=20, values_only=True), 1
        ):
            yield line, [_cell(value) for value in cells]
        book.close()
    except (
        zipfile.BadZipFile,
        InvalidFileException,
        KeyError,
        IndexError,
        ValueError,
        TypeError,
        AttributeError,
        OSError,
        EOFError,
        RuntimeError,  # it is encrypted, or packed in a way nobody knows
        zlib.error,
    ):
        raise Invalid("file", "the file cannot be read as XLSX") from None
    except SyntaxError:  # xml.etree's ParseError
        raise Invalid("file", "the file cannot be read as XLSX") from None


def _cell(value: Any) -> str:
    if value is None:
        return ""
    # spreadsheets keep 12 as 12.0
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _rows(lines: Iterable[tuple[int, list[str]]]) -> list[Row]:
    columns: Sequence[str | None] | None = None
    rows: list[Row] = []
    for line, cells in lines:
        values = [cell.strip() for cell in cells]
        if not any(values):
            continue
        if columns is None:
            named = [_COLUMN_OF.get(value.lower()) for value in values]
            columns = named if "name" in named else COLUMNS
            if "name" in named:
                continue
        pairs = zip(columns, values, strict=False)
        rows.append(Row(line, {column: value for column, value in pairs if column and value}))
        if len(rows) > MOST:
            break
    return rows
