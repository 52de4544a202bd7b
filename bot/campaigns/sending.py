"""Due waves become outbox rows; previews. Nothing here calls WeChat.

Each step is one short transaction that puts rows and marks their deliveries as handed over, so that a
process killed in between neither forgets nor doubles anybody.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import accounts, consents, db, outbox, tracking
from bot import content as contents
from bot import followers as follower_rows
from bot.accounts import Account
from bot.campaigns import (
    approvals,
    batches,
    definitions,
    guarding,
    planning,
    rounds,
    single_call,
    steering,
    trials,
)
from bot.campaigns import status as statuses
from bot.campaigns.budget import allowance, opens_at
from bot.campaigns.candidates import MASS
from bot.campaigns.definitions import Campaign
from bot.campaigns.schedule import after_quiet
from bot.campaigns.waves import CANARY_PATIENCE, CANARY_WAVE
from bot.db import Session
from bot.errors import Refused
from bot.one_by_one import one_by_one
from bot.sql import among
from bot.tables.campaigns import campaign_runs, deliveries, mass_batches
from bot.tables.followers import followers
from bot.tables.outbox import outbox as outbox_rows

ROWS = 100  # personal messages a transaction: a push never waits longer than that takes
ASK_AGAIN = timedelta(minutes=1)
IN_FLIGHT = 2000  # personal messages of a run in the outbox at once, so that a pause is felt soon


@dataclass(frozen=True, slots=True)
class _Send:
    """What a step of one run needs. ``links``: row ids of the campaign's tracked links by name."""

    run: Any
    account: Account
    campaign: Campaign
    channels: Sequence[str]
    now: datetime
    secret_key: str
    base_url: str
    links: Mapping[str, int]

    def said(self, channel: str, variant: str | None) -> Mapping[str, Any]:
        """What this run says on a channel to a variant."""
        return self.campaign.content_for(channel, variant, self.run.round)

    def decides(self, channel: str) -> bool:
        """Whether who has no variant on this channel waits for one."""
        return rounds.is_tested(self.campaign, self.run.round, channel)

    def link(self, follower_id: int) -> Callable[[str], str]:
        """Addresses of tracked links, as ``content.render`` asks for them; follower 0: the shared one."""

        def address(name: str) -> str:
            if name not in self.links:
                return ""
            code = tracking.code_for(self.secret_key, self.links[name], follower_id)
            return f"{self.base_url}/l/{code}"

        return address


def _links(session: Session, campaign: Campaign, now: datetime) -> dict[str, int]:
    return {
        name: tracking.link_id(session, campaign.account_id, campaign.id, name, target, now)
        for name, target in campaign.links.items()
    }


def send_waves(engine: Engine, now: datetime, secret_key: str, base_url: str) -> int:
    """Hand over what is due of every running run; how many outbox rows were put."""
    with db.reading(engine) as session:
        due = session.execute(
            sa.select(campaign_runs.c.id)
            .where(
                sa.or_(
                    sa.and_(
                        campaign_runs.c.status == "running", campaign_runs.c.next_wave_at <= now
                    ),
                    sa.and_(campaign_runs.c.status == "paused", _blocked_by_machine()),
                )
            )
            .order_by(campaign_runs.c.id)
        ).scalars()
        run_ids = list(due)
    put = 0
    with one_by_one() as one:
        with one():
            steering.skip_cancelled(engine, now)
        for run_id in run_ids:
            with one(run=run_id):
                put += _go_on(engine, run_id, now, secret_key, base_url)
    return put


def _go_on(engine: Engine, run_id: int, now: datetime, secret_key: str, base_url: str) -> int:
    """Everything that is due of a run: how many outbox rows were put."""
    put = 0
    while True:
        # a part that is out may open the next one, which may need its variants
        guarding.look(engine, run_id, now)
        trials.look(engine, run_id, now)
        rows = _send_run(engine, run_id, now, secret_key, base_url)
        if not rows:
            return put
        put += rows


def _send_run(engine: Engine, run_id: int, now: datetime, secret_key: str, base_url: str) -> int:
    put, more = 0, True
    while more:
        with db.writing(engine) as session:
            rows, more = _step(session, run_id, now, secret_key, base_url)
        put += rows
    return put


