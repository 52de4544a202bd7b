"""Background jobs 后台任务: what waits, what runs, what was given up and may be tried again."""

from typing import Any

from flask import Response, render_template, request
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from bot import db, jobs
from bot.console.access import Here, System, done, missing, page, system_page
from bot.console.lists import Column, Filter, Listing, asked, csv_file
from bot.runtime import Runtime

STATES = {
    "waiting": _l("等待"),
    "running": _l("运行中"),
    "dead": _l("已放弃"),
    "done": _l("已完成"),
}
NAMES = {
    "account_check": _l("检查公众号"),
    "count_tags": _l("统计标签人数"),
    "dry_run": _l("试运行"),
    "erase_follower": _l("删除一个人的资料"),
    "import_followers": _l("导入粉丝"),
    "learn_quotas": _l("核对接口额度"),
    "make_scenes": _l("生成二维码"),
    "merge_tags": _l("合并标签"),
    "plan": _l("计算活动受众"),
    "publish_menu": _l("发布菜单"),
    "publish_menu_due": _l("定时发布菜单"),
    "replay_failed": _l("重新处理失败的推送"),
    "rename_tag": _l("给标签改名"),
    "send_later": _l("延时发送"),
    "sync_followers": _l("同步粉丝"),
    "sync_tags": _l("同步标签"),
    "tag_followers": _l("批量打标签"),
    "tell_remark": _l("把备注同步到平台"),
    "upload": _l("上传素材"),
}
COLUMNS = (
    Column("id", _l("编号"), shown=False),
    Column("name", _l("任务")),
    Column("created_at", _l("创建时间")),
    Column("state", _l("状态")),
    Column("progress", _l("进度")),
    Column("tries", _l("次数"), number=True),
    Column("run_at", _l("下次运行"), shown=False),
    Column("error", _l("原因")),
)


@page("/jobs", "jobs.read")
def jobs_list(here: Here) -> str | Response:
    """Jobs of this account."""
    return _list(here.rt, here.account.id)


@page("/jobs/<int:job_id>/retry", "jobs.read", methods=("POST",))
def job_retry(here: Here, job_id: int) -> Any:
    """A job of this account that was given up is tried again."""
    with db.writing(here.rt.engine) as session:
        if jobs.look(session, here.account.id, job_id) is None:
            missing()
        jobs.retry(session, job_id, here.now)
        here.audit(session, "job.retry", f"job:{job_id}")
    return done(_("任务已重新排队。"), ".jobs_list")


@system_page("/jobs", "operators.write")
def system_jobs(system: System) -> str | Response:
    """Jobs of every account, and of the installation itself."""
    return _list(system.rt, None)


@system_page("/jobs/<int:job_id>/retry", "operators.write", methods=("POST",))
def system_job_retry(system: System, job_id: int) -> Any:
    """Any job that was given up is tried again."""
    with db.writing(system.rt.engine) as session:
        jobs.retry(session, job_id, system.now)
        system.audit(session, "job.retry", f"job:{job_id}")
    return done(_("任务已重新排队。"), ".system_jobs")


def _list(rt: Runtime, account_id: int | None) -> str | Response:
    filters = (Filter("state", _("状态"), tuple(STATES.items())),)
    wanted = asked(request.args, COLUMNS, filters)
    with db.reading(rt.engine) as session:
        found = jobs.listed(
            session,
            account_id,
            state=wanted.has("state"),
            name=_known_as(wanted.q),
            before=int(wanted.after[:18])
            if wanted.after.isascii() and wanted.after.isdigit()
            else 0,
        )
        total = jobs.count(session, account_id, state=wanted.has("state"), name=_known_as(wanted.q))
    if wanted.format == "csv":
        header = [column.name for column in COLUMNS]
        return csv_file("jobs", header, [[getattr(row, key) for key in header] for row in found])
    shown = found[: jobs.LISTED]
    more = str(shown[-1].id) if len(found) > jobs.LISTED else None
    listing = Listing(wanted, COLUMNS, filters, shown, total, more, unit=_("个任务"))
    return render_template(
        "audit/jobs.html",
        listing=listing,
        states=STATES,
        names=NAMES,
        retry="console.system_job_retry" if account_id is None else "console.job_retry",
    )


def _known_as(query: str) -> list[str] | None:
    """The names of jobs a search means, by their word or the program's; None for all."""
    if not query:
        return None
    said = query.casefold()
    return [
        name for name, word in NAMES.items() if said in name or said in str(word).casefold()
    ] + [query]
