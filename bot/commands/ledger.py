"""ledger show, external, check and repair: the slots of a month."""

from datetime import datetime
from pathlib import Path

import click

from bot import accounts, operators
from bot.campaigns import external_sends, ledger
from bot.clock import month_of, parse_moment
from bot.commands.account import listed_open_ids
from bot.commands.shared import (
    Commands,
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
from bot.errors import Invalid

month_option = click.option(
    "--month", help=t("如 2026-11，默认本月", "such as 2026-11; this month by default")
)


@click.group(
    "ledger",
    cls=Commands,
    help=doc("群发额度账本。", "The ledger of mass slots.", "qunfen ledger show muyan"),
)
def ledger_group() -> None:
    pass


@ledger_group.command(
    "show",
    help=doc(
        "还剩 0 到 4 次群发的粉丝各有多少。",
        "How many followers have 0 to 4 slots left.",
        "qunfen ledger show muyan --month 2026-11",
    ),
)
@click.argument("account")
@month_option
@json_option
@pass_tool
def show(tool: Tool, account: str, month: str | None, as_json: bool) -> None:
    month = _month(month) or month_of(tool.now())
    with tool.reading() as session:
        found = accounts.get(session, account)
        people = ledger.histogram(session, found.id, month)
        unexplained = external_sends.unexplained(session, found.id)
    if as_json:
        print_json(
            {
                "account": account,
                "month": month,
                "people_by_slots_left": {str(left): count for left, count in people.items()},
                "opening_stated": found.opening_stated,
                "unexplained_sends": unexplained,
            }
        )
        return
    print_table(
        [t("剩余次数", "Slots left"), t("粉丝数", "Followers")],
        list(people.items()),
        f"{account} {month}",
    )
    if not found.opening_stated:
        say(
            t(
                f"还没有说明接入前的群发：qunfen account opening {account} --sent-to-all N",
                f"say what was sent before connecting: qunfen account opening {account} --sent-to-all N",
            )
        )
    for msg_id in unexplained:
        say(
            t(
                f"有一次外部群发未说明：qunfen ledger external {account} --msg-id {msg_id} --went-to …",
                "a send from elsewhere is not explained: "
                f"qunfen ledger external {account} --msg-id {msg_id} --went-to …",
            )
        )


@ledger_group.command(
    "external",
    help=doc(
        "说明一次不是从这里发出的群发发给了谁；名额按此计入，群发解锁。",
        "Say to whom a mass message went that was not sent from here; its slots are charged.",
        "qunfen ledger external muyan --went-to all --msg-id 3147483650\n"
        "qunfen ledger external muyan --went-to tag --tag 活动敏感 --at 2026-11-20T10:00\n"
        "qunfen ledger external muyan --went-to tag --segment 活动同好\n"
        "qunfen ledger external muyan --went-to listed --file openids.csv",
    ),
)
@click.argument("account")
@click.option("--went-to", type=click.Choice(["all", "tag", "listed", "none"]), required=True)
@click.option(
    "--msg-id",
    help=t("ledger show 列出的那一次", "the one that `ledger show` lists as unexplained"),
)
@click.option("--at", help=t("什么时候发的，默认现在", "when it was sent; now by default"))
@click.option("--tag", help=t("发给了哪个标签", "the tag it went to"))
@click.option("--segment", help=t("发给了哪个人群", "the segment it went to"))
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@pass_tool
def external(
    tool: Tool,
    account: str,
    went_to: str,
    msg_id: str | None,
    at: str | None,
    tag: str | None,
    segment: str | None,
    file: Path | None,
) -> None:
    now = tool.now()
    open_ids = listed_open_ids(file) if file is not None else None
    with tool.writing() as session:
        found = accounts.get(session, account)
        kind, chosen = ("tag", tag) if tag else ("segment", segment)
        external_sends.state_external(
            session,
            found.id,
            went_to,
            now,
            by="cli",
            msg_id=msg_id,
            at=_moment(at),
            members=external_sends.members(session, found.id, kind, chosen, now, f"--{kind}")
            if chosen
            else None,
            open_ids=open_ids,
            said=chosen,
        )
        operators.audit(
            session,
            "ledger.external",
            msg_id or account,
            operator="cli",
            account_id=found.id,
            after={
                "went_to": went_to,
                "tag": tag,
                "segment": segment,
                "listed": len(open_ids or ()),
                "at": at,
            },
            now=now,
        )
        left = external_sends.unexplained(session, found.id)
    external_sends.catch_up(tool.engine, found.id, now)
    say(
        t(
            f"已记下；还有 {len(left)} 次没有说明" if left else "已记下，群发可以进行",
            f"noted; {len(left)} more are not explained" if left else "noted; mass may go on",
        )
    )


@ledger_group.command(
    "check",
    help=doc(
        "按触达记录重新计数；有差别时退出码为 1。",
        "Recount from deliveries; exit 1 where the ledger differs.",
        "qunfen ledger check muyan",
    ),
)
@click.argument("account")
@month_option
@click.option(
    "--repair", is_flag=True, help=t("把账本改成重新计数的结果", "set the ledger to the recount")
)
@json_option
@pass_tool
def check(tool: Tool, account: str, month: str | None, repair: bool, as_json: bool) -> None:
    month = _month(month) or month_of(tool.now())
    if repair:
        _repair(tool, account, month)
        return
    with tool.reading() as session:
        found = ledger.check(session, accounts.get(session, account).id, month)
    if as_json:
        print_json(
            [
                {
                    "follower_id": one.follower_id,
                    "reserved": one.reserved,
                    "spent": one.spent,
                    "reserved_should_be": one.reserved_should_be,
                    "spent_should_be": one.spent_should_be,
                }
                for one in found
            ]
        )
    elif found:
        columns = ["follower_id", "reserved", "spent", "reserved ✓", "spent ✓"]
        print_table(
            columns,
            [
                (f.follower_id, f.reserved, f.spent, f.reserved_should_be, f.spent_should_be)
                for f in found
            ],
        )
    if found:
        raise Failure(t(f"{len(found)} 个粉丝的计数有差别", f"{len(found)} counter(s) differ"))
    if not as_json:
        say(t(f"{month} 账本与触达记录一致", f"{month}: the ledger agrees with the deliveries"))


@ledger_group.command(
    "repair",
    help=doc(
        "把账本改成按触达记录重新计数的结果，分小段进行，不挡发送。",
        "Set the ledger to what deliveries say, in short steps beside which sends go on.",
        "qunfen ledger repair muyan --month 2026-11",
    ),
)
@click.argument("account")
@month_option
@pass_tool
def repair(tool: Tool, account: str, month: str | None) -> None:
    _repair(tool, account, _month(month) or month_of(tool.now()))


def _repair(tool: Tool, account: str, month: str) -> None:
    with tool.reading() as session:
        account_id = accounts.get(session, account).id
    fixed = ledger.recount(tool.engine, account_id, month)
    if fixed:
        with tool.writing() as session:
            operators.audit(
                session,
                "ledger.recount",
                account,
                operator="cli",
                account_id=account_id,
                after={"month": month, "people": fixed},
                now=tool.now(),
            )
    say(t(f"改正了 {fixed} 个粉丝的计数", f"{fixed} counter(s) set right"))


def _month(text: str | None) -> str | None:
    if text is None:
        return None
    year, dash, number = text.partition("-")
    if not (
        dash and len(year) == 4 and year.isdigit() and number.isdigit() and 1 <= int(number) <= 12
    ):
        raise Invalid("month", t("应写成 2026-11 这样", "must be written as 2026-11"))
    return f"{year}-{int(number):02d}"


def _moment(text: str | None) -> datetime | None:
    try:
        return parse_moment(text) if text else None
    except ValueError:
        raise Invalid("--at", t("写成 2026-11-20T10:00", "such as 2026-11-20T10:00")) from None
