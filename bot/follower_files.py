"""Files of followers: what a file for download holds, and reading one that somebody uploads.

A file names followers by OpenID and may set remark, tags and fields of those who are known; it makes
nobody. Reading it twice changes nothing: a tag one has keeps its origin, a value that is the same stays.
"""

import csv
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from xml.etree.ElementTree import ParseError

import sqlalchemy as sa
from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from bot import jobs, kept, secrets, tag_families, tag_people
from bot.db import Session, reading, writing
from bot.errors import Invalid, Refused
from bot.follower_search import remark_key
from bot.tables.followers import followers, tags
from bot.tables.jobs import kept as kept_table

IMPORT_FOLLOWERS = "import_followers"
LARGEST = 20 * 1024 * 1024  # bytes of an upload
UNPACKED = 200 * 1024 * 1024  # bytes an Excel file may unpack to
RATIO = 200  # times an Excel file may grow; a real one grows tenfold
MOST_LINES = 200_000
MOST_COLUMNS = 100
MOST_TAGS = 20  # new tags one file may make
PIECE = 500  # lines a transaction, and a stored piece
KEPT = timedelta(hours=24)  # an upload that nobody confirmed
SHOWN = 20  # problems that are shown
FIELD = "字段:"
NAMES = {"openid": "open_id", "open_id": "open_id", "备注": "remark", "remark": "remark"}
NAMES |= {"标签": "tags", "tags": "tags"}
# columns of our own files that say nothing one could set
OURS = (
    "状态",
    "首次来源",
    "最近扫码",
    "关注时间",
    "取关时间",
    "最后互动",
    "消息数",
    "退订",
    "可下发",
)
_OPEN_ID = re.compile(r"[A-Za-z0-9_-]{10,64}")
_TAGS = re.compile(r"[、，,;；|\n]")
_APOSTROPHE = re.compile(r"'(?=[=+\-@\t\r])")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of an upload, by its number in the file. None: the file says nothing of it."""

    line: int
    open_id: str
    remark: str | None = None
    tags: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Upload:
    """What a file says. ``wrong`` are (line, sentence) of lines that cannot be read; ``ignored`` columns."""

    rows: Sequence[Row]
    wrong: Sequence[tuple[int, str]]
    columns: Sequence[str]
    ignored: Sequence[str]


@dataclass(frozen=True, slots=True)
class Look:
    """What carrying out an upload would do: lines by what they are, and tags that do not exist yet."""

    known: int
    unknown: int
    unknown_lines: Sequence[int]
    wrong: int
    wrong_lines: Sequence[tuple[int, str]]
    new_tags: Sequence[str]
    columns: Sequence[str]
    ignored: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read(name: str, data: bytes) -> Upload:
    """Read an uploaded CSV (UTF-8 or GB 18030) or XLSX.

    Raises:
        Invalid: it is no such file, too large, has too many lines, or no column of OpenIDs.
    """
    if len(data) > LARGEST:
        raise Invalid("file", "is larger than 20 MB")
    lines = _xlsx(data) if data[:4] == b"PK\x03\x04" else _csv(name, data)
    header = next(lines, None)
    if header is None:
        raise Invalid("file", "is empty")
    columns, ignored = _columns(header)
    rows: list[Row] = []
    wrong: list[tuple[int, str]] = []
    seen: dict[str, int] = {}
    for number, cells in enumerate(lines, start=2):
        if number > MOST_LINES + 1:
            raise Invalid("file", "has more than 200,000 lines")
        if not any(cells):
            continue
        row = _row(number, cells, columns)
        if isinstance(row, str):
            wrong.append((number, row))
        elif row.open_id in seen:
            wrong.append((number, f"the same person as in line {seen[row.open_id]}"))
        else:
            seen[row.open_id] = number
            rows.append(row)
    if not rows and not wrong:
        raise Invalid("file", "is empty")
    return Upload(rows, wrong, [one for one in columns.values() if one != "open_id"], ignored)


def look(session: Session, account_id: int, upload: Upload) -> Look:
    """What the upload would do, without doing it."""
    unknown: list[int] = []
    named: dict[str, None] = {}
    for start in range(0, len(upload.rows), PIECE):
        piece = upload.rows[start : start + PIECE]
        found = _ids(session, account_id, [row.open_id for row in piece])
        unknown += [row.line for row in piece if row.open_id not in found]
        named |= dict.fromkeys(tag for row in piece for tag in row.tags)
    have = set(
        session.execute(sa.select(tags.c.name).where(tags.c.account_id == account_id)).scalars()
    )
    new_tags = [name for name in named if name not in have]
    if len(new_tags) > MOST_TAGS:
        raise Invalid("file", f"would make more than {MOST_TAGS} new tags; is the column right?")
    return Look(
        known=len(upload.rows) - len(unknown),
        unknown=len(unknown),
        unknown_lines=unknown[:SHOWN],
        wrong=len(upload.wrong),
        wrong_lines=list(upload.wrong[:SHOWN]),
        new_tags=new_tags,
        columns=upload.columns,
        ignored=upload.ignored,
    )


def keep(
    session: Session,
    account_id: int,
    upload: Upload,
    found: Look,
    mark: str,
    secret_key: str,
    now: datetime,
) -> None:
    """Keep an upload until it is confirmed, at most a day. Sealed: it names people who may be erased meanwhile."""
    until = now + KEPT
    pieces = range(0, len(upload.rows), PIECE)
    for number, start in enumerate(pieces):
        rows = [asdict(row) for row in upload.rows[start : start + PIECE]]
        packed = zlib.compress(json.dumps(rows, ensure_ascii=False).encode()).hex()
        kept.write(session, _key(account_id, mark, number), secrets.seal(secret_key, packed), until)
    about = {"pieces": len(pieces), "rows": len(upload.rows), "look": found.to_json()}
    kept.write(session, _key(account_id, mark), json.dumps(about, ensure_ascii=False), until)


def kept_look(
    session: Session, account_id: int, mark: str, now: datetime
) -> tuple[Look, int] | None:
    """What was looked at under this mark, and how many lines it has; None when it is gone."""
    stored = kept.read(session, _key(account_id, mark), now)
    if stored is None:
        return None
    about = json.loads(stored)
    return Look(**about["look"]), int(about["rows"])


def begin(session: Session, account_id: int, mark: str, *, by: str, now: datetime) -> int:
    """Carry out a kept upload by a job; its id.

    Raises:
        Refused: it is gone, or was begun already.
    """
    found = kept_look(session, account_id, mark, now)
    job_id = None
    if found is not None:
        job_id = jobs.enqueue(
            session,
            IMPORT_FOLLOWERS,
            {"mark": mark, "piece": 0, "by": by, "changed": 0, "total": found[1]},
            now=now,
            unique_key=f"{IMPORT_FOLLOWERS}:{account_id}:{mark}",
            account_id=account_id,
        )
    if job_id is None:
        raise Refused("this upload is gone or was begun already; upload the file again")
    return job_id


def step(
    engine: sa.Engine,
    account_id: int,
    job_id: int,
    arguments: Mapping[str, Any],
    secret_key: str,
    now: datetime,
) -> dict[str, Any] | None:
    """Carry out one piece of an import: the arguments of the next, None at the end."""
    key = _key(account_id, str(arguments["mark"]), int(arguments["piece"]))
    with reading(engine) as session:
        sealed = kept.read(session, key, now)
    if sealed is None:
        with writing(engine) as session:
            _forget(session, account_id, str(arguments["mark"]))
        return None
    packed = zlib.decompress(bytes.fromhex(secrets.unseal(secret_key, sealed)))
    rows = [Row(**{**one, "tags": tuple(one["tags"])}) for one in json.loads(packed)]
    with writing(engine) as session:
        changed = _carry_out(session, account_id, rows, str(arguments["by"]), now)
        done = min((int(arguments["piece"]) + 1) * PIECE, int(arguments["total"]))
        jobs.progress(session, job_id, done, int(arguments["total"]))
    return {
        **arguments,
        "piece": int(arguments["piece"]) + 1,
        "changed": int(arguments["changed"]) + changed,
    }


def _carry_out(
    session: Session, account_id: int, rows: Sequence[Row], by: str, now: datetime
) -> int:
    """Set what the lines say of those who are known; how many people changed."""
    found = _ids(session, account_id, [row.open_id for row in rows])
    changed: set[int] = set()
    worn: dict[str, list[int]] = {}
    for row in rows:
        person = found.get(row.open_id)
        if person is None:
            continue
        values: dict[str, Any] = {}
        if row.remark is not None and row.remark != (person.remark or ""):
            values |= {"remark": row.remark or None, "remark_search": remark_key(row.remark)}
        fields = {k: v for k, v in {**person.fields, **row.fields}.items() if v != ""}
        if fields != person.fields:
            values["fields"] = fields
        if values:
            session.execute(sa.update(followers).where(followers.c.id == person.id).values(values))
            changed.add(person.id)
        for name in row.tags:
            worn.setdefault(name, []).append(person.id)
    for name, ids in worn.items():
        tag_id = _tag(session, account_id, name)
        if tag_people.tag_people(session, account_id, tag_id, ids, origin=f"import:{by}", now=now):
            changed |= set(ids)
    return len(changed)


def _tag(session: Session, account_id: int, name: str) -> int:
    found = session.execute(
        sa.select(tags.c.id).where(tags.c.account_id == account_id, tags.c.name == name)
    ).scalar()
    if found is not None:
        return int(found)
    made = tag_families.add(
        session,
        account_id,
        name=name,
        family="客户信息",
        sync=False,
        expires_after_days=None,
    )
    return made.id


def _ids(session: Session, account_id: int, open_ids: Sequence[str]) -> dict[str, Any]:
    rows = session.execute(
        sa.select(
            followers.c.id, followers.c.open_id, followers.c.remark, followers.c.fields
        ).where(followers.c.account_id == account_id, followers.c.open_id.in_(list(open_ids)))
    )
    return {row.open_id: row for row in rows}


def _forget(session: Session, account_id: int, mark: str) -> None:
    begin = _key(account_id, mark)
    session.execute(
        sa.delete(kept_table).where(kept_table.c.key >= begin, kept_table.c.key < begin + "~")
    )


def _key(account_id: int, mark: str, piece: int | None = None) -> str:
    return f"import:{account_id}:{mark}" + ("" if piece is None else f":{piece:06d}")


def _columns(header: Sequence[str]) -> tuple[dict[int, str], list[str]]:
    columns: dict[int, str] = {}
    ignored: list[str] = []
    for place, title in enumerate(header):
        name = NAMES.get(title.strip().lower())
        if name is None and title.startswith(FIELD) and title.removeprefix(FIELD).strip():
            name = title.strip()
        if name is None:
            ignored += [title] if title and title not in OURS else []
        elif name in columns.values():
            raise Invalid("file", f"has the column '{title}' twice")
        else:
            columns[place] = name
    if "open_id" not in columns.values():
        raise Invalid("file", "has no column OpenID in its first line")
    return columns, ignored[:SHOWN]


def _row(number: int, cells: Sequence[str], columns: Mapping[int, str]) -> Row | str:
    """A line, or what is wrong with it."""
    values = {
        name: _APOSTROPHE.sub("", cells[place].strip(), count=1) if place < len(cells) else ""
        for place, name in columns.items()
    }
    open_id = values.pop("open_id")
    if not _OPEN_ID.fullmatch(open_id):
        return "is no OpenID"
    remark = values.pop("remark", None)
    if remark is not None and len(remark) > 30:
        return "the remark has more than 30 characters"
    worn = tuple(
        dict.fromkeys(one.strip() for one in _TAGS.split(values.pop("tags", "")) if one.strip())
    )
    if any(len(one) > tag_families.LONGEST_NAME or not one.isprintable() for one in worn):
        return "a tag has more than 60 characters"
    fields = {name.removeprefix(FIELD).strip(): value for name, value in values.items() if value}
    if any(len(value) > 200 for value in fields.values()):
        return "a field has more than 200 characters"
    return Row(number, open_id, remark or None, worn, fields)


def _csv(name: str, data: bytes) -> Iterator[list[str]]:
    if b"\x00" in data[:4096] or name.lower().endswith((".xls", ".numbers", ".pdf")):
        raise Invalid("file", "must be CSV or XLSX")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("gb18030")  # what Excel in China writes
        except UnicodeDecodeError:
            raise Invalid("file", "must be CSV or XLSX") from None
    try:
        for cells in csv.reader(io.StringIO(text.replace("\x00", ""))):
            yield _bounded(cells)
    except csv.Error:
        raise Invalid("file", "must be CSV or XLSX") from None


def _xlsx(data: bytes) -> Iterator[list[str]]:
    """The first sheet, row by row, after the bomb checks: what it unpacks to is asked before unpacking."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            unpacked = sum(one.file_size for one in packed.infolist())
        if unpacked > UNPACKED or unpacked > RATIO * len(data):
            raise Invalid("file", "unpacks to more than any real table")
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()
        for cells in sheet.iter_rows(max_col=MOST_COLUMNS, values_only=True):
            yield _bounded(["" if one is None else str(one) for one in cells])
        book.close()
    except (
        zipfile.BadZipFile,
        InvalidFileException,
        ParseError,
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
        raise Invalid("file", "must be CSV or XLSX") from None


def _bounded(cells: Iterable[str]) -> list[str]:
    found = list(cells)
    if len(found) > MOST_COLUMNS:
        raise Invalid("file", f"has more than {MOST_COLUMNS} columns")
    return found
