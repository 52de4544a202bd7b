"""Sending owed messages of one follower each, many at once: a beat of one short transaction, calls in between.

A row is claimed with a few hundred others, prepared with them, and begins when a line is free. Each
beat stores the receipts that came and begins as many rows as there are free lines, in one transaction:
so a process that is killed leaves no more in doubt than the calls that were under way.
"""

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from types import ModuleType
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from bot import clock as real_clock
from bot import db, logs, outbox_claims, outbox_items, outbox_receipts, outcomes
from bot.allowances import PRIORITIES, priority_of
from bot.db import GroupWriter, Session
from bot.errors import Refused, WeChatError
from bot.governor import DAY_USED_UP, TOO_FREQUENT, Governor
from bot.outbox_items import Prepared
from bot.outbox_receipts import Ended
from bot.outcomes import Outcome
from bot.wechat.bulk import Answer, Lines
from bot.wechat.client import WeChat

# rows a claim: few enough that the calls under way do not all end while they are looked up, which
# would leave the lines idle together and busy together
PIECE = 128
# calls at once: an account begins with as many as a pool of kept connections holds, and may have
# more while the platform takes them
FIRST_WINDOW = 32
MOST_AT_ONCE = 256
HALVE_EVERY = 1.0  # seconds
BEAT = 0.01  # seconds a receipt waits for others at most
GROUP = 64  # receipts that do not wait for the beat, nor does half of what was under way
CLAIM_FOR = 20.0  # seconds; a job's step stays under a minute
# a row that did not get a line for so long goes back, before its lease (90 s) ends in our hands
GIVE_BACK_AFTER = 60.0
STORE_AGAIN_FOR = 60.0  # seconds receipts are held while the database is away
STORE_AGAIN_EVERY = 0.5

log = logs.get()
WeChatOf = Callable[[int], WeChat]
Clock = Callable[[], datetime]
Claim = Callable[[int], Sequence[Any]]
Lane = tuple[
    int, int, str
]  # rank of the priority, account, API: what shares a quota and an urgency


@dataclass
class Sender:
    """What a process keeps between drains: connections, and how many calls at once each account bears.

    One drain at a time has it. ``most``: calls at once; ``first``: of an account to begin with.
    """

    most: int = MOST_AT_ONCE
    first: int = FIRST_WINDOW
    turn: threading.Lock = field(default_factory=threading.Lock)
    _lines: Lines | None = None
    _windows: dict[int, float] = field(default_factory=dict)
    _halved: dict[int, float] = field(default_factory=dict)

    @property
    def lines(self) -> Lines:
        """Opened at first use, so that a process may fork before."""
        if self._lines is None:
            self._lines = Lines()
        return self._lines

    def window(self, account_id: int) -> int:
        """How many calls of an account may be under way."""
        return int(self._windows.get(account_id, min(self.first, self.most)))

    def answered(self, account_id: int, problem: Exception | None) -> None:
        """Twice as many a round while all goes well; half as many when the platform says it is too much."""
        window = self._windows.get(account_id, float(min(self.first, self.most)))
        if problem is None:
            self._windows[account_id] = min(window + 1, self.most)
        elif isinstance(problem, WeChatError) and problem.errcode == TOO_FREQUENT:
            moment = real_clock.tick_seconds()
            if moment - self._halved.get(account_id, -HALVE_EVERY) >= HALVE_EVERY:
                self._halved[account_id] = moment  # answers to one round count as one
                self._windows[account_id] = max(window / 2, 1.0)

    def close(self) -> None:
        """Hang up."""
        if self._lines is not None:
            self._lines.close()
            self._lines = None


@dataclass(slots=True)
class _Call:
    """One prepared message and the call that sends it."""

    row: Any
    prepared: Prepared
    channel: ModuleType
    wechat: WeChat
    lane: Lane
    payload: Mapping[str, Any]


