"""account add, list, check, remove, opening; stop and go."""

import csv
import os
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa

from bot import account_check, accounts, operators
from bot.account_check import Finding
from bot.as_code.document import secret_problem
from bot.campaigns import definitions, external_sends
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
from bot.errors import Invalid, Refused
from bot.tables.accounts import accounts as accounts_table


@click.group(
    "account",
    cls=Commands,
    help=doc("公众号。", "Official accounts.", "qunfen account check muyan"),
)
def account_group() -> None:
    pass


@account_group.command(
    "add",
    help=doc(
        "接入一个公众号。密钥用 env:变量名 或 file:路径 给出，不给就提示输入（不回显）。",
        "Connect an account. Secrets are given as env:NAME or file:PATH; else you are asked, without echo.",
        "qunfen account add muyan --name 沐颜集 --app-id wx1234567890abcdef \\\n"
        "    --app-secret env:MUYAN_SECRET --token env:MUYAN_TOKEN --aes-key file:aes.txt",
    ),
)
@click.argument("slug")
@click.option("--name", prompt=t("名称", "Name"))
@click.option("--app-id", prompt="AppID")
@click.option(
    "--kind", type=click.Choice(["service", "subscription"]), default="service", show_default=True
)
@click.option("--verified/--unverified", default=True, show_default=True)
@click.option("--mode", type=click.Choice(["plain", "compatible", "safe"]))
@click.option("--original-id", default="", help="gh_…")
@click.option("--app-secret", metavar="SOURCE")
@click.option("--token", metavar="SOURCE")
@click.option("--aes-key", metavar="SOURCE")
@click.option(
    "--sandbox",
    "sandbox_url",
    help=t("住在这个地址的沙箱里", "it lives on the sandbox at this address"),
)
@pass_tool
def add(tool: Tool, /, slug: str, **given: Any) -> None:
    for key in ("app_secret", "token"):
        given[key] = _secret(key, given[key]) or click.prompt(key, hide_input=True)
    given["aes_key"] = _secret("aes_key", given["aes_key"])
    if given["mode"] in ("compatible", "safe") and not given["aes_key"]:
        given["aes_key"] = click.prompt("aes_key", hide_input=True)
    for key in ("app_secret", "token", "aes_key"):
        wrong = secret_problem(key, given[key]) if given[key] else None
        if wrong:
            raise Invalid(key, wrong)
    given["mode"] = given["mode"] or ("safe" if given["aes_key"] else "plain")
    with tool.writing() as session:
        account_id = accounts.add(
            session, slug=slug, secret_key=tool.secret_key, now=tool.now(), **given
        )
        operators.audit(
            session, "account.add", slug, operator="cli", account_id=account_id, now=tool.now()
        )
    say(
        t(
            f"已接入 {slug}。在公众平台“基本配置”里填：",
            f"{slug} is connected. On the platform set:",
        )
    )
    say(t(f"  服务器地址(URL)：{callback(tool, slug)}", f"  URL: {callback(tool, slug)}"))
    say(t(f"下一步：qunfen account check {slug}", f"next: qunfen account check {slug}"))


@account_group.command(
    "list", help=doc("列出公众号。", "List accounts.", "qunfen account list --json")
)
@json_option
@pass_tool
def list_accounts(tool: Tool, as_json: bool) -> None:
    with tool.reading() as session:
        found = accounts.every(session)
    rows = [
        {
            "slug": account.slug,
            "name": account.name,
            "kind": account.kind,
            "verified": account.verified,
            "mode": account.mode,
            "app_id": account.app_id,
            "sandbox": account.sandbox_url is not None,
            "stopped": account.stopped,
            "opening_stated": account.opening_stated,
            "callback": callback(tool, account.slug),
        }
        for account in found
    ]
    columns = {
        "slug": t("标识", "Slug"),
        "name": t("名称", "Name"),
        "kind": t("类型", "Kind"),
        "mode": t("模式", "Mode"),
        "sandbox": t("沙箱", "Sandbox"),
        "stopped": t("已停发", "Stopped"),
        "callback": t("回调地址", "Callback"),
    }
    print_rows(rows, columns, as_json)


@account_group.command(
    "check",
    help=doc(
        "实际检查：回调地址、access token、各接口权限；48001 会记下来。",
        "Check for real: callback address, access token, granted interfaces; a 48001 is remembered.",
        "qunfen account check muyan",
    ),
)
@click.argument("account")
@json_option
@pass_tool
def check(tool: Tool, account: str, as_json: bool) -> None:
    with tool.reading() as session:
        found = accounts.get(session, account)
        token = accounts.secrets_of(session, found.id, tool.secret_key).token
    found_out = account_check.check(
        tool.engine,
        tool.runtime.wechat(found.id),
        found,
        token,
        callback(tool, account),
        tool.runtime.http(),
        tool.now(),
    )
    results = [
        {"what": one.what, "ok": one.ok, "says": _says(one)}
        for one in found_out
        if one.code != "skipped"
    ]
    if as_json:
        print_json(results)
    else:
        for result in results:
            say(f"{'✓' if result['ok'] else '✗'} {result['what']}: {result['says']}")
    if not all(result["ok"] for result in results):
        raise Failure(t("有检查没有通过", "some checks failed"))


