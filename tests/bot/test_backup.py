"""Backup and restore, between both databases."""

import json
import os
import threading
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot import accounts, backup, db, migrate
from bot.errors import Refused
from bot.tables import metadata
from bot.tables.accounts import media
from bot.tables.events import daily_counts, events
from bot.tables.followers import followers
from tests import factories

POSTGRES_URL = os.environ.get("TEST_DATABASE_URL", "")
KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


def empty_database(kind: str, path: Path, name: str) -> Iterator[sa.Engine]:
    if kind == "sqlite":
        engine = db.make_engine(f"sqlite:///{path / name}.db")
        yield engine
        engine.dispose()
        return
    if not POSTGRES_URL:
        pytest.skip("TEST_DATABASE_URL is not set")
    database = f"qunfen_{name}_{os.getpid()}"
    server = sa.create_engine(POSTGRES_URL, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f"drop database if exists {database}"))
        connection.execute(sa.text(f"create database {database}"))
    url = sa.make_url(POSTGRES_URL).set(database=database)
    engine = db.make_engine(url.render_as_string(hide_password=False))
    yield engine
    engine.dispose()
    with server.connect() as connection:
        connection.execute(sa.text(f"drop database {database} with (force)"))
    server.dispose()


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path, now: datetime) -> Iterator[sa.Engine]:
    """A database with an account, followers, an event and a picture."""
    for engine in empty_database(request.param, tmp_path, "source"):
        migrate.upgrade(engine)
        with db.writing(engine) as session:
            account_id = factories.make_account(session, now=now)
            ids = factories.make_followers(session, account_id, 1203, now=now)
            tag_id = factories.make_tag(session, account_id, "微博来源")
            factories.give_tag(session, account_id, ids[0], tag_id, now=now)
            session.execute(
                sa.insert(events).values(
                    account_id=account_id,
                    follower_id=ids[1],
                    kind="click",
                    number=1.5,
                    data={"链接": ["一", None, True]},
                    at=now,
                )
            )
            session.execute(
                sa.insert(daily_counts).values(
                    account_id=account_id, day=now.date(), kind="click", key="", times=1, people=1
                )
            )
            session.execute(
                sa.insert(media).values(
                    account_id=account_id, kind="image", name="a", sha256="x", data=b"\x00\xff\x10"
                )
            )
        yield engine


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    yield from empty_database(request.param, tmp_path, "target")


def everything(engine: sa.Engine) -> dict[str, list[dict[str, object]]]:
    with db.reading(engine) as session:
        return {
            table.name: [
                dict(row)
                for row in session.execute(
                    sa.select(table).order_by(*table.primary_key.columns)
                ).mappings()
            ]
            for table in metadata.sorted_tables
        }


def test_what_is_restored_is_what_was_backed_up(
    source: sa.Engine, target: sa.Engine, tmp_path: Path, now: datetime
) -> None:
    file = tmp_path / "backup.zip"
    written = backup.backup(source, file, factories.SECRET_KEY, now)
    assert written.rows["followers"] == 1203
    assert file.stat().st_mode & 0o077 == 0
    restored = backup.restore(target, file, factories.SECRET_KEY)
    assert restored.same_key
    assert everything(target) == everything(source)
    with db.writing(target) as session:  # ids go on after the highest
        account = accounts.get(session, "muyan")
        assert accounts.secrets_of(session, account.id, factories.SECRET_KEY).token
        new = factories.make_follower(session, account.id, 9999, now=now)
        assert new > 1203


def test_a_backup_is_of_one_moment_while_others_write(
    source: sa.Engine, target: sa.Engine, tmp_path: Path, now: datetime
) -> None:
    stopping, wrote = threading.Event(), threading.Event()

    def write() -> None:
        number = 5000
        while not stopping.is_set():
            number += 1
            with db.writing(source) as session:  # a follower and what they did, never one alone
                follower_id = factories.make_follower(session, 1, number, now=now)
                row = {"account_id": 1, "follower_id": follower_id, "kind": "subscribe", "at": now}
                session.execute(sa.insert(events).values(**row))
            wrote.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert wrote.wait(20)
    file = tmp_path / "b.zip"
    written = backup.backup(source, file, factories.SECRET_KEY, now)
    wrote.clear()
    assert wrote.wait(20), "writing went on all the while"
    stopping.set()
    writer.join()
    assert written.rows["followers"] - 1203 == written.rows["events"] - 1 > 0
    backup.restore(target, file, factories.SECRET_KEY)


def test_a_filled_installation_is_never_restored_into(
    engine: sa.Engine, tmp_path: Path, now: datetime
) -> None:
    migrate_stamp(engine)
    with db.writing(engine) as session:
        factories.make_account(session, now=now)
    file = tmp_path / "b.zip"
    backup.backup(engine, file, factories.SECRET_KEY, now)
    with pytest.raises(Refused, match="not empty"):
        backup.restore(engine, file, factories.SECRET_KEY)


def test_another_secret_key_is_noticed(engine: sa.Engine, tmp_path: Path, now: datetime) -> None:
    migrate_stamp(engine)
    file = tmp_path / "b.zip"
    backup.backup(engine, file, factories.SECRET_KEY, now)
    assert not backup.restore(engine, file, "another-secret-key-of-this-test").same_key


def test_a_backup_never_overwrites(engine: sa.Engine, tmp_path: Path, now: datetime) -> None:
    migrate_stamp(engine)
    file = tmp_path / "b.zip"
    file.write_text("precious")
    with pytest.raises(Refused, match="exists"):
        backup.backup(engine, file, factories.SECRET_KEY, now)
    assert file.read_text() == "precious"


def test_a_damaged_file_is_refused_and_nothing_is_written(
    engine: sa.Engine, tmp_path: Path, now: datetime
) -> None:
    migrate_stamp(engine)
    with db.writing(engine) as session:
        account_id = factories.make_account(session, now=now)
        factories.make_followers(session, account_id, 3, now=now)
    good = tmp_path / "good.zip"
    backup.backup(engine, good, factories.SECRET_KEY, now)
    contents = {}
    with zipfile.ZipFile(good) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    first_lines = contents["followers.jsonl"].splitlines(keepends=True)
    manifest = json.loads(contents["manifest.json"])
    damaged = {
        "short": contents | {"followers.jsonl": b"".join(first_lines[:2])},
        "nonsense": contents | {"followers.jsonl": b"{not json\n"},
        "newer": contents | {"manifest.json": json.dumps(manifest | {"revision": "99"}).encode()},
        "other": contents | {"manifest.json": b'{"format": "tar"}'},
    }
    empty = db.make_engine(f"sqlite:///{tmp_path}/empty.db")
    for name, files in damaged.items():
        bad = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(bad, "w") as archive:
            for inner, raw in files.items():
                archive.writestr(inner, raw)
        with pytest.raises(Refused):
            backup.restore(empty, bad, factories.SECRET_KEY)
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(Refused, match="not a backup"):
        backup.restore(empty, tmp_path / "text.zip", factories.SECRET_KEY)
    migrate.upgrade(empty)
    with db.reading(empty) as session:
        assert session.execute(sa.select(sa.func.count()).select_from(followers)).scalar() == 0
    empty.dispose()


def migrate_stamp(engine: sa.Engine) -> None:
    """Whatever made the fixture's tables, from here on they are at this program's revision."""
    if migrate.current(engine) is None:
        metadata.drop_all(engine)
        migrate.upgrade(engine)
