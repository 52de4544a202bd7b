"""The platform's memory: one SQLite file (WAL) behind one connection and one lock."""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS accounts (
  id INTEGER PRIMARY KEY, app_id TEXT NOT NULL UNIQUE, app_secret TEXT NOT NULL, token TEXT NOT NULL,
  aes_key TEXT, original_id TEXT NOT NULL, kind TEXT NOT NULL, verified INTEGER NOT NULL,
  callback_url TEXT, mode TEXT NOT NULL, options TEXT NOT NULL DEFAULT '{}', menu TEXT,
  speed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS tokens (
  token TEXT PRIMARY KEY, account_id INTEGER NOT NULL, family TEXT NOT NULL, made_at REAL NOT NULL,
  expires_at REAL NOT NULL, killed INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tokens_account ON tokens (account_id, family, expires_at);
CREATE TABLE IF NOT EXISTS used (
  account_id INTEGER NOT NULL, period TEXT NOT NULL, api TEXT NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (account_id, api, period)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refused (
  account_id INTEGER NOT NULL, path TEXT NOT NULL, errcode INTEGER NOT NULL, count INTEGER NOT NULL,
  last_at REAL NOT NULL, PRIMARY KEY (account_id, path, errcode)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS followers (
  id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL, open_id TEXT NOT NULL,
  subscribed INTEGER NOT NULL DEFAULT 1, subscribe_time REAL NOT NULL DEFAULT 0,
  subscribe_scene TEXT NOT NULL DEFAULT 'ADD_SCENE_SEARCH', scene TEXT NOT NULL DEFAULT '',
  remark TEXT NOT NULL DEFAULT '', unionid TEXT, refuses INTEGER NOT NULL DEFAULT 0,
  blacklisted INTEGER NOT NULL DEFAULT 0, long_left INTEGER NOT NULL DEFAULT 0,
  long_until REAL NOT NULL DEFAULT 0, short_left INTEGER NOT NULL DEFAULT 0,
  short_until REAL NOT NULL DEFAULT 0, wrote_at REAL NOT NULL DEFAULT 0, UNIQUE (account_id, open_id));
CREATE TABLE IF NOT EXISTS tags (
  account_id INTEGER NOT NULL, id INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (account_id, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS follower_tags (
  account_id INTEGER NOT NULL, tag_id INTEGER NOT NULL, open_id TEXT NOT NULL, added INTEGER NOT NULL,
  PRIMARY KEY (account_id, open_id, tag_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS follower_tags_tag ON follower_tags (account_id, tag_id, open_id);
CREATE TABLE IF NOT EXISTS received (
  id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL, open_id TEXT NOT NULL, way TEXT NOT NULL,
  body TEXT, at REAL NOT NULL, month TEXT NOT NULL, job_id INTEGER);
CREATE INDEX IF NOT EXISTS received_follower ON received (account_id, open_id, id);
CREATE INDEX IF NOT EXISTS received_job ON received (job_id) WHERE job_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS mass_counts (
  account_id INTEGER NOT NULL, month TEXT NOT NULL, open_id TEXT NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (account_id, month, open_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mass_jobs (
  id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL, audience TEXT NOT NULL, body TEXT NOT NULL,
  client_id TEXT, submitted_at REAL NOT NULL, due_at REAL NOT NULL, status TEXT NOT NULL,
  total INTEGER NOT NULL DEFAULT 0, filtered INTEGER NOT NULL DEFAULT 0, sent INTEGER NOT NULL DEFAULT 0,
  errors INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS mass_jobs_due ON mass_jobs (status, due_at);
CREATE INDEX IF NOT EXISTS mass_jobs_account ON mass_jobs (account_id, submitted_at);
CREATE TABLE IF NOT EXISTS mass_targets (
  job_id INTEGER NOT NULL, open_id TEXT NOT NULL, PRIMARY KEY (job_id, open_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS client_ids (
  account_id INTEGER NOT NULL, client_id TEXT NOT NULL, job_id INTEGER NOT NULL, at REAL NOT NULL,
  tried_at REAL NOT NULL, lost INTEGER NOT NULL, PRIMARY KEY (account_id, client_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS due_events (
  id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL, due_at REAL NOT NULL, open_id TEXT NOT NULL,
  fields TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pushes (
  id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL, open_id TEXT NOT NULL, kind TEXT NOT NULL,
  at REAL NOT NULL, attempts INTEGER NOT NULL, outcome TEXT NOT NULL, why TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS faults (
  id INTEGER PRIMARY KEY, app_id TEXT, path TEXT NOT NULL, kind TEXT NOT NULL, errcode INTEGER, seconds REAL,
  after INTEGER NOT NULL, times INTEGER, probability REAL NOT NULL DEFAULT 1);
CREATE TABLE IF NOT EXISTS qrcodes (
  ticket TEXT PRIMARY KEY, account_id INTEGER NOT NULL, scene TEXT NOT NULL, permanent INTEGER NOT NULL,
  expires_at REAL NOT NULL, url TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS qrcodes_scene ON qrcodes (account_id, scene);
CREATE TABLE IF NOT EXISTS menus (
  id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL, button TEXT NOT NULL, matchrule TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS media (
  media_id TEXT PRIMARY KEY, account_id INTEGER NOT NULL, kind TEXT NOT NULL, permanent INTEGER NOT NULL,
  name TEXT NOT NULL, made_at REAL NOT NULL, expires_at REAL NOT NULL, extra TEXT NOT NULL, body BLOB);
CREATE TABLE IF NOT EXISTS published (
  id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL, article_id TEXT NOT NULL UNIQUE, due_at REAL NOT NULL,
  status INTEGER NOT NULL, articles TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS codes (
  code TEXT PRIMARY KEY, account_id INTEGER NOT NULL, open_id TEXT NOT NULL, scope TEXT NOT NULL,
  snapshot INTEGER NOT NULL, expires_at REAL NOT NULL, used INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
"""

Row = sqlite3.Row


class Store:
    """The file, open. Every method takes the lock; ``writing`` holds it over several statements."""

    def __init__(self, path: str) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        # NORMAL loses nothing when a process dies, only when the machine does; that is enough here
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA cache_size=-32000")
        self._db.executescript(SCHEMA)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction; nested uses join the outer one. Any exception rolls back all of it."""
        with self._lock:
            if self._depth == 0:
                self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            done = False
            try:
                yield
                done = True
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._db.execute("COMMIT" if done else "ROLLBACK")

    def run(self, sql: str, *values: Any) -> int:
        """Run one statement; the number of rows it changed."""
        with self._lock:
            return self._db.execute(sql, values).rowcount

    def insert(self, sql: str, *values: Any) -> int:
        """Insert one row; its id."""
        with self._lock:
            return int(self._db.execute(sql, values).lastrowid or 0)

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        with self._lock:
            self._db.executemany(sql, rows)

    def one(self, sql: str, *values: Any) -> Row | None:
        with self._lock:
            row: Row | None = self._db.execute(sql, values).fetchone()
            return row

    def all(self, sql: str, *values: Any) -> list[Row]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def value(self, sql: str, *values: Any) -> Any:
        """The first column of the first row, or None."""
        row = self.one(sql, *values)
        return None if row is None else row[0]

    def next_id(self, name: str, start: int) -> int:
        """The next number of a named sequence that begins at ``start``."""
        return int(
            self.value(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = value + 1"
                " RETURNING value",
                f"sequence.{name}",
                str(start),
            )
        )

    def keep(self, key: str, value: str) -> None:
        self.run(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            key,
            value,
        )

    def kept(self, key: str) -> str | None:
        found: str | None = self.value("SELECT value FROM meta WHERE key = ?", key)
        return found

    def close(self) -> None:
        with self._lock:
            self._db.close()