@account_group.command(
    "remove",
    help=doc(
        "归档一个公众号：不再收发，数据保留。",
        "Archive an account: it receives and sends no more, its data stays.",
        "qunfen account remove muyan --yes",
    ),
)
@click.argument("account")
@click.option("--yes", is_flag=True, help=t("不再询问", "do not ask"))
@pass_tool
def remove(tool: Tool, account: str, yes: bool) -> None:
    if not yes:
        click.confirm(t(f"归档 {account}？", f"archive {account}?"), abort=True)
    with tool.writing() as session:
        found = accounts.get(session, account)
        busy = [
            c.name
            for c in definitions.every(session, found.id)
            if definitions.under_way(session, c.id)
        ]
        if busy:
            raise Refused(
                t(
                    f"活动「{busy[0]}」还在执行，请先取消或等它完成",
                    f"a run of '{busy[0]}' is under way: cancel it or let it finish first",
                )
            )
        session.execute(
            sa.update(accounts_table)
            .where(accounts_table.c.id == found.id)
            .values(archived_at=tool.now())
        )
        operators.audit(
            session, "account.remove", account, operator="cli", account_id=found.id, now=tool.now()
        )
    say(t(f"已归档 {account}", f"{account} is archived"))


@account_group.command(
    "opening",
    help=doc(
        "接入当月之前已经群发过几次；不说明，群发就不放行。",
        "What was mass-sent this month before connecting; mass stays blocked until this is said.",
        "qunfen account opening muyan --sent-to-all 1 --file openids.csv",
    ),
)
@click.argument("account")
@click.option("--sent-to-all", type=click.IntRange(0, 31), required=True)
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@pass_tool
def opening(tool: Tool, account: str, sent_to_all: int, file: Path | None) -> None:
    open_ids = listed_open_ids(file) if file is not None else None
    with tool.writing() as session:
        found = accounts.get(session, account)
        external_sends.opening(session, found.id, sent_to_all, open_ids, tool.now(), by="cli")
        operators.audit(
            session,
            "account.opening",
            account,
            operator="cli",
            account_id=found.id,
            after={"sent_to_all": sent_to_all, "listed": len(open_ids or ())},
            now=tool.now(),
        )
    external_sends.catch_up(tool.engine, found.id, tool.now())
    say(t("已记下，群发可以进行", "noted; mass messages may go out"))


@click.command(
    "stop",
    help=doc(
        "紧急停止：这个公众号的一切主动发送马上停下，被动回复照常。",
        "Emergency stop: every send of this account stops; replies to pushes go on.",
        "qunfen stop muyan --reason 文案有误",
    ),
)
@click.argument("account")
@click.option("--reason", default="", help=t("原因", "why"))
@pass_tool
def stop(tool: Tool, account: str, reason: str) -> None:
    with tool.writing() as session:
        found = accounts.get(session, account)
        accounts.stop(session, found.id, reason or "cli", tool.now())
        operators.audit(
            session,
            "account.stop",
            account,
            operator="cli",
            account_id=found.id,
            after={"reason": reason},
            now=tool.now(),
        )
    say(
        t(
            f"{account} 已停止发送；恢复：qunfen go {account}",
            f"{account} is stopped; to go on: qunfen go {account}",
        )
    )


@click.command("go", help=doc("结束紧急停止。", "End an emergency stop.", "qunfen go muyan"))
@click.argument("account")
@pass_tool
def go(tool: Tool, account: str) -> None:
    with tool.writing() as session:
        found = accounts.get(session, account)
        accounts.go(session, found.id)
        operators.audit(
            session, "account.go", account, operator="cli", account_id=found.id, now=tool.now()
        )
    say(t(f"{account} 恢复发送", f"{account} sends again"))


def callback(tool: Tool, slug: str) -> str:
    """The address to give the platform."""
    return f"{tool.config.base_url}/callback/{slug}"


def _secret(name: str, source: str | None) -> str | None:
    if source is None:
        return None
    kind, _, value = source.partition(":")
    if kind == "env" and value:
        if not os.environ.get(value, "").strip():
            raise Invalid(
                name,
                t(f"环境变量 {value} 没有设置", f"the environment variable {value} is not set"),
            )
        return os.environ[value].strip()
    if kind == "file" and value:
        try:
            return Path(value).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise Invalid(name, t(f"读不到文件 {value}", f"cannot read {value}")) from None
    # a secret on the command line would stand in the shell's history and in the process list
    raise Invalid(name, t("请写 env:变量名 或 file:路径", "give env:NAME or file:PATH"))


def listed_open_ids(file: Path) -> list[str]:
    """The first column of a CSV file, without its heading.

    Raises:
        Invalid: it is no CSV file in UTF-8.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:
            found = [row[0].strip() for row in csv.reader(handle) if row and row[0].strip()]
    except (UnicodeDecodeError, csv.Error):
        raise Invalid(
            str(file), t("不是 UTF-8 的 CSV 文件", "is not a CSV file in UTF-8")
        ) from None
    return found[1:] if found and found[0].lower() in ("openid", "open_id") else found


def _says(found: Finding) -> str:
    said = {
        "granted": t("已开通", "granted"),
        "not_granted": t("没有权限 (48001)，已记下", "not granted (48001); remembered"),
        "unreachable": t("连不上，服务在运行吗？", "cannot be reached; is the server running?")
        + f" ({found.detail})",
        "no_echo": t(
            f"回答了 HTTP {found.detail}，不是验证串",
            f"answered HTTP {found.detail}, not the echo",
        ),
        "works": found.detail or t("可用", "works"),
    }
    return said.get(found.code, found.detail)