def preview(
    session: Session,
    account: Account,
    campaign: Campaign,
    follower_id: int,
    now: datetime,
    secret_key: str,
    base_url: str,
    variant: str | None = None,
) -> int | None:
    """Send the content, or one variant of it, to one tester; the outbox row. It takes no slot and is no delivery.

    Raises:
        Refused: the follower is no tester of this account.
    """
    row = session.execute(
        sa.select(followers.c.tester, followers.c.fields).where(
            followers.c.id == follower_id, followers.c.account_id == account.id
        )
    ).one_or_none()
    if row is None or not row.tester:
        raise Refused("预览只发给测试人员 (a preview goes to testers only)")
    links = _links(session, campaign, now)
    send = _Send(None, account, campaign, campaign.channels, now, secret_key, base_url, links)
    by_mass = MASS in campaign.channels
    channel = MASS if by_mass else campaign.channels[0]
    said = campaign.content_for(channel, variant)
    content = contents.render(said, row.fields, link=send.link(follower_id))
    payload: dict[str, Any] = {"content": content}
    if by_mass:
        payload["target"] = "preview"
    return outbox.put(
        session,
        account_id=account.id,
        channel=channel,
        purpose="preview",
        purpose_id=campaign.id,
        follower_id=follower_id,
        payload=payload,
        now=now,
    )


def _step(
    session: Session, run_id: int, now: datetime, secret_key: str, base_url: str
) -> tuple[int, bool]:
    """One transaction's worth of a run: (outbox rows put, whether to go on at once)."""
    # an UPDATE rather than a SELECT: a cancel at the same moment waits, or is seen here
    run = session.execute(
        sa.update(campaign_runs)
        .where(campaign_runs.c.id == run_id, campaign_runs.c.status.in_(("running", "paused")))
        .values(status=campaign_runs.c.status)
        .returning(*campaign_runs.c)
    ).one_or_none()
    if run is None:
        return 0, False
    account = accounts.by_id(session, run.account_id)
    campaign = definitions.by_id(session, run.campaign_id)
    channels = rounds.channels(campaign, run.round)
    blocked = planning.block(session, account, channels)
    # every campaign needs an approval and every approval is sealed: one without a seal is none
    if blocked is None and not approvals.holds(session, campaign, secret_key):
        blocked = approvals.UNSEALED
    if blocked is not None:
        if run.status == "running":
            steering.change(session, run_id, {"status": "paused", "reason": blocked}, run.status)
        return 0, False
    if run.status == "paused":
        if (run.reason or "").partition(":")[0] not in statuses.BLOCKS:
            return 0, False
        steering.change(session, run_id, {"status": "running", "reason": None}, "paused")
    later = after_quiet(now, account.limits.quiet_hours)
    if later > now:
        _come_back(session, run_id, later)
        return 0, False
    send = _Send(
        run, account, campaign, channels, now, secret_key, base_url, _links(session, campaign, now)
    )
    return _send_wave(session, send)


def _send_wave(session: Session, send: _Send) -> tuple[int, bool]:
    """The next of the first wave from which anybody may go now: (outbox rows put, whether to go on at once)."""
    run = send.run
    later = guarding.future_waves(run, send.now)
    wave, mass_may = None, True
    while (wave := _next_wave(session, send, wave, later)) is not None:
        if wave > CANARY_WAVE and not guarding.canary_is_excused(run):
            held = _canary_verdict(session, run.id, send.channels, send.now)
            if held == "failed":
                failed = {"status": "paused", "reason": "canary_failed"}
                steering.change(session, run.id, failed, "running")
            if held is not None:
                return 0, False
        for channel in [name for name in send.channels if name != MASS]:
            if _waits(session, send, wave, channel):
                put, handled = _send_personal(session, send, channel, wave)
                if handled:
                    return put, True
        if mass_may and MASS in send.channels and _waits(session, send, wave, MASS):
            found = _send_mass(session, send, wave)
            if found is not None:
                return found
            mass_may = (
                False  # this wave's wait for the guard or the month; later ones come after them
            )
    _wait_for(session, send, later)
    return 0, False


