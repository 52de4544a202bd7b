"""db, backup, restore, doctor, registry, tick, followers sync and tester."""

from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from bot import (
    accounts,
    backup,
    doctor,
    erasure,
    follower_sync,
    migrate,
    operators,
    registry,
    scheduler,
    testers,
)
from bot.commands.shared import (
    Commands,
    Failure,
    Tool,
    doc,
    json_option,
    pass_tool,
    print_json,
    print_rows,
    say,
    t,
)
from bot.config import sqlite_path
from bot.secrets import short

FILE = click.Path(dir_okay=False, path_type=Path)


@click.group("db", cls=Commands, help=doc("数据库。", "The database.", "qunfen db upgrade"))
def db_group() -> None:
    pass


@db_group.command(
    "upgrade",
    help=doc(
        "建表，或升级到这个程序的版本；可以重复执行。",
        "Make the tables, or bring them to this program's revision. Safe to repeat.",
        "qunfen db upgrade",
    ),
)
@pass_tool
def upgrade(tool: Tool) -> None:
    before = migrate.current(tool.engine)
    if before is not None and not migrate.is_known(before):
        tool.check_revision()
    migrate.upgrade(tool.engine)
    after = migrate.current(tool.engine)
    if before == after:
        say(t(f"数据库已是最新：{after}", f"the database is up to date: {after}"))
    else:
        say(t(f"数据库已升级到 {after}", f"the database is now at {after}"))


@db_group.command(
    "current",
    help=doc("显示数据库版本。", "Show the database's revision.", "qunfen db current"),
)
@json_option
@pass_tool
def current(tool: Tool, as_json: bool) -> None:
    path = sqlite_path(tool.config.database_url)
    found = None if path is not None and not path.exists() else migrate.current(tool.engine)
    if as_json:
        print_json({"current": found, "head": migrate.head()})
    else:
        say(
            t(
                f"数据库：{found or '空'}；程序：{migrate.head()}",
                f"database: {found or 'empty'}; program: {migrate.head()}",
            )
        )


@click.command(
    "backup",
    help=doc(
        "把全部数据写进一个文件，SQLite 和 PostgreSQL 通用；运行中也可以做。",
        "Write everything to one file, portable between SQLite and PostgreSQL; may run while serving.",
        "qunfen backup qunfen-2026-11-22.zip",
    ),
)
@click.argument("file", type=FILE)
@pass_tool
def backup_command(tool: Tool, file: Path) -> None:
    tool.check_revision()
    made = backup.backup(tool.engine, file, tool.secret_key, tool.now())
    say(
        t(
            f"已备份 {sum(made.rows.values())} 行到 {file}",
            f"{sum(made.rows.values())} rows are in {file}",
        )
    )
    say(
        t(
            "QUNFEN_SECRET_KEY 不在备份里，请另外妥善保存",
            "QUNFEN_SECRET_KEY is not in the backup: keep it safe elsewhere",
        )
    )


@click.command(
    "restore",
    help=doc(
        "把备份恢复到一个空的安装里。",
        "Restore a backup into an empty installation.",
        "QUNFEN_DATABASE_URL=sqlite:///instance/new.db qunfen restore qunfen-2026-11-22.zip",
    ),
)
@click.argument("file", type=FILE)
@pass_tool
def restore_command(tool: Tool, file: Path) -> None:
    found = backup.restore(tool.engine, file, tool.secret_key)
    say(t(f"已恢复 {sum(found.rows.values())} 行", f"{sum(found.rows.values())} rows are restored"))
    if not found.same_key:
        click.echo(
            t(
                "注意：QUNFEN_SECRET_KEY 不是备份时的那一个，公众号密钥打不开；"
                "请换回来，或用 qunfen apply 重新给出",
                "note: QUNFEN_SECRET_KEY is not the backup's and account secrets do not open: "
                "use the old key or give them anew",
            ),
            err=True,
        )


