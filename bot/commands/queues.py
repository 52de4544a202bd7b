"""jobs and outbox: what was given up or ended without an answer, and what to do about it."""

from typing import Any

import click
import sqlalchemy as sa

from bot import accounts, jobs, operators
from bot.commands.shared import (
    Commands,
    Tool,
    doc,
    json_option,
    pass_tool,
    print_rows,
    say,
    t,
)
from bot.secrets import short
from bot.tables.accounts import accounts as accounts_table
from bot.tables.followers import followers
from bot.tables.jobs import jobs as jobs_table
from bot.tables.outbox import outbox
from bot.wechat.errcodes import verdict

STATUSES = ("waiting", "sending", "sent", "failed", "unknown", "expired", "cancelled")
TROUBLE = ("failed", "unknown")
UNKNOWN_ZH = "没有收到平台的答复，可能已送达；程序不会重发，请向粉丝核实"


@click.group(
    "jobs",
    cls=Commands,
    help=doc(
        "后台任务，包括放弃了的。",
        "Background jobs, those that were given up too.",
        "qunfen jobs list --dead",
    ),
)
def jobs_group() -> None:
    pass


@jobs_group.command(
    "list",
    help=doc(
        "等待、运行和已放弃的任务；--dead 只列已放弃的。",
        "Jobs that wait, run or were given up; --dead: only the last.",
        "qunfen jobs list --dead\nqunfen jobs list --json",
    ),
)
@click.option("--dead", is_flag=True, help=t("只列已放弃的", "only those that were given up"))
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@pass_tool
def list_jobs(tool: Tool, dead: bool, limit: int, as_json: bool) -> None:
    states = ("dead",) if dead else ("dead", "running", "waiting")
    with tool.reading() as session:
        found = session.execute(
            sa.select(jobs_table, accounts_table.c.slug)
            .outerjoin(accounts_table, accounts_table.c.id == jobs_table.c.account_id)
            .where(jobs_table.c.state.in_(states))
            .order_by(jobs_table.c.id.desc())
            .limit(limit)
        ).all()
    rows = [
        {
            "id": row.id,
            "name": row.name,
            "account": row.slug,
            "state": row.state,
            "tries": row.tries,
            "run_at": row.run_at,
            "finished_at": row.finished_at,
            "error": row.error,
        }
        for row in found
    ]
    columns = {
        "id": "ID",
        "name": t("任务", "Job"),
        "account": t("公众号", "Account"),
        "state": t("状态", "State"),
        "tries": t("次数", "Tries"),
        "finished_at": t("放弃于", "Given up"),
        "error": t("原因", "Error"),
    }
    print_rows(rows, columns, as_json)
    if dead and rows and not as_json:
        say(
            t(
                "处理好原因后重试：qunfen jobs retry ID",
                "when the cause is mended: qunfen jobs retry ID",
            )
        )


@jobs_group.command(
    "retry",
    help=doc(
        "重试一个或全部已放弃的任务。",
        "Retry one job that was given up, or all of them.",
        "qunfen jobs retry 42\nqunfen jobs retry --all",
    ),
)
@click.argument("job_id", metavar="[ID]", type=int, required=False)
@click.option("--all", "every", is_flag=True, help=t("全部", "all of them"))
@pass_tool
def retry(tool: Tool, job_id: int | None, every: bool) -> None:
    if (job_id is None) != every:
        raise click.UsageError(t("写一个任务 ID，或 --all", "give a job's ID, or --all"))
    now = tool.now()
    with tool.writing() as session:
        dead = session.execute(
            sa.select(jobs_table.c.id).where(jobs_table.c.state == "dead")
        ).scalars()
        chosen = list(dead) if job_id is None else [job_id]
        for one in chosen:
            jobs.retry(session, one, now)
            operators.audit(session, "job.retry", str(one), operator="cli", now=now)
    say(t(f"{len(chosen)} 个任务将重试", f"{len(chosen)} job(s) will be tried again"))


@click.command(
    "outbox",
    help=doc(
        "发件箱里失败和结果未知的消息，以及该怎么办；只读。",
        "Messages that failed or ended without an answer, and what to do; changes nothing.",
        "qunfen outbox muyan\nqunfen outbox muyan --status waiting --json",
    ),
)
@click.argument("account")
@click.option(
    "--status",
    type=click.Choice(STATUSES),
    multiple=True,
    help=t("默认 failed 和 unknown", "failed and unknown by default"),
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
@pass_tool
def outbox_command(
    tool: Tool, account: str, status: tuple[str, ...], limit: int, as_json: bool
) -> None:
    with tool.reading() as session:
        found = session.execute(
            sa.select(outbox, followers.c.open_id)
            .outerjoin(followers, followers.c.id == outbox.c.follower_id)
            .where(
                outbox.c.account_id == accounts.get(session, account).id,
                outbox.c.status.in_(status or TROUBLE),
            )
            .order_by(outbox.c.id.desc())
            .limit(limit)
        ).all()
    rows = [
        {
            "id": row.id,
            "channel": row.channel,
            "purpose": row.purpose,
            "to": short(row.open_id) if row.open_id else None,
            "status": row.status,
            "attempts": row.attempts,
            "created_at": row.created_at,
            "errcode": row.errcode,
            "error": row.error,
            "what_to_do": _what_to_do(row),
        }
        for row in found
    ]
    columns = {
        "id": "ID",
        "channel": t("渠道", "Channel"),
        "purpose": t("用途", "Purpose"),
        "to": t("粉丝", "Follower"),
        "status": t("状态", "Status"),
        "created_at": t("时间", "Made"),
        "errcode": "errcode",
        "what_to_do": t("怎么办", "What to do"),
    }
    print_rows(rows, columns, as_json, account)


def _what_to_do(row: Any) -> str | None:
    if row.errcode is not None:
        return verdict(row.errcode).text_zh
    if row.status == "unknown":
        return UNKNOWN_ZH
    return str(row.error) if row.error else None
