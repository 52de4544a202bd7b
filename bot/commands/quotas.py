"""quotas: how far the day's API calls of an account are used."""

from dataclasses import asdict

import click

from bot import accounts, quotas
from bot.clock import local
from bot.commands.shared import Tool, doc, json_option, pass_tool, print_rows, t


@click.command(
    "quotas",
    help=doc(
        "接口额度：今天每个接口用了多少、什么时候用完、什么被暂缓。",
        "API quotas: how much of each is used today, when it runs out, what is held back.",
        "qunfen quotas muyan",
    ),
)
@click.argument("account")
@json_option
@pass_tool
def quotas_command(tool: Tool, account: str, as_json: bool) -> None:
    with tool.reading() as session:
        found = accounts.get(session, account)
        listed = quotas.today(session, tool.runtime.store, found.id, tool.now())
    rows = [
        {
            "api": one.api,
            "limit": one.limit,
            "rate": asdict(one.rate) if one.rate and as_json else _rate(one),
            "used": one.used,
            "refused": one.refused,
            "held": one.held,
            "owed": one.owed,
            "late": one.late,
            "runs_out_at": one.runs_out_at if as_json else _time(one),
            "held_back": list(one.held_back) if as_json else ", ".join(one.held_back),
            "paused_until": one.pause.until if one.pause else None,
        }
        for one in listed
    ]
    columns = {
        "api": t("接口", "API"),
        "limit": t("每日上限", "Limit a day"),
        "rate": t("频率上限", "Rate"),
        "used": t("已用", "Used"),
        "refused": t("平台拒绝", "Refused"),
        "held": t("暂缓过", "Held"),
        "owed": t("等待发送", "Owed"),
        "late": t("今天发不完", "Not today"),
        "runs_out_at": t("用完时间", "Runs out"),
        "held_back": t("暂缓中", "Held back"),
    }
    print_rows(rows, columns, as_json)


def _rate(one: quotas.Quota) -> str | None:
    return f"{one.rate.calls} / {one.rate.seconds} s" if one.rate is not None else None


def _time(one: quotas.Quota) -> str:
    return f"{local(one.runs_out_at):%H:%M}" if one.runs_out_at is not None else ""
