"""One run of chaos: start, kill, restart, until every campaign has ended; then the checks."""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from bot import clock, db
from bot.clock import parse_moment
from bot.tables.campaigns import campaign_runs, deliveries, mass_batches
from bot.tables.jobs import jobs
from bot.tables.outbox import outbox
from tests.chaos import setting as settings
from tests.chaos.crowd import Crowd, open_windows
from tests.chaos.machines import Machines
from tests.chaos.operators import Operators, settle
from tests.chaos.processes import Product, Sandbox, free_port, pause, until
from tests.chaos.setting import Setting
from tests.chaos.trouble import Trouble
from tests.chaos.verify import Found, verify

# mid-month and mid-morning in Shanghai, so that an outage of a day stays in the month
BEGIN = parse_moment("2026-03-10 10:00")
# the last mass sends of a month, the half hour in which they are held, and the next month; in UTC, which the
# servers run in, all of it is the afternoon of the 31st
NEAR_MONTH_END = parse_moment("2026-03-31 23:15")
LEAPS = (parse_moment("2026-03-31 23:31"), parse_moment("2026-04-01 00:02"))
OUTAGES = (0.0, 0.0, 0.0, 20.0, 100.0, 200.0, 600.0, 3600.0)  # seconds
SETTLE_SECONDS = 20.0  # for the pushes that came last
LONGEST_OUTAGE = 15 * 3600.0  # when nothing moves: ever longer, up to a night
MOST_ROUNDS = 40
LEAP_SECONDS = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """How much of everything. ``writers`` have an open window when it begins.

    ``outage``: when nothing moves, the first one, in seconds. Longer than a lease and a repeat; or longer than
    the 45 minutes after which a missing result is asked for, where every start counts. ``leaps``: so often, at
    equal distances, everything is off until such a moment.
    """

    kills: int
    followers: int
    writers: int
    life: float  # seconds between a start and its kill, at most
    patience: float  # seconds without any change, after which time passes while the product is off
    outage: float = 200.0
    campaigns: tuple[settings.Planned, ...] = settings.CAMPAIGNS
    begin: datetime = BEGIN
    leaps: tuple[datetime, ...] = ()


SHORT = Size(kills=6, followers=2_000, writers=100, life=5.0, patience=6.0, outage=3000.0)
LONG = Size(kills=36, followers=25_000, writers=900, life=12.0, patience=16.0)
MANY_SHORT = Size(
    kills=12,
    followers=2_000,
    writers=100,
    life=5.0,
    patience=6.0,
    outage=3000.0,
    campaigns=settings.CONTESTED,
)
MANY = Size(
    kills=50, followers=20_000, writers=900, life=10.0, patience=16.0, campaigns=settings.CONTESTED
)
MONTH = Size(
    kills=8,
    followers=2_000,
    writers=200,
    life=5.0,
    patience=8.0,
    outage=3000.0,
    campaigns=settings.MONTH_END,
    begin=NEAR_MONTH_END,
    leaps=LEAPS,
)

MONTH_SHORT = replace(MONTH, kills=4, followers=1_000, writers=60, life=3.0, patience=6.0)


