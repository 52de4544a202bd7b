"""Backup and restore: one zip with a file of JSON lines a table, portable between SQLite and PostgreSQL.

``kept`` is left out: tokens, counters and leases may be lost at any time. ``QUNFEN_SECRET_KEY`` is
not in a backup; without it the account secrets inside stay closed.
"""

import base64
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import db, migrate
from bot.db import Session, UtcDateTime
from bot.errors import Refused
from bot.secrets import sign
from bot.tables import metadata

FORMAT = "qunfen-backup-1"
LEFT_OUT = ("kept",)
CHUNK = 500  # rows an INSERT
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Summary:
    """``rows`` by table; ``same_key`` is False where stored secrets will not open with this key."""

    created_at: datetime
    revision: str
    rows: Mapping[str, int]
    same_key: bool = True


def backup(engine: Engine, path: Path, secret_key: str, now: datetime) -> Summary:
    """Write everything, as of one moment, to a new file only its owner may read. Pushes go on meanwhile.

    Raises:
        Refused: the file exists, or the database is not at this program's revision.
    """
    if path.exists():
        raise Refused(f"{path} exists already; a backup never overwrites")
    revision = migrate.current(engine)
    if revision != migrate.head():
        raise Refused("the database is not at this program's revision: run `qunfen db upgrade`")
    unfinished = path.with_name(path.name + ".part")
    try:
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with (
            os.fdopen(handle, "wb") as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            with _snapshot(engine) as session:
                rows = {table.name: _dump(session, table, archive) for table in _tables()}
            manifest = {
                "format": FORMAT,
                "created_at": now.isoformat(),
                "revision": revision,
                "database": engine.dialect.name,
                "key_check": _key_check(secret_key),
                "rows": rows,
            }
            archive.writestr(MANIFEST, json.dumps(manifest, indent=2))
        unfinished.rename(path)
    except OSError as problem:
        raise Refused(f"{path} cannot be written ({problem.strerror})") from None
    finally:
        unfinished.unlink(missing_ok=True)
    assert revision is not None
    return Summary(now, revision, rows)


def restore(engine: Engine, path: Path, secret_key: str) -> Summary:
    """Fill an empty installation from a backup, in one transaction. Makes the tables where there are none.

    Raises:
        Refused: the installation has rows, the file is no backup of ours, damaged, or from a newer program.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _manifest(archive)
            _make_tables(engine, manifest["revision"])
            with db.writing(engine) as session:
                _check_empty(session)
                for table in _tables():
                    _load(session, table, archive, manifest["rows"].get(table.name, 0))
                _advance_sequences(session)
            migrate.upgrade(engine)
    except (zipfile.BadZipFile, EOFError):
        raise Refused(f"{path} is damaged or is not a backup of Qunfen") from None
    except OSError as problem:
        raise Refused(f"{path} cannot be read ({problem.strerror})") from None
    return Summary(
        datetime.fromisoformat(manifest["created_at"]),
        manifest["revision"],
        manifest["rows"],
        manifest["key_check"] == _key_check(secret_key),
    )


def _tables() -> list[sa.Table]:
    return [table for table in metadata.sorted_tables if table.name not in LEFT_OUT]


def _snapshot(engine: Engine) -> Any:
    if engine.dialect.name == "sqlite":
        return db.reading(engine)  # a transaction in WAL mode sees one moment
    return _repeatable(engine)


class _repeatable:
    """PostgreSQL shows one moment to a whole transaction only when asked."""

    def __init__(self, engine: Engine) -> None:
        self._connection = engine.connect().execution_options(isolation_level="REPEATABLE READ")

    def __enter__(self) -> Session:
        self._connection.begin()
        return self._connection

    def __exit__(self, *_error: object) -> None:
        self._connection.close()


def _dump(session: Session, table: sa.Table, archive: zipfile.ZipFile) -> int:
    query = sa.select(table).order_by(*table.primary_key.columns)
    count = 0
    with archive.open(f"{table.name}.jsonl", "w", force_zip64=True) as file:
        result = session.execution_options(yield_per=CHUNK).execute(query)
        for row in result.mappings():
            line = {column.name: _plain(row[column.name]) for column in table.columns}
            file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
            count += 1
    return count


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(bytes(value)).decode()
    return value


def _manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    try:
        found = json.loads(archive.read(MANIFEST))
        assert isinstance(found, dict)
        known = found["format"] == FORMAT and isinstance(found["rows"], dict)
        revision = str(found["revision"])
        datetime.fromisoformat(found["created_at"])
        str(found["key_check"])
    except (KeyError, ValueError, TypeError, AssertionError):
        raise Refused("the file is not a backup of Qunfen") from None
    if not known:
        raise Refused("the file is not a backup this program understands")
    if not migrate.is_known(revision):
        raise Refused(f"the backup is of revision {revision}, which is newer than this program")
    unknown = set(found["rows"]) - set(metadata.tables)
    if unknown:
        raise Refused(f"the backup has a table this program does not know: {min(unknown)}")
    return found


def _make_tables(engine: Engine, revision: str) -> None:
    current = migrate.current(engine)
    if current is None:
        migrate.upgrade(engine, revision)
    elif current != revision:
        raise Refused(
            f"the database has revision {current} and the backup {revision}: restore into an empty database"
        )


def _check_empty(session: Session) -> None:
    for table in _tables():
        if session.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
            raise Refused(
                f"this installation is not empty ('{table.name}' has rows); restore into a new one"
            )


def _load(session: Session, table: sa.Table, archive: zipfile.ZipFile, expected: int) -> None:
    try:
        file = archive.open(f"{table.name}.jsonl")
    except KeyError:
        if expected:
            raise Refused(f"the backup lacks its file {table.name}.jsonl") from None
        return
    count = 0
    with file, io.TextIOWrapper(file, encoding="utf-8") as lines:
        for chunk in _chunks(lines):
            rows = [_row(table, line) for line in chunk]
            session.execute(sa.insert(table), rows)
            count += len(rows)
    if count != expected:
        raise Refused(f"the backup is damaged: {table.name} has {count} rows instead of {expected}")


def _chunks(lines: Iterator[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _row(table: sa.Table, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
        return {
            column.name: _value(column.type, found[column.name])
            for column in table.columns
            if column.name in found
        }
    except (ValueError, TypeError, KeyError):
        raise Refused(f"the backup is damaged: a line of {table.name} cannot be read") from None


def _value(kind: sa.types.TypeEngine[Any], value: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, UtcDateTime):
        return datetime.fromisoformat(value)
    if isinstance(kind, sa.Date):
        return date.fromisoformat(value)
    if isinstance(kind, sa.LargeBinary):
        return base64.b64decode(value, validate=True)
    return value


def _advance_sequences(session: Session) -> None:
    """PostgreSQL numbers new rows by sequences, which rows with given ids do not move."""
    if session.dialect.name != "postgresql":
        return
    for table in _tables():
        if "id" in table.columns and table.columns["id"].autoincrement is True:
            highest = session.execute(sa.select(sa.func.max(table.c.id))).scalar()
            if highest is not None:
                sequence = sa.func.pg_get_serial_sequence(table.name, "id")
                session.execute(sa.select(sa.func.setval(sequence, highest)))


def _key_check(secret_key: str) -> str:
    return sign(secret_key, "backup", b"same key?", 8).hex()