def _send_mass(session: Session, send: _Send, wave: int) -> tuple[int, bool] | None:
    """A step of a wave's mass messages; None: those that are left must wait."""
    opens = opens_at(send.now)
    if opens > send.now:
        # who is left for other channels does not wait for the month
        if not _personal_waits(session, send, {}):
            _come_back(session, send.run.id, after_quiet(opens, send.account.limits.quiet_hours))
        return None
    below = guarding.open_below(send.run, wave)
    if below == 0:
        guarding.stage_is_out(session, send.run, wave, send.now)
        return None
    job = batches.Job(
        run=send.run,
        account=send.account,
        campaign=send.campaign,
        wave=wave,
        content=lambda variant: contents.render(
            send.said(MASS, variant), {}, link=send.link(tracking.EVERYBODY)
        ),
        now=send.now,
        below=below,
        decides=send.decides(MASS),
        secret_key=send.secret_key,
    )
    allowed = allowance(send.account.kind, send.account.verified)
    if allowed is None or not allowed.by_open_id:
        return single_call.step(session, job)
    put, more = batches.next_batch(session, job)
    if put or more:
        return put, more
    if below is not None and batches.left_over(session, job):
        guarding.stage_is_out(session, send.run, wave, send.now)
    return None


def _next_wave(
    session: Session, send: _Send, after: int | None, later: Mapping[int, datetime]
) -> int | None:
    """The first wave after one in which anybody waits, or whose batch is not complete, and whose time has come."""
    beyond = CANARY_WAVE - 1 if after is None else after
    half = batches.being_filled(session, send.run.id)
    waiting = session.execute(
        sa.select(sa.func.min(deliveries.c.wave)).where(
            steering.waiting(send.run.id),
            deliveries.c.wave > beyond,
            deliveries.c.wave.not_in(list(later)),
        )
    ).scalar()
    found = [waiting] if waiting is not None else []
    if half is not None and half.wave > beyond:
        found.append(half.wave)
    return min(found, default=None)


def _waits(session: Session, send: _Send, wave: int, channel: str) -> bool:
    if channel == MASS and batches.being_filled(session, send.run.id, wave) is not None:
        return True
    found = sa.select(deliveries.c.id).where(_may_go(send, channel), deliveries.c.wave == wave)
    return session.execute(found.limit(1)).first() is not None


def _may_go(send: _Send, channel: str) -> sa.ColumnElement[bool]:
    """Who waits for a channel and is not waiting for a variant."""
    found = [steering.waiting(send.run.id), deliveries.c.channel == channel]
    if send.decides(channel):
        found.append(deliveries.c.variant.is_not(None))
    return sa.and_(*found)


def _personal_waits(session: Session, send: _Send, later: Mapping[int, datetime]) -> bool:
    due = deliveries.c.wave.not_in(list(later))
    return any(
        session.execute(sa.select(deliveries.c.id).where(_may_go(send, name), due).limit(1)).first()
        is not None
        for name in send.channels
        if name != MASS
    )


def _wait_for(session: Session, send: _Send, later: Mapping[int, datetime]) -> None:
    """Nobody may go now: look again when the next wave begins, or in a while."""
    if _personal_waits(session, send, later):
        return  # as soon as some of those in the outbox are through
    looks = guarding.next_look(session, send.run.id, send.account)
    moments = [*later.values(), *([looks] if looks is not None else [])]
    if any(send.decides(name) for name in send.channels):
        moments.append(send.now + ASK_AGAIN)  # whoever waits for a winner waits for hours
    first = min(moments, default=send.now)
    if first > send.now:
        _come_back(session, send.run.id, after_quiet(first, send.account.limits.quiet_hours))


def _come_back(session: Session, run_id: int, at: datetime) -> None:
    steering.change(session, run_id, {"next_wave_at": at}, "running")


def _send_personal(session: Session, send: _Send, channel: str, wave: int) -> tuple[int, int]:
    """The next messages of a channel that sends to one follower at a time: (rows put, deliveries handled)."""
    if _in_flight(session, send.run.id, channel) >= IN_FLIGHT:
        return 0, 0
    rows = session.execute(
        sa.select(
            deliveries.c.id,
            deliveries.c.follower_id,
            deliveries.c.variant,
            followers.c.subscribed,
            followers.c.opted_out_at,
            followers.c.fields,
        )
        .join(followers, followers.c.id == deliveries.c.follower_id)
        .where(
            _may_go(send, channel),
            deliveries.c.wave == wave,
        )
        .order_by(deliveries.c.follower_id)
        .limit(ROWS)
    ).all()
    windows = (
        follower_rows.take_windows(
            session,
            [row.follower_id for row in rows if row.subscribed and row.opted_out_at is None],
            send.now,
        )
        if channel == contents.CUSTOMER_SERVICE
        else None
    )
    consented = _consented(session, send, channel, rows)
    queued: list[dict[str, Any]] = []
    skipped: dict[str, list[int]] = {}
    for row in rows:
        window = windows.get(row.follower_id) if windows is not None else None
        reason = _gone(row, windows is not None and window is None)
        if reason is None and consented is not None and row.follower_id not in consented:
            reason = "no_consent"
        if reason is not None:
            skipped.setdefault(reason, []).append(row.id)
            continue
        queued.append(
            {
                "account_id": send.account.id,
                "channel": channel,
                "purpose": "delivery",
                "purpose_id": row.id,
                "follower_id": row.follower_id,
                "payload": {
                    "content": contents.render(
                        send.said(channel, row.variant),
                        row.fields,
                        link=send.link(row.follower_id),
                    )
                },
                "expires_at": window.expires_at if window is not None else None,
                "key": f"delivery:{row.id}",
            }
        )
    if queued:
        outbox.put_many(session, queued, send.now)
        session.execute(
            sa.update(deliveries)
            .where(among(deliveries.c.id, [row["purpose_id"] for row in queued]))
            .values(queued_at=send.now, at=send.now)
        )
    for reason, ids in skipped.items():
        steering.skip(session, send.account.id, among(deliveries.c.id, ids), reason, send.now)
    return len(queued), len(rows)