def run(size: Size, seed: int, folder: Path, say: Say, *, many: bool = False) -> Found:
    """Everything, in ``folder``: one process on SQLite, or ``many`` on PostgreSQL and Redis.

    What was started is stopped when it ends, however it ends.
    """
    chance = random.Random(seed)
    found = Found()
    began = clock.tick_seconds()

    def tell(text: str) -> None:
        say(f"{clock.tick_seconds() - began:4.0f} s  {text}")

    with ExitStack() as ends:
        sandbox = Sandbox(folder)
        ends.callback(sandbox.stop)
        product: Product | Machines
        if many:
            product = Machines(folder, random.Random(), size.begin, sandbox.control)
        else:
            product = Product(folder, free_port(random.Random()), size.begin, sandbox.control)
        ends.callback(product.close)
        environ = settings.config_of(product.settings(), product.url)
        setting = settings.make(
            folder,
            environ,
            product.url,
            sandbox.url,
            sandbox.control,
            size.followers,
            chance,
            product.now(),
            size.campaigns,
        )
        ends.callback(setting.rt.close)
        product.ready(environ, setting.rt.engine)
        product.start()
        open_windows(setting, sandbox.new_control, size.writers)
        crowd = Crowd(setting, sandbox.new_control, seed)
        trouble = Trouble(sandbox.control, chance)
        ends.callback(crowd.stop)
        crowd.start()
        tell("everything is there")
        operators = Operators(folder, environ, setting, seed)
        ends.callback(operators.close)
        operators.start()
        phases = _kill_often(size, chance, setting, product, trouble, tell)
        trouble.end()
        operators.close()
        rounds = _let_it_end(size, setting, product, tell)
        crowd.stop()
        # what was said last is handled before anybody counts
        until(lambda: _progress(setting) is None, SETTLE_SECONDS)
        product.kill()
        found.count("kills", size.kills + rounds + 1)
        for struck, number in sorted(Counter(getattr(product, "struck", [])).items()):
            found.count(f"  struck {struck}", number)
        for phase, number in phases.most_common():
            found.count(f"  killed while {phase}", number)
        for name, number in sorted(trouble.armed.items()):
            found.count(f"  fault {name}", number)
        for name, number in sorted(operators.outcomes().items()):
            found.count(f"  operators {name}", number)
        for name, number in sorted(crowd.outcomes.items()):
            found.count(f"  pushes {name}", number)
        verify(setting, sandbox.file, found)
    found.count("seconds", round(clock.tick_seconds() - began))
    return found


def _kill_often(
    size: Size,
    chance: random.Random,
    setting: Setting,
    product: Product | Machines,
    trouble: Trouble,
    say: Say,
) -> Counter[str]:
    """Kill ``size.kills`` times; campaigns join as the share of kills that went by says."""
    coming = sorted(setting.campaigns, key=lambda planned: planned.after)
    phases: Counter[str] = Counter()
    leaps = list(size.leaps)
    for kill in range(size.kills):
        while coming and (kill >= coming[0].after * size.kills or _progress(setting) is None):
            settings.schedule(setting, coming.pop(0), product.now())
        for _ in range(chance.randrange(3)):
            trouble.arm()
        wanted = chance.choice((None, "planning", "mass", "customer_service", "settling", "jobs"))
        if wanted is None:
            pause(chance.uniform(0.0, size.life))
        else:
            # leases of the one before look like work: a while first, most of the times
            pause(chance.choice((0.0, 0.3, 0.5)) * size.life)
            until(lambda: wanted in _phases(setting), size.life / 2, every=0.02)  # noqa: B023
            pause(chance.choice((0.0, chance.uniform(0.0, 0.2), chance.uniform(0.0, 2.0))))
        if leaps and kill >= (1 + len(size.leaps) - len(leaps)) * size.kills / (
            1 + len(size.leaps)
        ):
            # something is sent on each side of a month's end, however slow the machine
            until(lambda: _submitted(setting), LEAP_SECONDS)
            product.kill()
            product.outage(max(0.0, (leaps.pop(0) - product.now()).total_seconds()))
            say(f"everything is off until {product.now():%Y-%m-%d %H:%M} UTC")
            product.start()
        during = _phases(setting) or {"nothing was under way"}
        struck = product.strike(chance)
        if struck is not None:
            phases.update(during)
            say(f"kill {kill + 1}: {struck} while {', '.join(sorted(during))}")
            continue
        product.kill()
        during = _phases(setting) or {"nothing was under way"}
        phases.update(during)
        outage = chance.choice(OUTAGES)
        if chance.random() < 0.5:
            outage = max(outage, _until_tomorrow(setting, product))
        say(f"kill {kill + 1}: {', '.join(sorted(during))}; off for {outage:.0f} s")
        if outage:
            product.outage(outage)
        product.start()
    for planned in coming:
        settings.schedule(setting, planned, product.now())
    return phases


def _let_it_end(size: Size, setting: Setting, product: Product | Machines, say: Say) -> int:
    """Wait until nothing is open. When nothing moves, time passes while the product is off; how often."""
    for round_number in range(MOST_ROUNDS):
        before = _progress(setting)
        moved = clock.tick_seconds()
        while (now := _progress(setting)) is not None:
            if now != before:
                before, moved = now, clock.tick_seconds()
            else:
                settle(setting, product.now())
            if clock.tick_seconds() > moved + size.patience:
                break
            pause(0.2)
        if now is None and _all_planned(setting):
            return round_number
        product.kill()
        outage = max(
            min(size.outage * 4.0**round_number, LONGEST_OUTAGE),
            _until_next(setting, product),
        )
        say(f"nothing moves ({now}): off for {outage:.0f} s")
        product.outage(outage)
        product.start()
    return MOST_ROUNDS


