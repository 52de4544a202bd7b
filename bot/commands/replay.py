"""replay: handle again what failed, or let the draft rules try stored pushes without touching anybody."""

import click
import sqlalchemy as sa

from bot import accounts, receive, rule_trials, rulebook
from bot.accounts import Account
from bot.commands.shared import (
    Failure,
    Tool,
    doc,
    json_option,
    pass_tool,
    print_json,
    print_table,
    say,
    t,
)
from bot.tables.inbox import inbound
from rules.dryrun import Change, Outcome, Tally

SHOWN = 20  # changes of a table; JSON has all up to KEPT
KEPT = 1_000


@click.command(
    "replay",
    help=doc(
        "重新处理失败的推送；已经处理好的不会再处理。--draft 让规则草稿试答最近的推送，只比较，不发送。",
        "Handle stored pushes that failed; what was handled is not handled again. --draft lets the draft "
        "rules try the last pushes: it compares and sends nothing.",
        "qunfen replay muyan --failed\nqunfen replay muyan --draft --last 10000\n"
        "qunfen replay muyan --draft --json",
    ),
)
@click.argument("account")
@click.option(
    "--failed", is_flag=True, help=t("处理失败的推送（默认）", "pushes that failed (the default)")
)
@click.option("--draft", is_flag=True, help=t("试运行规则草稿", "dry run of the draft rules"))
@click.option(
    "--last", type=click.IntRange(1, rule_trials.MOST_PUSHES), default=1000, show_default=True
)
@json_option
@pass_tool
def replay(tool: Tool, account: str, failed: bool, draft: bool, last: int, as_json: bool) -> None:
    if failed and draft:
        raise click.UsageError(
            t("--failed 和 --draft 选一个", "give --failed or --draft, not both")
        )
    with tool.reading() as session:
        found = accounts.get(session, account)
    if draft:
        _try(tool, found, last, as_json)
    else:
        _again(tool, found, last)


def _again(tool: Tool, account: Account, last: int) -> None:
    with tool.reading() as session:
        ids = list(
            session.execute(
                sa.select(inbound.c.id)
                .where(inbound.c.account_id == account.id, inbound.c.status == "failed")
                .order_by(inbound.c.id.desc())
                .limit(last)
            ).scalars()
        )
    done = sum(receive.replay(tool.runtime, account, push_id) for push_id in reversed(ids))
    say(
        t(
            f"重新处理了 {len(ids)} 条，成功 {done} 条",
            f"{len(ids)} push(es) handled again, {done} succeeded",
        )
    )
    if done < len(ids):
        raise Failure(t("仍有推送失败", "some pushes still fail"))


def _try(tool: Tool, account: Account, last: int, as_json: bool) -> None:
    with tool.reading() as session:
        body = rulebook.draft_body(session, account.id)
        number = rulebook.head(session, account.id)
    tally, changes = rule_trials.compare_now(tool.engine, account.id, body, last, KEPT)
    if as_json:
        listed = [
            {"push_id": push_id, "follower_id": change.facts.follower_id}
            | {key: value for key, value in rule_trials.change_json(change).items() if key != "is"}
            for push_id, change in changes
        ]
        print_json({"against": number, "summary": tally.to_json(), "changes": listed})
        return
    _print(tally, changes, number)


def _print(tally: Tally, changes: list[tuple[int, Change]], number: int) -> None:
    told = tally.to_json()
    say(
        t(
            f"草稿与第 {number} 版比较：{told['pushes']:,} 条推送，{told['changed']:,} 条有变化，"
            f"涉及 {told['people']:,} 人",
            f"draft against number {number}: {told['pushes']:,} pushes, {told['changed']:,} changed, "
            f"{told['people']:,} people",
        )
    )
    if not changes:
        return
    kinds = told["kinds"]
    print_table(
        [
            t("回复不同", "answers"),
            t("标签不同", "tags"),
            t("其他动作", "others"),
            t("只换了规则", "rules"),
        ],
        [[kinds["answer"], kinds["tags"], kinds["other"], kinds["rule"]]],
    )
    columns = [t("推送", "Push"), t("内容", "Text"), t("线上", "In force"), t("草稿", "Draft")]
    rows = [
        [push_id, change.facts.text or change.facts.kind, _said(change.before), _said(change.after)]
        for push_id, change in changes[:SHOWN]
    ]
    print_table(columns, rows)


def _said(side: Outcome) -> str:
    """Which rules answered, with what, and the tags."""
    who = ", ".join(side.rules) or (t("兜底", "fallback") if side.fallback else "–")
    first = side.answers[0] if side.answers else {}
    what = str(first.get("text") or "".join(first))[:60]
    tags = [f"+{tag}" for tag in sorted(side.tags[0])] + [f"-{tag}" for tag in sorted(side.tags[1])]
    return " ".join(filter(None, [who + ("：" if what else ""), what, *tags]))