def _consented(session: Session, send: _Send, channel: str, rows: Sequence[Any]) -> set[int] | None:
    """Followers whose accept of a subscription notice was taken just now; None: the channel needs none."""
    if channel != contents.SUBSCRIPTION:
        return None
    wanted: dict[str, dict[int, int]] = {}
    for row in rows:
        if row.subscribed and row.opted_out_at is None:
            template = contents.template_of(send.said(channel, row.variant))
            wanted.setdefault(template, {})[row.id] = row.follower_id
    got: set[int] = set()
    for template, people in wanted.items():
        got |= consents.take(session, send.account.id, template, people, send.now)
    return got


def _in_flight(session: Session, run_id: int, channel: str) -> int:
    """Messages of a run that were handed to the outbox and have no outcome yet."""
    # from the outbox's side: what has no outcome is few, what waits here may be a hundred thousand
    found = (
        sa.select(sa.func.count())
        .select_from(outbox_rows.join(deliveries, deliveries.c.id == outbox_rows.c.purpose_id))
        .where(
            outbox_rows.c.collected.is_(sa.false()),
            outbox_rows.c.status.in_(("waiting", "sending")),
            outbox_rows.c.purpose == "delivery",
            outbox_rows.c.channel == channel,
            deliveries.c.run_id == run_id,
        )
    )
    return int(session.execute(found).scalar_one())


def _gone(row: Any, window_closed: bool) -> str | None:
    """Why a follower gets nothing after all. A window that closed since planning is ``expired``."""
    if not row.subscribed:
        return "left"
    if row.opted_out_at is not None:
        return "opted_out"
    return "expired" if window_closed else None


def _canary_verdict(
    session: Session, run_id: int, channels: Sequence[str], now: datetime
) -> str | None:
    """None: the rest may go. ``wait``: the first wave has no result yet. ``failed``: it went wrong."""
    patience = now - CANARY_PATIENCE
    rows = session.execute(
        sa.select(mass_batches.c.status, mass_batches.c.submitted_at).where(
            mass_batches.c.run_id == run_id, mass_batches.c.wave == CANARY_WAVE
        )
    ).all()
    if any(row.status in ("failed", "unknown") for row in rows):
        return "failed"
    personal = session.execute(
        sa.select(
            sa.func.count(),
            sa.func.count(sa.case((deliveries.c.status == "failed", 1))),
            sa.func.count(
                sa.case(
                    (
                        sa.and_(
                            deliveries.c.status == "planned", deliveries.c.queued_at > patience
                        ),
                        1,
                    )
                )
            ),
        ).where(
            deliveries.c.run_id == run_id,
            deliveries.c.wave == CANARY_WAVE,
            # named one by one, so that the index leads to the first wave's few rows
            deliveries.c.channel.in_([name for name in channels if name != MASS]),
            deliveries.c.status.in_(("planned", "sent", "failed", "unknown")),
        )
    ).one()
    sent, failed, open_ = personal
    if sent and failed * 2 > sent:
        return "failed"
    waits = any(
        row.status in ("planned", "sending")
        or (row.status == "submitted" and row.submitted_at > patience)
        for row in rows
    )
    return "wait" if waits or open_ else None


def _blocked_by_machine() -> sa.ColumnElement[bool]:
    return sa.or_(
        *(campaign_runs.c.reason.startswith(word, autoescape=True) for word in statuses.BLOCKS)
    )