@click.command(
    "doctor",
    help=doc(
        "检查哪里不对、该怎么办；有问题时退出码为 1。",
        "What is wrong and what to do; exit 1 where something is wrong.",
        "qunfen doctor",
    ),
)
@json_option
@pass_tool
def doctor_command(tool: Tool, as_json: bool) -> None:
    found = doctor.examine(tool.config, tool.engine, tool.now())
    wrong = sum(item.level == "wrong" for item in found)
    if as_json:
        print_json([{"level": f.level, "what": f.what, "says": t(f.zh, f.en)} for f in found])
    else:
        marks = {"ok": "✓", "note": "!", "wrong": "✗"}
        for item in found:
            say(f"{marks[item.level]} {item.what}: {t(item.zh, item.en)}")
    if wrong:
        raise Failure(t(f"{wrong} 处有问题", f"{wrong} problem(s)"))


@click.command(
    "registry",
    help=doc(
        "列出每一个成员（条件、动作、渠道、筛选、报表、推送处理）和它来自哪里。",
        "Every member (conditions, actions, channels, filters, reports, handlers) and where it came from.",
        "qunfen registry --json",
    ),
)
@json_option
def registry_command(as_json: bool) -> None:
    rows = []
    for folder in registry.FOLDERS:
        for name, module in sorted(registry.members(folder).items()):
            label = getattr(module, "LABEL", {})
            rows.append(
                {
                    "folder": folder,
                    "name": name,
                    "label": label.get(t("zh", "en"), ""),
                    "module": module.__name__,
                }
            )
    columns = {
        "folder": t("种类", "Kind"),
        "name": t("名字", "Name"),
        "label": t("说明", "Label"),
        "module": t("来自", "From"),
    }
    print_rows(rows, columns, as_json)


@click.command(
    "tick",
    help=doc("执行一次一个调度任务。", "One scheduler job, once.", "qunfen tick outbox"),
)
@click.argument("job")
@pass_tool
def tick(tool: Tool, job: str) -> None:
    scheduler.tick(tool.runtime, job, tool.now())
    say(f"{job} ✓")


@click.group(
    "followers", cls=Commands, help=doc("粉丝。", "Followers.", "qunfen followers sync muyan")
)
def followers_group() -> None:
    pass


@followers_group.command(
    "sync",
    help=doc(
        "从平台同步粉丝；中断后再运行会接着做。",
        "Bring followers in line with the platform; run it again to go on after an interruption.",
        "qunfen followers sync muyan",
    ),
)
@click.argument("account")
@click.option("--full/--incremental", default=True, show_default=True)
@pass_tool
def sync(tool: Tool, account: str, full: bool) -> None:
    with tool.writing() as session:
        found = accounts.get(session, account)
        progress = follower_sync.begin(session, found.id, tool.now(), full=full)
    wechat = tool.runtime.wechat(found.id)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, transient=False) as bars:
        tasks = {}
        while True:
            if progress.state not in tasks:
                tasks[progress.state] = bars.add_task(progress.state, total=None)
            bars.update(
                tasks[progress.state], completed=progress.done, total=progress.total or None
            )
            if not progress.more:
                break
            progress = follower_sync.step(tool.engine, wechat, progress.id, tool.now())
    with tool.writing() as session:
        erasure.recall_new(session, found.id, tool.secret_key, tool.now())
    if progress.error or progress.state == "failed":
        raise Failure(progress.error or t("同步失败", "the sync failed"))
    say(t("同步完成", "followers are in line"))


@followers_group.command(
    "tester",
    help=doc(
        "指定或取消一位测试人员：可以收预览，点击不计入成效。",
        "Say who is a tester: gets previews, and whose clicks count for nothing.",
        "qunfen followers tester muyan oAbc_tester_1\nqunfen followers tester muyan oAbc_tester_1 --off",
    ),
)
@click.argument("account")
@click.argument("open_id", metavar="OPENID")
@click.option("--on/--off", default=True, show_default=True)
@pass_tool
def tester(tool: Tool, account: str, open_id: str, on: bool) -> None:
    with tool.writing() as session:
        found = accounts.get(session, account)
        testers.set_tester(session, found.id, open_id, on)
        operators.audit(
            session,
            "follower.tester",
            short(open_id),
            operator="cli",
            account_id=found.id,
            after={"tester": on},
            now=tool.now(),
        )
    say(t("已记下", "noted"))
