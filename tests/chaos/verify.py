"""Holds the product's rows against the platform's own records. Every sentence in ``problems`` is a broken promise."""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bot import consents, db, jobs
from bot.campaigns import ledger
from bot.campaigns.budget import PER_FOLLOWER_AND_MONTH
from bot.campaigns.reach import REASONS
from bot.tables.campaigns import (
    campaign_runs,
    campaigns,
    deliveries,
    external_mass_sends,
    mass_batches,
    mass_ledger,
)
from bot.tables.followers import follower_tags, followers, tags
from bot.tables.inbox import inbound
from tests.chaos.setting import SUBSCRIPTION, TAG, Setting

ENDS = ("sent", "failed", "unknown", "skipped")
SHOWN = 5  # examples in a sentence


@dataclass
class Found:
    """Counts for the table, and what is wrong."""

    counts: list[tuple[str, object]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def count(self, name: str, number: object) -> None:
        self.counts.append((name, number))

    def none(self, what: str, which: Any) -> None:
        """Count it; there must be none of it."""
        listed = list(which)
        self.counts.append((what, len(listed)))
        if listed:
            self.problems.append(f"{what}: {len(listed)}, such as {listed[:SHOWN]}")


@dataclass(frozen=True)
class Platform:
    """What the sandbox wrote down. ``got``: (OpenID, campaign) -> ways it came by, one entry a message."""

    got: dict[tuple[str, str], list[str]]
    targets: dict[str, set[str]]  # mass job -> OpenIDs it was submitted for
    received: dict[str, int]  # mass job -> how many got it
    client_ids: list[str]  # of every mass job
    months: dict[str, dict[str, int]]  # month -> OpenID -> mass messages
    messages: dict[str, str]  # MsgId of a push -> outcome


def read_platform(file: Path) -> Platform:
    """Read the sandbox's file directly: its answers are not asked for."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as base:
        job_text = dict(base.execute("SELECT id, body FROM mass_jobs"))
        got: dict[tuple[str, str], list[str]] = defaultdict(list)
        received: Counter[str] = Counter()
        for open_id, way, body, job_id in base.execute(
            "SELECT open_id, way, body, job_id FROM received"
            " WHERE way IN ('mass', 'customer_service', 'template', 'subscription')"
        ):
            name = _campaign(body if job_id is None else job_text[job_id])
            if name is not None:
                got[open_id, name].append(way)
            if job_id is not None:
                received[str(job_id)] += 1
        targets: dict[str, set[str]] = defaultdict(set)
        for job_id, open_id in base.execute("SELECT job_id, open_id FROM mass_targets"):
            targets[str(job_id)].add(open_id)
        clients = [row[0] for row in base.execute("SELECT client_id FROM mass_jobs")]
        months: dict[str, dict[str, int]] = defaultdict(dict)
        for month, open_id, count in base.execute("SELECT month, open_id, count FROM mass_counts"):
            months[month][open_id] = count
        messages = {}
        for body, outcome in base.execute("SELECT body, outcome FROM pushes"):
            number = json.loads(body).get("MsgId")
            if number:
                messages[str(number)] = outcome
    return Platform(dict(got), dict(targets), dict(received), clients, dict(months), messages)


def _campaign(body: str) -> str | None:
    told = json.loads(body)
    notice = told.get("data", {}).get("thing1", {})
    text = str(told.get("text") or notice.get("value") or "")
    return text[1] if text[:1] == "【" and text[2:3] == "】" else None


def verify(setting: Setting, file: Path, found: Found) -> None:
    """Every check, after the last run ended and both processes stopped writing."""
    with db.reading(setting.rt.engine) as session:
        platform = read_platform(file)
        rows = list(_deliveries(session))
        _audiences(session, setting, rows, found)
        _outcomes(platform, rows, found)
        batches = session.execute(sa.select(mass_batches)).all()
        _batches(platform, rows, batches, found)
        ledgers = session.execute(sa.select(mass_ledger.c.month).distinct()).scalars()
        for month in sorted({*ledgers, *platform.months}):
            _slots(session, setting, platform, batches, rows, month, found)
        _strangers(session, found)
        _consents(session, setting, found)
        _pushes(session, platform, found)


@dataclass(frozen=True)
class Row:
    """One delivery with the names the platform knows."""

    open_id: str
    campaign: str
    status: str
    reason: str | None
    channel: str | None
    batch_id: int | None
    month: str | None  # whose slot it has, or had


def _deliveries(session: db.Session) -> Iterator[Row]:
    for row in session.execute(
        sa.select(
            followers.c.open_id,
            campaigns.c.name,
            deliveries.c.status,
            deliveries.c.reason,
            deliveries.c.channel,
            deliveries.c.batch_id,
            deliveries.c.month,
        ).select_from(
            deliveries.join(followers, followers.c.id == deliveries.c.follower_id)
            .join(campaign_runs, campaign_runs.c.id == deliveries.c.run_id)
            .join(campaigns, campaigns.c.id == campaign_runs.c.campaign_id)
        )
    ):
        yield Row(*row)


def _audiences(session: db.Session, setting: Setting, rows: list[Row], found: Found) -> None:
    """Nobody is forgotten, everybody has one end, and each skip one reason."""
    runs = session.execute(
        sa.select(campaigns.c.name, campaign_runs.c.status, campaign_runs.c.reason).join(
            campaigns, campaigns.c.id == campaign_runs.c.campaign_id
        )
    ).all()
    found.count("runs", len(runs))
    contested = {each.name for each in setting.campaigns if each.contested}
    may_end = dict.fromkeys(contested, ("finished", "cancelled"))
    found.none(
        "runs that did not finish",
        [tuple(r) for r in runs if r.status not in may_end.get(r.name, ("finished",))],
    )
    cancelled = {run.name for run in runs if run.status == "cancelled"}
    found.count("runs cancelled by operators", len(cancelled))
    per_name = Counter(run.name for run in runs)
    found.none(
        "campaigns without exactly one run",
        [c.name for c in setting.campaigns if per_name[c.name] != 1],
    )
    found.count("deliveries", len(rows))
    seen = Counter((row.open_id, row.campaign) for row in rows)
    found.none("followers with two deliveries of a campaign", (k for k, n in seen.items() if n > 1))
    found.none("deliveries without an end", (row for row in rows if row.status not in ENDS))
    found.none(
        "skipped without one known reason",
        (r for r in rows if r.status == "skipped" and r.reason not in REASONS),
    )
    tagged = set(
        session.execute(
            sa.select(followers.c.open_id)
            .join(follower_tags, follower_tags.c.follower_id == followers.c.id)
            .join(tags, tags.c.id == follower_tags.c.tag_id)
            .where(tags.c.name == TAG)
        ).scalars()
    )
    steady = [name for name in setting.people if name not in setting.fickle]
    found.none(
        "followers forgotten",
        (
            (name, campaign.name)
            for campaign in setting.campaigns
            for name in steady
            if campaign.name not in cancelled  # it may have been before it was planned
            and (campaign.segment != TAG or name in tagged)
            and (name, campaign.name) not in seen
        ),
    )
    for campaign in setting.campaigns:
        ends = Counter(
            f"{row.status} {row.reason}"
            if row.status == "skipped"
            else f"{row.status} {row.channel}"
            for row in rows
            if row.campaign == campaign.name
        )
        told = ", ".join(f"{number} {end}" for end, number in sorted(ends.items()))
        found.count(f"{campaign.name}: audience {sum(ends.values())}", told)


def _outcomes(platform: Platform, rows: list[Row], found: Found) -> None:
    """Nobody got it twice, and what we say of each follower is what happened."""
    found.count("messages of campaigns received", sum(len(ways) for ways in platform.got.values()))
    found.none("got the same campaign twice", (k for k, w in platform.got.items() if len(w) > 1))
    known = {(row.open_id, row.campaign) for row in rows}
    found.none("got a campaign without a delivery", (k for k in platform.got if k not in known))
    wrong, unknown = [], Counter()
    for row in rows:
        ways = platform.got.get((row.open_id, row.campaign), [])
        if row.status == "unknown":
            unknown[row.channel, bool(ways)] += 1
        elif row.status == "sent" and row.channel != "mass":
            wrong += [] if ways == [row.channel] else [(row, ways)]
        elif row.status == "sent":
            wrong += [] if ways in ([], ["mass"]) else [(row, ways)]
        elif ways:
            wrong.append((row, ways))
    found.none("deliveries that say something else than the platform", wrong)
    for channel in ("customer_service", "mass", "template", "subscription"):
        told = f"{unknown[channel, True]} received, {unknown[channel, False]} not"
        found.count(f"unknown by {channel}", told)


def _batches(platform: Platform, rows: list[Row], batches: Any, found: Found) -> None:
    """Each job of the platform is one batch with the same people, and its shortfall is the recorded one."""
    found.count("mass batches", len(batches))
    found.count("mass jobs on the platform", len(platform.client_ids))
    twice = [name for name, number in Counter(platform.client_ids).items() if number > 1]
    found.none("batches submitted twice", twice)
    ours = {batch.client_msg_id for batch in batches}
    found.none("mass jobs without a batch", (c for c in platform.client_ids if c not in ours))
    found.none(
        "batches still open",
        (b for b in batches if b.status in ("planned", "sending", "submitted")),
    )
    members: dict[int, set[str]] = defaultdict(set)
    for row in rows:
        if row.batch_id is not None and row.status in ("sent", "unknown"):
            members[row.batch_id].add(row.open_id)
    wrong, silent = [], 0
    for batch in batches:
        if batch.msg_id is None:
            continue
        people = platform.targets.get(batch.msg_id, set())
        short = len(people) - platform.received.get(batch.msg_id, 0)
        silent += batch.shortfall is None
        if people != members[batch.id] or batch.shortfall not in (None, short):
            wrong.append((batch.id, batch.status, len(people), batch.shortfall, short))
    found.none("batches that differ from their job", wrong)
    found.count("batches whose result never came", silent)
    found.count("recorded shortfall", sum(batch.shortfall or 0 for batch in batches))


def _slots(
    session: db.Session,
    setting: Setting,
    platform: Platform,
    batches: Any,
    rows: list[Row],
    month: str,
    found: Found,
) -> None:
    """Platform ≤ charged ≤ 4 for everybody, and the difference is what batches fell short."""
    charged = {
        row.open_id: (row.reserved, row.spent)
        for row in session.execute(
            sa.select(followers.c.open_id, mass_ledger.c.reserved, mass_ledger.c.spent)
            .join(followers, followers.c.id == mass_ledger.c.follower_id)
            .where(mass_ledger.c.month == month)
        )
    }
    got = platform.months.get(month, {})
    found.none(f"{month}: slots still reserved", (n for n, both in charged.items() if both[0]))
    taken = {name: sum(both) for name, both in charged.items()}
    found.none(
        f"{month}: received more than was charged",
        (name for name, count in got.items() if count > taken.get(name, 0)),
    )
    over = (name for name, count in taken.items() if count > PER_FOLLOWER_AND_MONTH)
    found.none(f"{month}: charged more than 4", over)
    by_batch = {batch.id: batch for batch in batches}
    explained: Counter[str] = Counter()
    for row in rows:
        batch = by_batch.get(row.batch_id) if row.batch_id is not None else None
        if batch is None or row.month != month or platform.got.get((row.open_id, row.campaign)):
            continue
        if row.status == "unknown" or (row.status == "sent" and batch.shortfall != 0):
            explained[row.open_id] += 1
    missing = {n: c - got.get(n, 0) for n, c in taken.items()}
    found.none(
        f"{month}: difference not explained by a shortfall",
        (name for name, number in missing.items() if number != explained[name]),
    )
    histogram = Counter(got.get(name, 0) for name in setting.people)
    told = ", ".join(f"{number}×{count}" for count, number in sorted(histogram.items()))
    found.count(f"{month}: received, people × messages", told)
    found.count(f"{month}: charged but not received", sum(missing.values()))
    found.none(f"{month}: ledger differences", ledger.check(session, setting.account_id, month))


def _consents(session: db.Session, setting: Setting, found: Found) -> None:
    """One accept, one notice: what is left is what the entries say."""
    left = consents.left(session, setting.account_id, SUBSCRIPTION, 0, 2**62)
    found.count("consents left", sum(left.values()))
    found.none("consent differences", consents.differences(session, setting.account_id))


def _strangers(session: db.Session, found: Found) -> None:
    strange = session.execute(
        sa.select(external_mass_sends.c.msg_id, external_mass_sends.c.audience).where(
            external_mass_sends.c.audience.in_(("unknown", "unplaced"))
        )
    ).all()
    found.none("our own sends taken for somebody else's", strange)


def _pushes(session: db.Session, platform: Platform, found: Found) -> None:
    """What was acknowledged is stored, once; nothing of it failed."""
    rows = session.execute(sa.select(inbound.c.dedupe_key, inbound.c.status)).all()
    found.count("pushes stored", len(rows))
    found.none("pushes that failed", (row for row in rows if row.status != "done"))
    stored = {row.dedupe_key.rpartition(":")[2] for row in rows}
    found.none(
        "acknowledged but not stored",
        (
            n
            for n, end in platform.messages.items()
            if end in ("answered", "empty") and n not in stored
        ),
    )
    found.none("bad replies", (n for n, end in platform.messages.items() if end == "bad_reply"))
    found.none("dead jobs", ((job.name, job.error) for job in jobs.dead(session)))
