"""Which followers are looked for: by remark, OpenID, field, tag, source, window, days; and how they show.

Pages of them are made by ``follower_pages``; here is what every list, job and file of followers asks.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot.clock import start_of_day
from bot.db import Session
from bot.errors import Invalid
from bot.followers import LONG_WINDOWS
from bot.sql import among, contains, json_entries, json_number, json_text, starts_with
from bot.tables.followers import follower_tags, followers, reply_windows, tags
from rules import pinyin
from rules.text import fold_words

STATUSES = ("subscribed", "left", "all")
ACTIVE_DAYS = (1, 7, 30, 90)
LONGEST_QUERY = 100
_OPEN_ID = re.compile(r"[A-Za-z0-9_-]{4,64}")
FEW = 2000  # ids that one statement hands to the next
LARGE = 50_000
BATCH = 1000  # rows a statement of ``walk``


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for. ``query`` is a part of a remark, the beginning of an OpenID, or ``field=value``.

    ``status`` is one of STATUSES. ``tag`` and ``scene`` (of the first follow) are names. ``window``:
    can be written to now. ``followed_until`` is the last day. ``active_days``: did something within so
    many days; negative: did nothing for so many.
    """

    query: str = ""
    status: str = "subscribed"
    tag: str | None = None
    scene: str | None = None
    opted_out: bool | None = None
    window: bool = False
    followed_from: date | None = None
    followed_until: date | None = None
    active_days: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As a job carries it."""
        return {
            key: value.isoformat() if isinstance(value, date) else value
            for key, value in asdict(self).items()
            if value is not None
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Wanted":
        days = {
            key: date.fromisoformat(stored[key])
            for key in ("followed_from", "followed_until")
            if stored.get(key)
        }
        return cls(**{**stored, **days})


@dataclass(frozen=True, slots=True)
class Line:
    """One follower in a list; ``tags`` are names."""

    id: int
    open_id: str
    remark: str | None
    subscribed: bool
    subscribed_at: datetime | None
    unsubscribed_at: datetime | None
    last_active_at: datetime | None
    first_source: str | None
    last_scene: str | None
    opted_out: bool
    messages: int
    fields: Mapping[str, Any]
    tags: tuple[str, ...]
    window: bool


def remark_key(remark: str | None) -> str | None:
    """What a search of remarks looks into: the remark folded, its initials, and its whole pinyin."""
    folded = fold_words(remark or "")
    if not folded:
        return None
    initials, whole = pinyin.initials(folded), "".join(pinyin.syllables(folded))
    return " ".join(dict.fromkeys((folded, _joined(initials), _joined(whole))))


def count(
    session: Session, account_id: int, wanted: Wanted, now: datetime, *, whole_ids: bool = False
) -> int:
    """How many match, exactly, however long it takes: for what is done to all of them."""
    where = clause(session, account_id, wanted, now, whole_ids=whole_ids)
    return int(
        session.execute(sa.select(sa.func.count()).select_from(followers).where(where)).scalar_one()
    )


def walk(
    session: Session,
    account_id: int,
    wanted: Wanted,
    now: datetime,
    *,
    whole_ids: bool = False,
    after: int = 0,
    until: int | None = None,
    limit: int = BATCH,
) -> list[int]:
    """Ids of the next matching followers by id, for work in pieces; empty at the end."""
    asked = looked(session, account_id, wanted, now, whole_ids=whole_ids)
    # each piece goes on where the last ended: SQLite would sort the account each time
    each = {**asked.each, "account": in_row_order(followers, account_id)}
    where = Looked(each, asked.sets).clause()
    found = sa.select(followers.c.id).where(where, followers.c.id > after)
    if until is not None:
        found = found.where(followers.c.id <= until)
    return list(session.execute(found.order_by(followers.c.id).limit(limit)).scalars())


def every(
    engine: sa.Engine, account_id: int, wanted: Wanted, now: datetime, *, whole_ids: bool = False
) -> Iterator[Line]:
    """All that match, by id, a batch a transaction: for files of a million lines."""
    after = 0
    while True:
        with engine.connect() as session, session.begin():
            ids = walk(session, account_id, wanted, now, whole_ids=whole_ids, after=after)
            found = lines(session, ids, now)
        if not ids:
            return
        yield from found
        after = ids[-1]


def field_names(session: Session, account_id: int, limit: int = 200) -> list[str]:
    """Names of the fields that followers of an account have, sorted; reads all of them."""
    entries = json_entries(followers.c.fields).table_valued("key")
    rows = session.execute(
        sa.select(entries.c.key)
        .distinct()
        .select_from(followers.join(entries, sa.true()))
        .where(followers.c.account_id == account_id)
        .order_by(entries.c.key)
        .limit(limit)
    )
    return list(rows.scalars())


def lines(session: Session, ids: Sequence[int], now: datetime) -> list[Line]:
    """These followers as lines, by id."""
    rows = session.execute(
        sa.select(*_COLUMNS).where(among(followers.c.id, ids)).order_by(followers.c.id)
    ).all()
    return _lines(session, rows, now)


def clause(
    session: Session,
    account_id: int,
    wanted: Wanted,
    now: datetime,
    *,
    whole_ids: bool = False,
) -> sa.ColumnElement[bool]:
    """What is looked for as a condition on followers, the account included; never those who were erased.

    Raises:
        Invalid: a value that cannot be looked for.
    """
    return looked(session, account_id, wanted, now, whole_ids=whole_ids).clause()


@dataclass(frozen=True, slots=True)
class Looked:
    """What is looked for: ``each`` asks one follower at hand, ``sets`` select the ids of the same by an index."""

    each: Mapping[str, sa.ColumnElement[bool]]
    sets: Mapping[str, Any]

    def clause(self) -> sa.ColumnElement[bool]:
        """All of it, by sets where there are some."""
        return sa.and_(
            *(one for name, one in self.each.items() if name not in self.sets),
            *(followers.c.id.in_(one) for one in self.sets.values()),
        )


def looked(
    session: Session,
    account_id: int,
    wanted: Wanted,
    now: datetime,
    *,
    whole_ids: bool = False,
) -> Looked:
    """What is looked for, in both of its forms.

    Raises:
        Invalid: a value that cannot be looked for.
    """
    each: dict[str, sa.ColumnElement[bool]] = {"account": followers.c.account_id == account_id}
    sets: dict[str, Any] = {}
    each["status"] = _status(wanted.status)
    if wanted.query:
        each["query"], found = _query(session, account_id, wanted.query, whole_ids)
        if found is not None:
            ids = list(session.execute(found.limit(FEW + 1)).scalars())
            if len(ids) <= FEW:  # looked for once, and not again by each statement of a page
                each["query"] = among(followers.c.id, ids)
            else:
                sets["query"] = found
    if wanted.tag is not None:
        worn = _wearers(session, account_id, wanted.tag, now)
        each["tag"] = worn.where(follower_tags.c.follower_id == followers.c.id).exists()
        sets["tag"] = worn
    if wanted.window:
        opened = _reachable(account_id, now)
        each["window"] = opened.where(reply_windows.c.follower_id == followers.c.id).exists()
        sets["window"] = opened
    if wanted.opted_out is not None:
        out = followers.c.opted_out_at.is_not(None)
        each["opted_out"] = out if wanted.opted_out else ~out
        if wanted.opted_out:
            other = followers.alias("out")
            gone = sa.and_(other.c.account_id == account_id, other.c.opted_out_at.is_not(None))
            # in order, so that SQLite takes the index of the few and not another of the account
            sets["opted_out"] = sa.select(other.c.id).where(gone).order_by(other.c.id)
    if wanted.scene is not None:
        each["scene"] = followers.c.first_source == wanted.scene
    if wanted.followed_from is not None:
        each["from"] = followers.c.subscribed_at >= start_of_day(wanted.followed_from)
    if wanted.followed_until is not None:
        end = start_of_day(wanted.followed_until) + timedelta(days=1)
        each["until"] = followers.c.subscribed_at < end
    if wanted.active_days is not None:
        since = now - timedelta(days=abs(wanted.active_days))
        recently = followers.c.last_active_at >= since
        silent = sa.or_(followers.c.last_active_at.is_(None), followers.c.last_active_at < since)
        each["active"] = recently if wanted.active_days > 0 else silent
    return Looked(each, _smallest(session, sets))


def in_row_order(table: Any, account_id: int) -> sa.ColumnElement[bool]:
    """The account as a condition that no index answers: the rows are read as they lie, by id."""
    asked: sa.ColumnElement[bool] = table.c.account_id + 0 == account_id
    return asked


def _smallest(session: Session, sets: Mapping[str, Any]) -> Mapping[str, Any]:
    """The set with the fewest; whoever is in it is then asked about the others one by one."""
    if len(sets) < 2:
        return sets
    sizes = {
        name: session.execute(
            sa.select(sa.func.count()).select_from(one.limit(LARGE).subquery())
        ).scalar_one()
        for name, one in sets.items()
    }
    smallest = min(sizes, key=lambda name: sizes[name])
    return {smallest: sets[smallest]}


def _status(status: str) -> sa.ColumnElement[bool]:
    if status == "subscribed":
        return followers.c.subscribed.is_(sa.true())
    if status == "left":
        return sa.and_(followers.c.subscribed.is_(sa.false()), followers.c.erased_at.is_(None))
    if status == "all":
        return followers.c.erased_at.is_(None)
    raise Invalid("status", "must be one of " + ", ".join(STATUSES))


_COLUMNS = (
    followers.c.id,
    followers.c.open_id,
    followers.c.remark,
    followers.c.subscribed,
    followers.c.subscribed_at,
    followers.c.unsubscribed_at,
    followers.c.last_active_at,
    followers.c.first_source,
    followers.c.last_scene,
    followers.c.opted_out_at,
    followers.c.messages,
    followers.c.fields,
)


def _joined(text: str) -> str:
    return "".join(text.split())


def _query(
    session: Session, account_id: int, query: str, whole_ids: bool
) -> tuple[sa.ColumnElement[bool], Any]:
    text = query.strip()
    if not 1 <= len(text) <= LONGEST_QUERY or "\x00" in text:
        raise Invalid("q", f"must have 1 to {LONGEST_QUERY} characters")
    name, equals, value = text.partition("=")
    if equals and name.strip() and value.strip():
        return _field(followers, name.strip(), value.strip()), _with_field(
            account_id, name.strip(), value.strip()
        )
    wanted = _joined(fold_words(text)) if text.isascii() else fold_words(text)
    other = followers.alias("other")
    if whole_ids and _OPEN_ID.fullmatch(text):
        exactly = sa.select(other.c.id).where(
            other.c.account_id == account_id, other.c.open_id == text
        )
        if session.execute(exactly).first() is not None:
            return followers.c.open_id == text, exactly
        begins = sa.select(other.c.id).where(
            other.c.account_id == account_id, starts_with(other.c.open_id, text)
        )
        remarked = _remarked(account_id, wanted)
        either = sa.or_(
            starts_with(followers.c.open_id, text), contains(followers.c.remark_search, wanted)
        )
        return either, sa.union(begins, remarked)
    return contains(followers.c.remark_search, wanted), _remarked(account_id, wanted)


def _remarked(account_id: int, wanted: str) -> Any:
    # from the index alone: most followers have no remark
    other = followers.alias("remarked")
    return sa.select(other.c.id).where(
        other.c.account_id == account_id,
        other.c.remark_search.is_not(None),
        contains(other.c.remark_search, wanted),
    )


def _with_field(account_id: int, name: str, value: str) -> Any:
    # once through the table as it lies: by an index of the account SQLite would jump a million times
    other = followers.alias("described")
    return sa.select(other.c.id).where(
        other.c.fields != sa.literal_column("'{}'"),
        in_row_order(other, account_id),
        _field(other, name, value),
    )


def _field(table: Any, name: str, value: str) -> sa.ColumnElement[bool]:
    if len(name) > 60 or '"' in name or "\\" in name:
        raise Invalid("q", "is no name of a field")
    same: sa.ColumnElement[bool] = json_text(table.c.fields, name) == value
    try:
        number = float(value)
    except ValueError:
        return same
    return sa.or_(same, json_number(table.c.fields, name) == number)


def _wearers(session: Session, account_id: int, name: str, now: datetime) -> Any:
    tag_id = session.execute(
        sa.select(tags.c.id).where(tags.c.account_id == account_id, tags.c.name == name)
    ).scalar()
    return sa.select(follower_tags.c.follower_id).where(
        follower_tags.c.tag_id == (tag_id or 0),
        sa.or_(follower_tags.c.expires_at.is_(None), follower_tags.c.expires_at > now),
    )


def _reachable(account_id: int, now: datetime) -> Any:
    return sa.select(reply_windows.c.follower_id).where(
        reply_windows.c.account_id == account_id,
        reply_windows.c.opened_by.in_(LONG_WINDOWS),
        reply_windows.c.expires_at > now,
        reply_windows.c.left > 0,
    )


def _lines(session: Session, rows: Sequence[Any], now: datetime) -> list[Line]:
    ids = [row.id for row in rows]
    worn: dict[int, list[str]] = {}
    found = session.execute(
        sa.select(follower_tags.c.follower_id, tags.c.name)
        .select_from(follower_tags.join(tags, tags.c.id == follower_tags.c.tag_id))
        .where(
            among(follower_tags.c.follower_id, ids),
            tags.c.archived_at.is_(None),
            sa.or_(follower_tags.c.expires_at.is_(None), follower_tags.c.expires_at > now),
        )
        .order_by(follower_tags.c.added_at, tags.c.id)
    )
    for follower_id, name in found:
        worn.setdefault(follower_id, []).append(name)
    opened = set(
        session.execute(
            sa.select(reply_windows.c.follower_id).where(
                among(reply_windows.c.follower_id, ids),
                reply_windows.c.expires_at > now,
                reply_windows.c.left > 0,
            )
        ).scalars()
    )
    return [
        Line(
            id=row.id,
            open_id=row.open_id,
            remark=row.remark,
            subscribed=row.subscribed,
            subscribed_at=row.subscribed_at,
            unsubscribed_at=row.unsubscribed_at,
            last_active_at=row.last_active_at,
            first_source=row.first_source,
            last_scene=row.last_scene,
            opted_out=row.opted_out_at is not None,
            messages=row.messages,
            fields=row.fields,
            tags=tuple(worn.get(row.id, ())),
            window=row.id in opened,
        )
        for row in rows
    ]
