"""What each job name does: one function a name, each safe to run twice at once and cut into steps of under a minute."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial

from bot import (
    account_check,
    accounts,
    articles,
    campaign_tasks,
    db,
    effects,
    erasure,
    figures,
    follower_edits,
    follower_files,
    follower_pages,
    follower_sync,
    governor,
    inbox,
    jobs,
    kept,
    media,
    menu_drafts,
    menus,
    outbox,
    outgoing,
    overview,
    quotas,
    receive,
    retention,
    rule_hits,
    rule_trials,
    scene_reports,
    scenes,
    tag_families,
    tag_merge,
    tag_people,
    tag_sync,
    tags,
    templates,
    webhook_deliveries,
)
from bot.allowances import SYNC
from bot.as_code.apply import MAKE_SCENES, PUBLISH_MENU, SYNC_TAGS
from bot.audiences import catalogue, index, portrait
from bot.campaigns import (
    estimates,
    temporary_tags,
)
from bot.campaigns.allocation import DIVIDE
from bot.health import LAST_TICK
from bot.jobs import Again, JobContext, Task
from bot.runtime import Runtime

DRAINS = 20  # a tick, so that a campaign leaves faster than one drain a second
DRAIN_ROWS = 5000  # a drain
ERASURES = 50
REPLAYS = 50  # pushes a step
MOST_FAILED = 10_000

RuntimeTask = Callable[[Runtime, JobContext], Again | None]


def drain_outbox(rt: Runtime, context: JobContext) -> None:
    """Send what is due."""
    for _ in range(DRAINS):
        drained = outbox.drain(
            rt.engine,
            rt.wechat,
            context.clock,
            limit=DRAIN_ROWS,
            sender=rt.sender,
            governor=rt.governor,
        )
        if drained == 0:
            return


def send_later(rt: Runtime, context: JobContext) -> None:
    """What a rule wanted sent some time after the push."""
    if context.account_id is None:
        return
    arguments = {**context.arguments, "job_id": context.job_id}
    with db.writing(rt.engine) as session:
        effects.send_later(session, context.account_id, arguments, context.clock())


def upload(rt: Runtime, context: JobContext) -> Again | None:
    """Upload material the platform does not have, and tell it about articles."""
    now = context.clock()
    uploaded = media.upload_pending(rt.engine, rt.wechat, now)
    told = articles.tell_pending(rt.engine, rt.wechat, now)
    articles.ask_pending(rt.engine, rt.wechat, now)
    # what failed for now waits for the next tick: a platform that says no all day is not asked every second
    full = uploaded == media.UPLOAD_LIMIT or told == articles.TELL_LIMIT
    return Again(seconds=1) if full else None


def every_account(name: str, rt: Runtime, context: JobContext) -> None:
    """A job of this name for each account that has none waiting or running."""
    now = context.clock()
    with db.writing(rt.engine) as session:
        for account in accounts.every(session):
            if jobs.open_arguments(session, name, account.id):
                continue
            jobs.enqueue(
                session,
                name,
                {"account_id": account.id},
                now=now,
                unique_key=f"{name}:{account.id}:{now.isoformat()}",
                account_id=account.id,
            )


def sync_followers(rt: Runtime, context: JobContext) -> Again | None:
    """One page of the follower list, or one call of details, unless what is left of its quota is for others."""
    now, account_id = context.clock(), context.arguments["account_id"]
    sync_id = context.arguments.get("sync_id")
    if sync_id is None:
        with db.writing(rt.engine) as session:
            if accounts.by_id(session, account_id).rights.get(follower_sync.FEATURE) is False:
                return None
            tag_sync.start_over(session, account_id)
            begun = follower_sync.begin(session, account_id, now)
        return Again(arguments={**context.arguments, "sync_id": begun.id})
    with db.reading(rt.engine) as session:
        seen = follower_sync.by_id(session, sync_id)
    waits = rt.governor.wait(account_id, [seen.api], now) if seen.more else 0
    if waits:
        return Again(waits)
    progress = follower_sync.step(rt.engine, rt.wechat(account_id), sync_id, now)
    with db.writing(rt.engine) as session:
        jobs.progress(session, context.job_id, progress.done, progress.total)
        if not progress.more:
            erasure.recall_new(session, account_id, rt.secret_key, now)
    return Again() if progress.more else None


def sweep_tags(rt: Runtime, context: JobContext) -> None:
    """Delete tags of sends that nothing needs any more."""
    account_id = context.arguments["account_id"]
    if temporary_tags.ever(rt.engine, account_id):
        temporary_tags.sweep(rt.engine, rt.wechat(account_id), account_id)


def read_templates(rt: Runtime, context: JobContext) -> None:
    """Read the templates of an account anew."""
    account_id = context.arguments["account_id"]
    templates.read(rt.engine, rt.wechat(account_id), account_id, context.clock())


def sync_tags(rt: Runtime, context: JobContext) -> Again | None:
    """Tell the platform what changed in the tags it mirrors, unless what is left of the quota is for campaigns."""
    account_id = context.arguments["account_id"]
    now, minder = context.clock(), rt.governor
    waits = minder.wait(account_id, tag_sync.APIS, now)
    if waits:
        return Again(waits)
    calls = min(minder.grant(account_id, api, SYNC, tag_sync.CALLS, now) for api in tag_sync.APIS)
    more = tag_sync.run(rt.engine, rt.wechat(account_id), account_id, now, calls=calls)
    return Again() if more else None


def make_scenes(rt: Runtime, context: JobContext) -> Again | None:
    """Make parameter QR codes that were never made."""
    account_id = context.arguments["account_id"]
    with db.reading(rt.engine) as session:
        total = context.arguments.get("total") or scenes.unmade(session, account_id)
    more = scenes.make_missing(rt.engine, rt.wechat(account_id), account_id, context.clock())
    with db.writing(rt.engine) as session:
        left = scenes.unmade(session, account_id)
        jobs.progress(session, context.job_id, max(0, total - left), total)
    return Again(arguments={**context.arguments, "total": total}) if more else None


def publish_menu(rt: Runtime, context: JobContext) -> None:
    """Tell the platform the menus as they should be."""
    account_id = context.arguments["account_id"]
    menus.publish(rt.engine, rt.wechat(account_id), account_id, context.clock())


def publish_menu_due(rt: Runtime, context: JobContext) -> None:
    """Publish a menu whose time has come, unless it was cancelled."""
    account_id, at = context.arguments["account_id"], context.arguments["at"]
    wechat = rt.wechat(account_id)
    menu_drafts.publish_due(rt.engine, wechat, account_id, at, context.clock())


def check_account(rt: Runtime, context: JobContext) -> None:
    """The live check of an account that somebody asked for."""
    account_id = context.arguments["account_id"]
    account_check.run(
        rt.engine,
        rt.wechat(account_id),
        account_id,
        rt.secret_key,
        rt.config.base_url,
        rt.http(),
        context.clock(),
    )


def expire_tags(rt: Runtime, context: JobContext) -> None:
    """Take off tags whose time is over."""
    with db.writing(rt.engine) as session:
        tags.expire(session, context.clock())


def erase(rt: Runtime, context: JobContext) -> Again | None:
    """Anonymise followers who left long enough ago."""
    now = context.clock()
    left_before = now - timedelta(days=rt.config.erase_after_unsubscribe)
    with db.reading(rt.engine) as session:
        due = erasure.due(session, left_before, ERASURES)
    for account_id, follower_id in due:
        with db.writing(rt.engine) as session:
            erasure.forget(session, account_id, follower_id, rt.secret_key, now)
    return Again() if len(due) == ERASURES else None


def erase_follower(rt: Runtime, context: JobContext) -> None:
    """Anonymise one follower who asked for it on the platform."""
    if context.account_id is None:
        return
    with db.writing(rt.engine) as session:
        erasure.forget(
            session,
            context.account_id,
            context.arguments["follower_id"],
            rt.secret_key,
            context.clock(),
        )


def rollup(rt: Runtime, context: JobContext) -> Again | None:
    """Count the days that are over, so that their events may go one day."""
    now = context.clock()
    more = retention.rollup(rt.engine, now) or scene_reports.roll(rt.engine, now)
    return Again() if more else None


def count_rule_hits(rt: Runtime, context: JobContext) -> Again | None:
    """Count which rules answered since the last minute."""
    return Again() if rule_hits.count(rt.engine, context.clock()) else None


def dry_run(rt: Runtime, context: JobContext) -> Again | None:
    """Let a draft decide the next of the stored pushes."""
    if context.account_id is None:
        return None
    arguments = rule_trials.step(
        rt.engine, context.account_id, context.job_id, context.arguments, context.clock()
    )
    return Again(arguments=arguments) if arguments is not None else None


def replay_failed(rt: Runtime, context: JobContext) -> Again | None:
    """Handle the pushes that failed again, oldest first, each once."""
    if context.account_id is None:
        return None
    after, done = context.arguments.get("after", 0), context.arguments.get("done", 0)
    with db.reading(rt.engine) as session:
        account = accounts.by_id(session, context.account_id)
        left = [one for one in inbox.failed_ids(session, account.id, MOST_FAILED) if one > after]
    for push_id in left[:REPLAYS]:
        receive.replay(rt, account, push_id)
    with db.writing(rt.engine) as session:
        jobs.progress(session, context.job_id, done + len(left[:REPLAYS]), done + len(left))
    if len(left) <= REPLAYS:
        return None
    return Again(arguments={"after": left[REPLAYS - 1], "done": done + REPLAYS})


def prune(rt: Runtime, context: JobContext) -> Again | None:
    """Delete what is past its retention, a little of everything at a time."""
    days = {"keep_pushes": rt.config.keep_pushes, "keep_events": rt.config.keep_events}
    return Again() if retention.prune(rt.engine, context.clock(), **days) else None


def tell_webhooks(rt: Runtime, context: JobContext) -> Again | None:
    """Owe other systems what happened, and post what is due: events, and messages they send for us."""
    now = context.clock()
    outgoing.send_due(rt.engine, rt.secret_key, context.clock)
    more = webhook_deliveries.read_events(rt.engine, now)
    left = webhook_deliveries.deliver(rt.engine, rt.secret_key, now)
    return Again() if more or left else None


def count_figures(rt: Runtime, context: JobContext) -> None:
    """Count what is too slow to count at each look at a page."""
    with db.reading(rt.engine) as session:
        account_ids = [account.id for account in accounts.every(session)]
    for account_id in account_ids:
        overview.recount(rt.engine, account_id, context.clock())
        follower_pages.recount(rt.engine, account_id, context.clock())


def count_audience_sets(rt: Runtime, context: JobContext) -> None:
    """Count the sets of people that operators work with, and may any moment; drop those nobody asks for."""
    now = context.clock()
    with db.reading(rt.engine) as session:
        expected = {
            account.id: [
                *estimates.expected(session, account, now),
                *portrait.expected(session, account.id),
            ]
            for account in accounts.every(session)
            if figures.is_large(session, account.id)
        }
    index.refresh(rt.engine, now, expected)
    index.forget(rt.engine, now)


def record_segment_sizes(rt: Runtime, context: JobContext) -> None:
    """Note how large the segments of every account are today."""
    with db.reading(rt.engine) as session:
        account_ids = [account.id for account in accounts.every(session)]
    for account_id in account_ids:
        catalogue.record_sizes(rt.engine, account_id, context.clock())


def optimize(rt: Runtime, context: JobContext) -> None:
    """Keep the statistics by which the database chooses its indexes."""
    db.optimize(rt.engine)


def merge_tags(rt: Runtime, context: JobContext) -> Again | None:
    """One piece of making one tag of two."""
    if context.account_id is None:
        return None
    now = context.clock()
    arguments = tag_merge.merge_piece(
        rt.engine, context.account_id, context.job_id, context.arguments, now
    )
    if arguments is None:
        # the platform follows: its tags, and the menus that go by them
        with db.writing(rt.engine) as session:
            for name in (SYNC_TAGS, PUBLISH_MENU):
                told = {"account_id": context.account_id}
                jobs.enqueue(session, name, told, now=now, account_id=context.account_id)
        return None
    return Again(arguments=arguments)


def tag_followers(rt: Runtime, context: JobContext) -> Again | None:
    """Give a tag to the next of all who match, or take it off."""
    if context.account_id is None:
        return None
    now = context.clock()
    arguments = tag_people.tag_piece(
        rt.engine, context.account_id, context.job_id, context.arguments, now
    )
    return Again(arguments=arguments) if arguments is not None else None


def import_followers(rt: Runtime, context: JobContext) -> Again | None:
    """Carry out the next lines of an upload."""
    if context.account_id is None:
        return None
    arguments = follower_files.step(
        rt.engine,
        context.account_id,
        context.job_id,
        context.arguments,
        rt.secret_key,
        context.clock(),
    )
    return Again(arguments=arguments) if arguments is not None else None


def rename_tag(rt: Runtime, context: JobContext) -> None:
    """Tell the platform the new name of a tag."""
    if context.account_id is not None:
        wechat = rt.wechat(context.account_id)
        tag_families.rename_there(
            rt.engine, wechat, context.account_id, context.arguments["tag_id"]
        )


def tell_remark(rt: Runtime, context: JobContext) -> None:
    """Tell the platform what an operator noted about a follower."""
    if context.account_id is not None:
        wechat = rt.wechat(context.account_id)
        follower_edits.tell_remark(
            rt.engine, wechat, context.account_id, context.arguments["follower_id"]
        )


def count_tags(rt: Runtime, context: JobContext) -> None:
    """Count who has each tag."""
    tag_families.recount(rt.engine, context.arguments["account_id"], context.clock())


def heartbeat(rt: Runtime, context: JobContext) -> None:
    """Say that the scheduler is alive, for ``/readyz``."""
    with db.writing(rt.engine) as session:
        kept.write(session, LAST_TICK, str(context.clock().timestamp()))


def learn_quotas(rt: Runtime, context: JobContext) -> None:
    """Ask the platform how many calls it allows today."""
    account_id = context.arguments["account_id"]
    quotas.learn(rt.engine, rt.wechat(account_id), rt.governor, account_id, context.clock())


def count_calls(rt: Runtime, context: JobContext) -> None:
    """Store how many calls this process made since."""
    rt.governor.flush(rt.engine)


TASKS: Mapping[str, RuntimeTask] = {
    "outbox": drain_outbox,
    "replay_failed": replay_failed,
    "waves": campaign_tasks.waves,
    "collect": campaign_tasks.collect,
    "late": campaign_tasks.late,
    "rounds": campaign_tasks.begin_rounds,
    "trials": campaign_tasks.decide_trials,
    "guard": campaign_tasks.watch_runs,
    "aftermath": campaign_tasks.tag_results,
    "start": campaign_tasks.start,
    "plan": campaign_tasks.plan,
    effects.SEND_LATER: send_later,
    "upload": upload,
    "follower_sync": partial(every_account, "sync_followers"),
    "sync_followers": sync_followers,
    "tag_sync": partial(every_account, SYNC_TAGS),
    SYNC_TAGS: sync_tags,
    "temporary_tags": campaign_tasks.make_temporary_tags,
    "temporary_tag": campaign_tasks.fill_temporary_tag,
    "tag_sweep": partial(every_account, "sweep_tags"),
    "sweep_tags": sweep_tags,
    "templates": partial(every_account, templates.READ),
    templates.READ: read_templates,
    MAKE_SCENES: make_scenes,
    PUBLISH_MENU: publish_menu,
    menu_drafts.PUBLISH_DUE: publish_menu_due,
    account_check.JOB: check_account,
    "expire_tags": expire_tags,
    "erase": erase,
    "erase_follower": erase_follower,
    "rollup": rollup,
    "prune": prune,
    rule_trials.JOB: dry_run,
    "rule_hits": count_rule_hits,
    "webhooks": tell_webhooks,
    "figures": count_figures,
    "audience_sets": count_audience_sets,
    "segment_sizes": record_segment_sizes,
    "optimize": optimize,
    tag_families.MERGE_TAGS: merge_tags,
    tag_people.TAG_FOLLOWERS: tag_followers,
    follower_files.IMPORT_FOLLOWERS: import_followers,
    tag_families.RENAME_TAG: rename_tag,
    follower_edits.TELL_REMARK: tell_remark,
    "tag_counts": partial(every_account, tag_families.COUNT_TAGS),
    tag_families.COUNT_TAGS: count_tags,
    "heartbeat": heartbeat,
    "quotas": partial(every_account, governor.LEARN),
    "quotas_of_the_day": partial(every_account, governor.LEARN),
    governor.LEARN: learn_quotas,
    "count_calls": count_calls,
    DIVIDE: campaign_tasks.divide_slots,
}


def bound(rt: Runtime) -> Mapping[str, Task]:
    """The tasks as ``jobs.run_one`` takes them."""
    return {name: partial(_counting, task, rt) for name, task in TASKS.items()}


def _counting(task: RuntimeTask, rt: Runtime, context: JobContext) -> Again | None:
    """Run a task, then store how many calls it made: a worker has no scheduler to do so."""
    try:
        return task(rt, context)
    finally:
        rt.governor.flush(rt.engine)