class Flow:
    """One drain's way through rows of channels with ``BULK``."""

    def __init__(
        self,
        engine: Engine,
        writer: GroupWriter,
        gateway: WeChatOf,
        clock: Clock,
        sender: Sender,
        claim: Claim,
        governor: Governor | None = None,
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._gateway = gateway
        self._clock = clock
        self._sender = sender
        self._lines = sender.lines
        self._claim = claim
        self._governor = governor
        self._lanes: dict[Lane, deque[_Call]] = defaultdict(deque)
        self._back: list[_Call] = []  # held back: they wait again, unclaimed
        self._counted: Counter[Lane] = Counter()
        self._refused: Counter[Lane] = Counter()
        self._later: dict[int, deque[Any]] = {}  # by follower: rows that wait for the one before
        self._again: list[Any] = []  # rows whose turn with their follower has come
        self._under_way: dict[int, _Call] = {}
        self._of_account: Counter[int] = Counter()
        self._of_lane: Counter[Lane] = Counter()
        self._ended: list[Ended] = []
        self._queued = 0
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="claim")
        self._claiming: Future[Sequence[Any]] | None = None
        self._exhausted = False
        self._began = self._beaten = real_clock.tick_seconds()
        self.handled = 0

    def run(self) -> int:
        """Send until nothing is due, or 20 seconds are over; how many rows were handled."""
        with self._aside:
            return self._run()

    def _run(self) -> int:
        while True:
            self._refill()
            if self._is_beat_due():
                self._beat()
            if not (self._under_way or self._queued or self._ended or self._again):
                if self._exhausted:
                    return self.handled
                continue
            if self._under_way:
                for answer in self._lines.answers(BEAT):
                    self._take(answer)

    # --- rows come in

    def _refill(self) -> None:
        """Claim more before the lines run dry: aside while calls are under way, so that none waits for it."""
        if self._claiming is not None:
            if not self._claiming.done() and (self._under_way or self._ended):
                return
            rows, self._claiming = self._claiming.result(), None
        elif self._exhausted or self._queued >= self._sender.most:
            return
        elif real_clock.tick_seconds() - self._began >= CLAIM_FOR:
            rows = []
        elif self._under_way:
            self._claiming = self._aside.submit(self._claim, self._piece())
            return
        else:
            rows = self._claim(self._piece())
        self._exhausted = not rows
        self._arrange(rows)

    def _piece(self) -> int:
        # no more than twice what can be under way, so that other workers find the rest
        return min(PIECE, 2 * self._sender.most)

    def _arrange(self, rows: Sequence[Any]) -> None:
        self.handled += len(rows)
        first: list[Any] = []
        for row in sorted(rows, key=lambda row: int(row.id)):
            if row.follower_id is None:
                first.append(row)
            elif row.follower_id in self._later:
                self._later[row.follower_id].append(row)
            else:
                self._later[row.follower_id] = deque()
                first.append(row)
        self._again += first

    def _queue(self, session: Session, rows: Sequence[Any], now: datetime) -> None:
        for prepared in outbox_items.prepare(session, rows, now):
            found = self._call_of(prepared, now)
            if isinstance(found, Outcome):
                self._ended.append(Ended(prepared.row, found, prepared.situation.first_try_at))
                continue
            self._lanes[found.lane].append(found)
            self._queued += 1

    def _call_of(self, prepared: Prepared, now: datetime) -> _Call | Outcome:
        if isinstance(prepared.found, Outcome):
            return prepared.found
        item, channel = prepared.found, prepared.channel
        assert channel is not None
        try:
            wechat = self._gateway(item.account_id)
        except Refused as problem:  # its secrets do not open: an operator's matter, not this row's
            log.error("no_gateway", account=item.account_id, error=str(problem))
            return outcomes.later(str(problem), prepared.situation, now)
        try:
            path, payload = channel.request(item)
        except Exception as problem:
            return outbox_receipts.of_problem(prepared.row, problem, prepared.situation, now)
        priority = PRIORITIES.index(priority_of(item.purpose))
        lane = (priority, item.account_id, path)
        return _Call(prepared.row, prepared, channel, wechat, lane, payload)

    # --- the beat

    def _is_beat_due(self) -> bool:
        # half and half: while one half is stored and begun again, the other is with the platform
        if self._again or len(self._ended) >= min(GROUP, len(self._under_way)):
            return True
        return real_clock.tick_seconds() - self._beaten >= BEAT

    def _beat(self) -> None:
        """Store what ended, begin what may begin, in one transaction; then make the calls."""
        now = self._clock()
        self._beaten = real_clock.tick_seconds()
        if self._again:
            again, self._again = self._again, []
            with db.reading(self._engine) as session:
                self._queue(session, again, now)
        chosen = self._choose(now)
        back = self._overdue()
        self._tell_governor(now)
        if not (self._ended or chosen or back):
            return
        ended, self._ended = self._ended, []
        begun = self._patiently(lambda session: self._write(session, ended, chosen, back, now))
        for one in ended:
            self._next_of(one.row)
        lost = [call for call in chosen if call.row.id not in begun]
        for call in lost:
            log.warning("outbox_lost", row=call.row.id)  # recovered by somebody else, or stopped
        for call in [*lost, *back]:
            self._next_of(call.row)
        for call in chosen:
            if call.row.id in begun:
                self._start(call)

    def _write(
        self,
        session: Session,
        ended: Sequence[Ended],
        chosen: Sequence[_Call],
        back: Sequence[_Call],
        now: datetime,
    ) -> frozenset[int]:
        outbox_receipts.store(session, ended, now)
        begun = outbox_claims.begin_many(session, [call.row for call in chosen], now)
        lost = [call.row for call in chosen if call.row.id not in begun]
        outbox_claims.give_back(session, [*lost, *(call.row for call in back)])
        if self._governor is not None and self._governor.is_write_due():
            self._governor.write(session)
        return begun

    def _patiently(self, work: Callable[[Session], frozenset[int]]) -> frozenset[int]:
        """Do it in a transaction, again while the database is away: what was answered is not to be forgotten."""
        until = real_clock.tick_seconds() + STORE_AGAIN_FOR
        while True:
            try:
                return self._writer.run(work)
            except SQLAlchemyError as problem:
                if not db.is_unavailable(problem) or real_clock.tick_seconds() > until:
                    raise
                log.error("database_unavailable", error=type(problem).__name__)
            if not self._under_way:
                real_clock.pause(STORE_AGAIN_EVERY)
            for answer in self._lines.answers(STORE_AGAIN_EVERY):
                self._take(answer)

    def _choose(self, now: datetime) -> list[_Call]:
        """As many as there are free lines and the day's quota allows: what somebody waits for first."""
        free = self._sender.most - len(self._under_way)
        chosen: list[_Call] = []
        taken: Counter[int] = Counter()
        for lane in sorted(self._lanes):
            _priority, account_id, _path = lane
            waiting = self._lanes[lane]
            busy = self._of_account[account_id] + taken[account_id]
            room = max(0, min(free, self._sender.window(account_id) - busy, len(waiting)))
            allowed = self._allowed(lane, room, now)
            chosen += [waiting.popleft() for _ in range(allowed)]
            taken[account_id] += allowed
            free -= allowed
            if allowed < room:  # the rest of this lane waits for another day or minute
                self._back += waiting
                self._queued -= len(waiting)
                waiting.clear()
        self._queued -= len(chosen)
        return chosen

    def _allowed(self, lane: Lane, room: int, now: datetime) -> int:
        if self._governor is None or not room:
            return room
        priority, account_id, path = lane
        name = PRIORITIES[priority]
        under_way = self._counted[lane] + self._of_lane[lane]
        most = self._governor.grant(account_id, path, name, room + under_way, now)
        allowed = max(0, most - under_way)
        if allowed < room:
            held = len(self._lanes[lane]) - allowed
            self._governor.count(account_id, path, name, now, calls=0, held=held)
            log.warning("outbox_held", account=account_id, api=path, priority=name, rows=held)
        return allowed

    def _tell_governor(self, now: datetime) -> None:
        if self._governor is not None:
            for lane, calls in self._counted.items():
                priority, account_id, path = lane
                refused = self._refused[lane]
                self._governor.count(
                    account_id, path, PRIORITIES[priority], now, calls=calls, refused=refused
                )
        self._counted.clear()
        self._refused.clear()

    def _overdue(self) -> list[_Call]:
        back, self._back = self._back, []
        if real_clock.tick_seconds() - self._began >= GIVE_BACK_AFTER:
            back += [call for waiting in self._lanes.values() for call in waiting]
            self._lanes.clear()
            self._queued = 0
        return back

    def _start(self, call: _Call) -> None:
        row = call.row
        self._under_way[row.id] = call
        self._of_account[row.account_id] += 1
        self._of_lane[call.lane] += 1
        self._lines.start(row.id, call.wechat, call.lane[2], call.payload)

    # --- answers

    def _take(self, answer: Answer) -> None:
        call = self._under_way.pop(answer.key)
        account_id = call.row.account_id
        self._of_account[account_id] -= 1
        self._of_lane[call.lane] -= 1
        self._counted[call.lane] += 1
        errcode = getattr(answer.problem, "errcode", None)
        if errcode in (DAY_USED_UP, TOO_FREQUENT):
            self._refused[call.lane] += 1
            if self._governor is not None:
                self._governor.refused(account_id, call.lane[2], errcode, self._clock())
        self._sender.answered(account_id, answer.problem)
        situation = call.prepared.situation
        if answer.problem is None:
            outcome = outcomes.succeeded(call.channel.receipt(answer.body))
        else:
            outcome = outbox_receipts.of_problem(call.row, answer.problem, situation, self._clock())
        if not self._ended:
            self._beaten = real_clock.tick_seconds()  # those that come with it share its beat
        self._ended.append(Ended(call.row, outcome, situation.first_try_at))

    def _next_of(self, row: Any) -> None:
        """The follower's next message may go, looked up anew: this one may have shown that they left."""
        waiting = self._later.get(row.follower_id)
        if waiting is None:
            return
        if waiting:
            self._again.append(waiting.popleft())
        else:
            del self._later[row.follower_id]


def is_bulk(rows: Iterable[Any]) -> bool:
    """Whether all of these rows go out by channels that send one message a follower by one call."""
    known = outbox_claims.channels()
    return all(
        getattr(known.get(row.channel), "BULK", False) and row.purpose != outbox_claims.PREVIEW
        for row in rows
    )
