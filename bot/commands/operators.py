"""operator add, passwd, list: who may use the console."""

import sys

import click

from bot import operators
from bot.commands.shared import Commands, Tool, doc, json_option, pass_tool, print_rows, say, t

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
        "新增后台人员；生成的密码只显示这一次。",
        "Add somebody; a generated password is shown this once.",
        "qunfen operator add ann --role lead",
    ),
)
@click.argument("name")
@click.option(
    "--role", type=click.Choice(list(operators.ROLES)), default="operator", show_default=True
)
@PASSWORD
@pass_tool
def add(tool: Tool, name: str, role: str, password_stdin: bool) -> None:
    given = _given(password_stdin)
    with tool.writing() as session:
        password = operators.add(session, name, role, tool.now(), given)
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
    "list", help=doc("列出后台人员。", "List them.", "qunfen operator list --json")
)
@json_option
@pass_tool
def list_(tool: Tool, as_json: bool) -> None:
    with tool.reading() as session:
        found = operators.every(session)
    rows = [
        {
            "name": item.name,
            "role": item.role,
            "active": item.active,
            "created_at": item.created_at,
            "last_login_at": item.last_login_at,
        }
        for item in found
    ]
    columns = {
        "name": t("姓名", "Name"),
        "role": t("角色", "Role"),
        "active": t("在用", "Active"),
        "created_at": t("创建", "Created"),
        "last_login_at": t("上次登录", "Last login"),
    }
    print_rows(rows, columns, as_json)


def _given(password_stdin: bool) -> str | None:
    if not password_stdin:
        return None
    return sys.stdin.readline().rstrip("\n")


def _show(name: str, password: str, given: str | None) -> None:
    say(t(f"后台人员：{name}", f"operator: {name}"))
    if given is None:
        say(t(f"密码（只显示这一次）：{password}", f"password (shown this once): {password}"))
