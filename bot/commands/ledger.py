"""ledger show and check: the slots of a month."""

import click

from bot import accounts
from bot.campaigns import ledger
from bot.clock import month_of
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
        unexplained = ledger.unexplained(session, found.id)
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
                f"有一次外部群发未说明：{msg_id}",
                f"a send from elsewhere is not explained: {msg_id}",
            )
        )


@ledger_group.command(
    "check",
    help=doc(
        "按触达记录重新计数；有差别时退出码为 1。",
        "Recount from deliveries; exit 1 where the ledger differs.",
        "qunfen ledger check muyan\nqunfen ledger check muyan --repair",
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
        with tool.writing() as session:
            fixed = ledger.recount(session, accounts.get(session, account).id, month)
        say(t(f"改正了 {fixed} 个粉丝的计数", f"{fixed} counter(s) set right"))
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


def _month(text: str | None) -> str | None:
    if text is None:
        return None
    year, dash, number = text.partition("-")
    if not (
        dash and len(year) == 4 and year.isdigit() and number.isdigit() and 1 <= int(number) <= 12
    ):
        raise Invalid("month", t("应写成 2026-11 这样", "must be written as 2026-11"))
    return f"{year}-{int(number):02d}"
