"""operator add, passwd, totp, list: who may use the console."""

import sys

import click

from bot import accounts, operators, scopes, totp
from bot.commands.shared import Commands, Tool, doc, json_option, pass_tool, print_rows, say, t
from bot.db import Session
from bot.errors import Refused

PASSWORD = click.option(
    "--password-stdin",
    is_flag=True,
    help=t(
        "从标准输入读密码，不然就生成一个",
        "read the password from standard input; else one is generated",
    ),
)


@click.group(
    "operator",
    cls=Commands,
    help=doc("后台人员。", "Console people.", "qunfen operator add ann --role lead"),
)
def operator_group() -> None:
    pass


@operator_group.command(
    "add",
    help=doc(
        "新增后台人员；生成的密码只显示这一次。不写 --account 就能看到全部公众号；"
        "渠道负责人要写 --account 和 --scenes。",
        "Add somebody; a generated password is shown this once. Without --account they see every account; "
        "a channel owner needs --account and --scenes.",
        "qunfen operator add ann --role lead --account muyan --account shop\n"
        "qunfen operator add shop05 --role channel --account muyan --scenes 'store_05_*'",
    ),
)
@click.argument("name")
@click.option(
    "--role", type=click.Choice(list(operators.ROLES)), default="operator", show_default=True
)
@click.option(
    "--account",
    "slugs",
    multiple=True,
    help=t("只看这个公众号，可写多次", "only this account; may be repeated"),
)
@click.option(
    "--scenes",
    help=t(
        "渠道负责人的二维码，逗号分隔，可用 *",
        "a channel owner's QR codes, comma-separated, * allowed",
    ),
)
@PASSWORD
@pass_tool
def add(
    tool: Tool,
    name: str,
    role: str,
    slugs: tuple[str, ...],
    scenes: str | None,
    password_stdin: bool,
) -> None:
    given = _given(password_stdin)
    with tool.writing() as session:
        password = operators.add(session, name, role, tool.now(), given)
        if slugs or scenes or role == scopes.CHANNEL_OWNER:
            patterns = scenes.split(",") if scenes is not None else None
            scopes.set_scopes(
                session,
                _find(session, name).id,
                every_account=False,
                listed={accounts.get(session, slug).id: patterns for slug in slugs},
                by="cli",
                now=tool.now(),
            )
    _show(name, password, given)


@operator_group.command(
    "passwd",
    help=doc(
        "换新密码，旧的登录随即失效。",
        "A new password; open sessions end.",
        "qunfen operator passwd ann",
    ),
)
@click.argument("name")
@PASSWORD
@pass_tool
def passwd(tool: Tool, name: str, password_stdin: bool) -> None:
    given = _given(password_stdin)
    with tool.writing() as session:
        password = operators.passwd(session, name, tool.now(), given)
    _show(name, password, given)


@operator_group.command(
    "totp",
    help=doc(
        "关掉两步验证，例如手机丢了；本人可在后台重新打开。",
        "Switch the second factor off, for example when a phone is lost; they may switch it on again themselves.",
        "qunfen operator totp ann --off",
    ),
)
@click.argument("name")
@click.option("--off", is_flag=True, required=True, help=t("关闭", "switch it off"))
@pass_tool
def totp_(tool: Tool, name: str, off: bool) -> None:
    with tool.writing() as session:
        totp.off(session, _find(session, name).id, by="cli", now=tool.now())
    say(t(f"{name} 的两步验证已关闭", f"the second factor of {name} is off"))


@operator_group.command(
    "list", help=doc("列出后台人员。", "List them.", "qunfen operator list --json")
)
@json_option
@pass_tool
def list_(tool: Tool, as_json: bool) -> None:
    with tool.reading() as session:
        found = operators.every(session)
        seen = {
            item.id: "*"
            if scopes.sees_all(item)
            else [one.account.slug for one in scopes.accounts_of(session, item)]
            for item in found
        }
    rows = [
        {
            "name": item.name,
            "role": item.role,
            "active": item.active,
            "accounts": seen[item.id],
            "second_factor": item.has_totp,
            "created_at": item.created_at,
            "last_login_at": item.last_login_at,
        }
        for item in found
    ]
    columns = {
        "name": t("姓名", "Name"),
        "role": t("角色", "Role"),
        "active": t("在用", "Active"),
        "accounts": t("公众号", "Accounts"),
        "second_factor": t("两步验证", "Second factor"),
        "created_at": t("创建", "Created"),
        "last_login_at": t("上次登录", "Last login"),
    }
    print_rows(rows, columns, as_json)


def _find(session: Session, name: str) -> operators.Operator:
    found = next((item for item in operators.every(session) if item.name == name.strip()), None)
    if found is None:
        raise Refused(f"there is no operator '{name}'")
    return found


def _given(password_stdin: bool) -> str | None:
    if not password_stdin:
        return None
    return sys.stdin.readline().rstrip("\n")


def _show(name: str, password: str, given: str | None) -> None:
    say(t(f"后台人员：{name}", f"operator: {name}"))
    if given is None:
        say(t(f"密码（只显示这一次）：{password}", f"password (shown this once): {password}"))
