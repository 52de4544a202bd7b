"""campaigns list, show, compare, approve, reject, preview, pause, resume, cancel, end, skip, winner."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import click
import sqlalchemy as sa

from bot import accounts, followers, operators, overview
from bot.campaigns import (
    approvals,
    comparison,
    content_review,
    definitions,
    live,
    reviews,
    sending,
    steering,
    trials,
)
from bot.campaigns.status import OPEN_RUNS, explain
from bot.commands.shared import (
    Commands,
    Tool,
    doc,
    json_option,
    pass_tool,
    print_json,
    print_rows,
    say,
    shown,
    t,
)
from bot.db import Session
from bot.errors import Refused
from bot.rights import rights_of
from bot.tables.campaigns import campaign_runs, deliveries


@click.group(
    "campaigns",
    cls=Commands,
    help=doc("营销活动。", "Campaigns.", "qunfen campaigns list muyan"),
)
def campaigns_group() -> None:
    pass


@campaigns_group.command(
    "list",
    help=doc("列出活动。", "List campaigns.", "qunfen campaigns list muyan --json"),
)
@click.argument("account")
@json_option
@pass_tool
def list_campaigns(tool: Tool, account: str, as_json: bool) -> None:
    with tool.reading() as session:
        found = accounts.get(session, account)
        lines = overview.campaign_lines(session, found.id, limit=1000)
    rows: list[dict[str, Any]] = [
        {
            "name": line.name,
            "status": line.status,
            "segment": line.segment,
            "next_due_at": line.next_due_at,
            "run": line.run_status,
            "waits_for": explain(line.run_reason, t("zh", "en")) if line.run_reason else None,
            "sent": line.sent,
            "guided": line.guided,
            "target": line.target,
        }
        for line in lines
    ]
    columns = {
        "name": t("活动", "Campaign"),
        "status": t("状态", "Status"),
        "segment": t("人群", "Segment"),
        "next_due_at": t("下次执行", "Next run"),
        "run": t("执行", "Run"),
        "waits_for": t("等待", "Waits for"),
        "sent": t("已发", "Sent"),
        "guided": t("引导", "Guided"),
    }
    print_rows(rows, columns, as_json)


@campaigns_group.command(
    "show",
    help=doc(
        "一个活动的内容、审批和各次执行；每个粉丝的结果和原因相加等于受众。",
        "A campaign, its approval and its runs; outcomes and reasons add up to the audience.",
        "qunfen campaigns show muyan 奈雪8元券",
    ),
)
@click.argument("account")
@click.argument("name")
@json_option
@pass_tool
def show(tool: Tool, account: str, name: str, as_json: bool) -> None:
    with tool.reading() as session:
        campaign = definitions.get(session, accounts.get(session, account).id, name)
        runs = [_run_figures(session, row) for row in _runs(session, campaign.id)]
        parts = _parts(live.picture(session, campaign, tool.now()))
    value = definitions.document_of(campaign) | {
        "status": campaign.status,
        "next_due_at": campaign.next_due_at,
        "approved_by": list(campaign.approved_by),
        "approved_people": campaign.approved_people,
        "approved_slots": campaign.approved_slots,
        "runs": runs,
        "parts": parts,
    }
    if as_json:
        print_json(value)
        return
    for key, item in value.items():
        if key not in ("runs", "parts"):
            say(f"{key}: {shown(item)}")
    columns = {
        "id": "#",
        "due_at": t("时间", "Due"),
        "status": t("状态", "Status"),
        "reason": t("原因", "Reason"),
        "outcomes": t("结果", "Outcomes"),
        "skipped": t("跳过的原因", "Skipped because"),
        "errors": t("平台的回答", "The platform's answers"),
    }
    print_rows(runs, columns, False)
    if parts:
        print_rows(parts, _PART_COLUMNS, False)


@campaigns_group.command(
    "approve",
    help=doc(
        "审批：最多这么多人、这么多群发名额。第二位审批人用另一个名字再执行一次。",
        "Approve for at most so many people and mass slots. A second operator runs it with another name.",
        "qunfen campaigns approve muyan 奈雪8元券 --by ann --people 5000 --slots 5000",
    ),
)
@click.argument("account")
@click.argument("name")
@click.option("--by", required=True, help=t("后台人员的名字", "the name of an operator"))
@click.option("--people", type=click.IntRange(1), required=True)
@click.option("--slots", type=click.IntRange(0), required=True)
@pass_tool
def approve(tool: Tool, account: str, name: str, by: str, people: int, slots: int) -> None:
    with tool.writing() as session:
        found = accounts.get(session, account)
        _approver(session, by)
        campaign = definitions.get(session, found.id, name)
        approvals.approve(session, campaign, by, people, slots, tool.now(), tool.secret_key)
        campaign = definitions.by_id(session, campaign.id)
        changed = reviews.settle(session, found, campaign, people, slots, tool.now())
        operators.audit(
            session,
            "campaign.approve",
            name,
            operator=by,
            account_id=found.id,
            after={"people": people, "slots": slots},
            now=tool.now(),
        )
    names = ", ".join(str(item) for item in changed.approved_by)
    say(t(f"已审批：{names}", f"approved by: {names}"))


@campaigns_group.command(
    "allow",
    help=doc(
        "主管写明理由，让内容检查报错的文案放行；改过文案要重新放行。",
        "A lead lets content go in spite of errors the checks found, with a reason; changed content is checked anew.",
        "qunfen campaigns allow muyan 奈雪8元券 --by bo --reason 引用获奖名称",
    ),
)
@click.argument("account")
@click.argument("name")
@click.option("--by", required=True, help=t("后台人员的名字", "the name of an operator"))
@click.option("--reason", required=True)
@pass_tool
def allow(tool: Tool, account: str, name: str, by: str, reason: str) -> None:
    with tool.writing() as session:
        found = accounts.get(session, account)
        _approver(session, by)
        campaign = definitions.get(session, found.id, name)
        content_review.override(session, campaign, reason, by, tool.now())
    say(t(f"已放行：{name}", f"allowed: {name}"))


@campaigns_group.command(
    "reject",
    help=doc(
        "驳回等待审核的活动，写明原因。",
        "Send a campaign that waits for review back, with the reason.",
        "qunfen campaigns reject muyan 奈雪8元券 --by bo --reason 链接不对",
    ),
)
@click.argument("account")
@click.argument("name")
@click.option("--by", required=True, help=t("后台人员的名字", "the name of an operator"))
@click.option("--reason", required=True)
@pass_tool
def reject(tool: Tool, account: str, name: str, by: str, reason: str) -> None:
    with tool.writing() as session:
        found = accounts.get(session, account)
        _approver(session, by)
        campaign = definitions.get(session, found.id, name)
        reviews.reject(session, campaign, reason)
        operators.audit(
            session,
            "campaign.reject",
            f"campaign:{name}",
            operator=by,
            account_id=found.id,
            after={"reason": reason},
            now=tool.now(),
        )
    say(t(f"已驳回：{name}", f"sent back: {name}"))


@campaigns_group.command(
    "winner",
    help=doc(
        "选定实验里的版本，其余的人收到它。",
        "Choose the variant the rest of an experiment gets.",
        "qunfen campaigns winner muyan 奈雪8元券 B --by bo",
    ),
)
@click.argument("account")
@click.argument("name")
@click.argument("variant")
@click.option("--by", required=True, help=t("后台人员的名字", "the name of an operator"))
@pass_tool
def winner(tool: Tool, account: str, name: str, variant: str, by: str) -> None:
    with tool.writing() as session:
        found = accounts.get(session, account)
        campaign = definitions.get(session, found.id, name)
        first = live.picture(session, campaign, tool.now()).first
        if first is None:
            raise Refused(t("还没有发出", "nothing of this campaign was sent yet"))
        trials.choose_winner(session, first.id, variant, tool.now())
        operators.audit(
            session,
            "campaign.winner",
            f"campaign:{name}",
            operator=by,
            account_id=found.id,
            after={"variant": variant},
            now=tool.now(),
        )
    say(t(f"其余的人会收到 {variant}", f"the rest gets {variant}"))


@campaigns_group.command(
    "compare",
    help=doc(
        "并排比较：另一个活动，或者同一时间的全量群发（模拟）。",
        "Side by side: another campaign, or a send to everybody at the same time, simulated.",
        "qunfen campaigns compare muyan 奈雪8元券",
    ),
)
@click.argument("account")
@click.argument("name")
@click.option("--with", "other", metavar="NAME", help=t("另一个活动", "another campaign"))
@json_option
@pass_tool
def compare(tool: Tool, account: str, name: str, other: str | None, as_json: bool) -> None:
    with tool.reading() as session:
        found = accounts.get(session, account)
        campaign = definitions.get(session, found.id, name)
        right = comparison.of_campaign(session, campaign, tool.now())
        left = None
        if other is not None:
            second = definitions.get(session, found.id, other)
            left = comparison.of_campaign(session, second, tool.now())
        elif right.at is not None:
            left = comparison.to_everybody(session, found.id, right.at, tool.now(), right.target)
    rows = [
        {"what": what, "left": _shown_of(left, key), "right": _shown_of(right, key)}
        for key, what in _COMPARED.items()
    ]
    columns = {
        "what": "",
        "left": other or t("全量群发（模拟）", "Send to everybody (simulated)"),
        "right": name,
    }
    print_rows(rows, columns, as_json)


@campaigns_group.command(
    "preview",
    help=doc(
        "把活动内容发给一位测试人员看；不占名额，不算触达。先用 qunfen followers tester 指定测试人员。",
        "Show the content to one tester; it takes no slot and is no delivery. "
        "`qunfen followers tester` says who is one.",
        "qunfen campaigns preview muyan 奈雪8元券 --to oAbc_tester_1",
    ),
)
@click.argument("account")
@click.argument("name")
@click.option("--to", "open_id", required=True, metavar="OPENID")
@pass_tool
def preview(tool: Tool, account: str, name: str, open_id: str) -> None:
    with tool.writing() as session:
        found = accounts.get(session, account)
        campaign = definitions.get(session, found.id, name)
        follower = followers.find(session, found.id, open_id)
        sending.preview(
            session,
            found,
            campaign,
            follower.id if follower is not None else 0,
            tool.now(),
            tool.secret_key,
            tool.config.base_url,
        )
    say(t("预览已交给发件箱，几秒内送到", "the preview is in the outbox and arrives in seconds"))


def _steps() -> None:
    """pause, resume and cancel differ in one word."""
    texts = {
        "pause": (
            t("暂停正在进行的执行，批次之间生效。", "Pause the run under way, between batches."),
            steering.pause,
        ),
        "resume": (t("恢复暂停的执行。", "Go on with a paused run."), steering.resume),
        "cancel": (
            t("取消执行，没发出的名额退回。", "Cancel the run; slots not used are given back."),
            steering.cancel,
        ),
    }
    for verb, (text, step) in texts.items():
        campaigns_group.add_command(_step(verb, text, step))
    whole: dict[str, tuple[str, Callable[[Session, int, str, datetime], Any]]] = {
        "end": (
            t(
                "终止活动：取消执行和所有后续波次。",
                "Cancel the run and leave out every follow-up.",
            ),
            steering.end,
        ),
        "skip": (t("跳过下一波。", "Leave out the next follow-up."), steering.skip_round),
    }
    for verb, (text, work) in whole.items():
        campaigns_group.add_command(_whole(verb, text, work))


def _whole(
    verb: str, text: str, work: Callable[[Session, int, str, datetime], Any]
) -> click.Command:
    def run(tool: Tool, account: str, name: str) -> None:
        with tool.writing() as session:
            found = accounts.get(session, account)
            work(session, found.id, name, tool.now())
            operators.audit(
                session,
                f"campaign.{verb}",
                f"campaign:{name}",
                operator="cli",
                account_id=found.id,
                now=tool.now(),
            )
        steering.skip_cancelled(tool.engine, tool.now())
        say(f"{name}: {verb} ✓")

    command = click.argument("account")(click.argument("name")(pass_tool(run)))
    return click.command(verb, help=text + doc("", "", f"qunfen campaigns {verb} muyan 奈雪8元券"))(
        command
    )


def _step(verb: str, text: str, step: Callable[[Session, int, datetime], None]) -> click.Command:
    def run(tool: Tool, account: str, name: str) -> None:
        with tool.writing() as session:
            found = accounts.get(session, account)
            campaign = definitions.get(session, found.id, name)
            open_runs = [r for r in _runs(session, campaign.id) if r.status in OPEN_RUNS]
            if not open_runs:
                raise Refused(
                    t(f"活动「{name}」没有进行中的执行", f"campaign '{name}' has no run under way")
                )
            for row in open_runs:
                step(session, row.id, tool.now())
            operators.audit(
                session,
                f"campaign.{verb}",
                name,
                operator="cli",
                account_id=found.id,
                now=tool.now(),
            )
        steering.skip_cancelled(tool.engine, tool.now())
        say(f"{name}: {verb} ✓")

    command = click.argument("account")(click.argument("name")(pass_tool(run)))
    return click.command(verb, help=text + doc("", "", f"qunfen campaigns {verb} muyan 奈雪8元券"))(
        command
    )


_PART_COLUMNS = {
    "round": t("波次", "Round"),
    "part": t("按", "By"),
    "name": t("名称", "Name"),
    "people": t("人数", "People"),
    "sent": t("发出", "Sent"),
    "failed": t("失败", "Failed"),
    "delivered": t("送达", "Delivered"),
    "guided": t("引导", "Guided"),
    "slots": t("名额", "Slots"),
}
_COMPARED = {
    "planned": t("计划人数", "Planned"),
    "delivered": t("送达", "Delivered"),
    "opened": t("阅读", "Read"),
    "guided": t("引导人数", "Guided"),
    "guide_rate": t("导量率", "Guided of delivered"),
    "target": t("目标", "Goal"),
    "reached_at": t("达到目标", "Goal reached"),
    "unfollows": t("48 小时取关", "Unfollows in 48 h"),
    "above_base": t("其中高于平时", "Above the base"),
    "slots": t("用掉的名额", "Slots"),
    "slots_per_guided": t("每引导一人的名额", "Slots per guided"),
    "losing": t("失去计划内推送的人", "People losing a planned push"),
    "holdout": t("对照组", "Holdout"),
    "variants": t("版本", "Variants"),
}


def _parts(picture: live.Picture) -> list[dict[str, Any]]:
    """Channels, groups, variants and waves of every round, one row each."""
    return [
        {
            "round": run.number,
            "part": part,
            "name": line.name,
            "people": line.people,
            "sent": line.handed_over,
            "failed": line.failed,
            "delivered": line.delivered,
            "guided": line.guided,
            "slots": line.slots,
        }
        for run in picture.runs
        for part, lines in (
            ("channel", run.channels),
            ("group", run.groups),
            ("variant", run.variants),
            ("wave", run.waves),
        )
        for line in lines
    ]


def _shown_of(side: comparison.Side | None, key: str) -> Any:
    if side is None:
        return None
    value = getattr(side, key)
    if key == "guide_rate" and value is not None:
        return f"{value:.1%}"
    return round(value, 1) if isinstance(value, float) else value


def _approver(session: Session, by: str) -> None:
    """Raises Refused where nobody of this name may approve."""
    approver = next((o for o in operators.every(session) if o.name == by and o.active), None)
    if approver is None:
        raise Refused(t(f"没有叫 {by} 的后台人员", f"there is no operator '{by}'"))
    if "campaigns.approve" not in rights_of(approver.role):
        raise Refused(
            t(f"{by} 的角色不能审批", f"the role of {by} ({approver.role}) does not approve")
        )


def _runs(session: Session, campaign_id: int) -> list[Any]:
    return list(
        session.execute(
            sa.select(campaign_runs)
            .where(campaign_runs.c.campaign_id == campaign_id)
            .order_by(campaign_runs.c.id.desc())
            .limit(50)
        )
    )


def _run_figures(session: Session, run: Any) -> dict[str, Any]:
    counted = session.execute(
        sa.select(deliveries.c.status, deliveries.c.reason, sa.func.count())
        .where(deliveries.c.run_id == run.id)
        .group_by(deliveries.c.status, deliveries.c.reason)
    )
    outcomes: dict[str, int] = {}
    reasons: dict[str, int] = {}
    for status, reason, count in counted:
        outcomes[status] = outcomes.get(status, 0) + count
        if status == "skipped":
            reasons[reason] = count
    return {
        "id": run.id,
        "due_at": run.due_at,
        "status": run.status,
        "reason": explain(run.reason, t("zh", "en")) if run.reason else None,
        "outcomes": outcomes,
        "skipped": reasons,
        "errors": overview.run_errors(session, run.id),
    }


_steps()
