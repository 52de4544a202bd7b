"""token create, list, revoke: keys of the API."""

from datetime import timedelta

import click

from bot import accounts, operators, rights, tokens
from bot.commands.shared import (
    Commands,
    Tool,
    doc,
    json_option,
    pass_tool,
    print_json,
    print_rows,
    say,
    t,
)
from bot.db import Session
from bot.errors import Refused


@click.group(
    "token",
    cls=Commands,
    help=doc(
        "API 密钥。",
        "API tokens.",
        "qunfen token create shop --account muyan --scope followers.read --scope tags.write",
    ),
)
def token_group() -> None:
    pass


@token_group.command(
    "create",
    help=doc(
        "新建密钥；密钥只显示这一次。",
        "Make a token; it is shown this once.",
        "qunfen token create shop --account muyan --scope followers.read --days 365",
    ),
)
@click.argument("name")
@click.option("--account", "slug", help=t("只限这个公众号", "limited to this account"))
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    metavar="RIGHT",
    help=t("权限，可重复；read 为全部只读", "a right, repeatable; `read` for all reading ones")
    + f": {', '.join(rights.RIGHTS)}",
)
@click.option("--days", type=click.IntRange(1, 3650), help=t("有效天数", "days until it expires"))
@json_option
@pass_tool
def create(
    tool: Tool,
    name: str,
    slug: str | None,
    scopes: tuple[str, ...],
    days: int | None,
    as_json: bool,
) -> None:
    now = tool.now()
    wanted = {one for one in scopes if one != "read"} | (
        rights.READING if "read" in scopes else set()
    )
    with tool.writing() as session:
        account_id = accounts.get(session, slug).id if slug else None
        plain, token = tokens.create(
            session,
            tokens.SERVER,
            name,
            wanted,
            now,
            account_id=account_id,
            expires_at=now + timedelta(days=days) if days else None,
        )
        operators.audit(
            session,
            "token.create",
            f"token:{token.id}",
            operator="cli",
            now=now,
            account_id=account_id,
            after={"name": token.name, "scopes": list(token.scopes)},
        )
    if as_json:
        print_json({"id": token.id, "token": plain})
        return
    say(t(f"密钥（只显示这一次）：{plain}", f"token (shown this once): {plain}"))


@token_group.command("list", help=doc("列出密钥。", "List them.", "qunfen token list --json"))
@json_option
@pass_tool
def list_(tool: Tool, as_json: bool) -> None:
    with tool.reading() as session:
        found = tokens.every(session)
        slugs = tokens.account_names(session, found)
    rows = [
        {
            "id": token.id,
            "name": token.name,
            "token": f"{token.shown}…",
            "account": slugs.get(token.account_id) if token.account_id else None,
            "scopes": list(token.scopes),
            "state": token.state(tool.now()),
            "created_by": token.created_by,
            "expires_at": token.expires_at,
            "last_used_at": token.last_used_at,
        }
        for token in found
    ]
    columns = {
        "id": "ID",
        "name": t("名称", "Name"),
        "token": t("密钥", "Token"),
        "account": t("公众号", "Account"),
        "scopes": t("权限", "Scopes"),
        "state": t("状态", "State"),
        "created_by": t("创建人", "Made by"),
        "expires_at": t("到期", "Expires"),
        "last_used_at": t("上次使用", "Last used"),
    }
    print_rows(rows, columns, as_json)


@token_group.command(
    "revoke",
    help=doc(
        "吊销密钥（ID 或名称），立即生效。",
        "Revoke a token, by id or name; at once.",
        "qunfen token revoke shop",
    ),
)
@click.argument("token")
@pass_tool
def revoke(tool: Tool, token: str) -> None:
    now = tool.now()
    with tool.writing() as session:
        found = _chosen(session, token)
        tokens.revoke(session, found.id, now)
        operators.audit(
            session,
            "token.revoke",
            f"token:{found.id}",
            operator="cli",
            now=now,
            account_id=found.account_id,
            before={"name": found.name},
        )
    say(t(f"已吊销：{found.name}", f"revoked: {found.name}"))


def _chosen(session: Session, asked: str) -> tokens.Token:
    found = [
        one
        for one in tokens.every(session)
        if one.revoked_at is None and asked in (str(one.id), one.name)
    ]
    if not found:
        raise Refused(t(f"没有这个密钥：{asked}", f"there is no token '{asked}' in use"))
    if len(found) > 1:
        raise Refused(
            t(f"有多个密钥叫 {asked}，请用 ID", f"several tokens are called '{asked}': use the id")
        )
    return found[0]
