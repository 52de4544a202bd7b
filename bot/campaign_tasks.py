"""What each job name of campaigns does: their steps from what is due to what came of it. As in ``tasks``."""

from collections.abc import Sequence
from datetime import datetime

from bot import db, governor, jobs, templates
from bot.allowances import CAMPAIGN
from bot.campaigns import (
    aftermath,
    allocation,
    guarding,
    month_values,
    planning,
    rounds,
    sending,
    settling,
    temporary_tags,
    trials,
)
from bot.jobs import Again, JobContext
from bot.one_by_one import one_by_one
from bot.runtime import Runtime


def waves(rt: Runtime, context: JobContext) -> None:
    """Hand what is due of running campaigns to the outbox."""
    sending.send_waves(rt.engine, context.clock(), rt.secret_key, rt.config.base_url)


def collect(rt: Runtime, context: JobContext) -> None:
    """Read what the outbox finished into deliveries and batches, and results of notices into their deliveries."""
    settling.collect(rt.engine, context.clock())
    templates.settle(rt.engine, context.clock())


def begin_rounds(rt: Runtime, context: JobContext) -> None:
    """Begin follow-ups whose time has come; ``start`` plans them."""
    rounds.start_due(rt.engine, context.clock())


def decide_trials(rt: Runtime, context: JobContext) -> None:
    """Decide experiments that can be decided."""
    trials.look_at_all(rt.engine, context.clock())


def watch_runs(rt: Runtime, context: JobContext) -> None:
    """Let the guard look at every run from which anybody may still be spared."""
    guarding.watch(rt.engine, context.clock())


def tag_results(rt: Runtime, context: JobContext) -> None:
    """Give the tags by result of campaigns that are over."""
    aftermath.tag_due(rt.engine, context.clock())


def late(rt: Runtime, context: JobContext) -> None:
    """Ask about batches whose result never came."""
    settling.late(rt.engine, rt.wechat, context.clock())


def start(rt: Runtime, context: JobContext) -> None:
    """Begin runs of campaigns that are due, and a planning job for each run that needs one."""
    now = context.clock()
    with one_by_one() as one:
        with one():
            planning.begin_due(rt.engine, now)
        _have_planned(rt, planning.to_plan(rt.engine), now)


def _have_planned(rt: Runtime, run_ids: Sequence[int], now: datetime) -> None:
    """A planning job for each of these runs that has none."""
    if not run_ids:
        return
    with db.writing(rt.engine) as session:
        planned = {arguments["run_id"] for arguments in jobs.open_arguments(session, "plan")}
        for run_id in run_ids:
            if run_id not in planned:
                jobs.enqueue(
                    session,
                    "plan",
                    {"run_id": run_id},
                    now=now,
                    unique_key=f"plan:{run_id}:{now.isoformat()}",
                )


def plan(rt: Runtime, context: JobContext) -> Again | None:
    """Plan one page of a run."""
    more = planning.plan_run(rt.engine, context.arguments["run_id"], context.clock())
    return Again() if more else None


def make_temporary_tags(rt: Runtime, context: JobContext) -> None:
    """A job for each account with a tag to make for a send, or to take away after it."""
    now = context.clock()
    account_ids = temporary_tags.accounts_at_work(rt.engine, now)
    if not account_ids:
        return
    with db.writing(rt.engine) as session:
        for account_id in account_ids:
            if jobs.open_arguments(session, "temporary_tag", account_id):
                continue
            jobs.enqueue(
                session,
                "temporary_tag",
                {"account_id": account_id},
                now=now,
                unique_key=f"temporary_tag:{account_id}:{now.isoformat()}",
                account_id=account_id,
            )


def fill_temporary_tag(rt: Runtime, context: JobContext) -> Again | None:
    """Some calls for tags that live for one send."""
    account_id = context.arguments["account_id"]
    wechat = rt.wechat(account_id)
    with governor.on_behalf_of(CAMPAIGN):
        more = temporary_tags.step(rt.engine, wechat, account_id, context.clock())
    return Again() if more else None


def divide_slots(rt: Runtime, context: JobContext) -> None:
    """Divide a month's slots among its campaigns, where that takes too long for a page."""
    if context.account_id is None:
        return

    def tell(done: int, total: int) -> None:
        with db.writing(rt.engine) as session:
            jobs.progress(session, context.job_id, done, total)

    allocation.propose(
        rt.engine,
        context.account_id,
        month_values.Settings.from_json(context.arguments["settings"]),
        context.clock(),
        by=context.arguments["by"],
        tell=tell,
    )