def _until_tomorrow(setting: Setting, product: Product | Machines) -> float:
    """Seconds until a mass call that the platform refuses for today may be made; 0 when none waits."""
    with db.reading(setting.rt.engine) as session:
        moment = session.execute(
            sa.select(sa.func.min(outbox.c.not_before)).where(
                outbox.c.status == "waiting",
                outbox.c.channel == "mass",
                outbox.c.not_before > product.now() + timedelta(hours=1),
            )
        ).scalar()
    return 0.0 if moment is None else (moment - product.now()).total_seconds() + 1


def _until_next(setting: Setting, product: Product | Machines) -> float:
    """Seconds until all that waits may be called again; 0 when nothing waits."""
    with db.reading(setting.rt.engine) as session:
        moment = session.execute(
            sa.select(sa.func.max(outbox.c.not_before)).where(outbox.c.status == "waiting")
        ).scalar()
    return 0.0 if moment is None else (moment - product.now()).total_seconds() + 1


def _all_planned(setting: Setting) -> bool:
    with db.reading(setting.rt.engine) as session:
        runs = session.execute(sa.select(sa.func.count()).select_from(campaign_runs)).scalar()
    return runs == len(setting.campaigns)


def _submitted(setting: Setting) -> bool:
    """Whether the platform has taken a mass batch."""
    with db.reading(setting.rt.engine) as session:
        found = session.execute(
            sa.select(mass_batches.c.id).where(mass_batches.c.msg_id.is_not(None)).limit(1)
        )
        return found.scalar() is not None


def _phases(setting: Setting) -> set[str]:
    """What is half done at this moment, by the product's own rows."""
    questions = {
        "planning": sa.select(campaign_runs.c.id).where(campaign_runs.c.status == "planning"),
        "mass": sa.select(outbox.c.id).where(
            outbox.c.status == "sending", outbox.c.channel == "mass"
        ),
        "customer_service": sa.select(outbox.c.id).where(
            outbox.c.status == "sending", outbox.c.channel == "customer_service"
        ),
        "waves": sa.select(deliveries.c.id)
        .join(campaign_runs, campaign_runs.c.id == deliveries.c.run_id)
        .where(
            campaign_runs.c.status == "running",
            deliveries.c.status == "planned",
            deliveries.c.queued_at.is_(None),
        ),
        "settling": sa.select(outbox.c.id).where(
            outbox.c.collected.is_(sa.false()), outbox.c.status.in_(("sent", "failed", "unknown"))
        ),
        "results": sa.select(mass_batches.c.id).where(mass_batches.c.status == "submitted"),
        "jobs": sa.select(jobs.c.id).where(jobs.c.state == "running"),
    }
    with db.reading(setting.rt.engine) as session:
        return {
            name
            for name, question in questions.items()
            if session.execute(question.limit(1)).scalar() is not None
        }


def _progress(setting: Setting) -> tuple[object, ...] | None:
    """Something that changes while work goes on; None when no run and no message is open."""
    with db.reading(setting.rt.engine) as session:
        runs = session.execute(
            sa.select(campaign_runs.c.id, campaign_runs.c.status, campaign_runs.c.planned_to).where(
                campaign_runs.c.status.not_in(("finished", "cancelled"))
            )
        ).all()
        waiting = session.execute(
            sa.select(outbox.c.status, sa.func.count(), sa.func.sum(outbox.c.attempts))
            .where(outbox.c.status.in_(("waiting", "sending")))
            .group_by(outbox.c.status)
        ).all()
        if not runs and not waiting:
            return None
        ended = session.execute(
            sa.select(deliveries.c.status, sa.func.count()).group_by(deliveries.c.status)
        ).all()
        settled = session.execute(
            sa.select(mass_batches.c.status, sa.func.count()).group_by(mass_batches.c.status)
        ).all()
    # PostgreSQL gives rows in no order of its own
    return tuple(sorted((tuple(row) for row in (*runs, *waiting, *ended, *settled)), key=str))
