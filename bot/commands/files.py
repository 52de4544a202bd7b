"""apply, plan and pull: an account as one file."""

import os
import sys
from pathlib import Path

import click

from bot.as_code import apply as as_code
from bot.as_code.plan import Plan
from bot.as_code.pull import pull as pull_file
from bot.as_code.reading import MAX_BYTES, Problem
from bot.commands.shared import (
    Failure,
    Tool,
    doc,
    json_option,
    pass_tool,
    print_json,
    say,
    sentence,
    t,
)
from bot.db import Session
from bot.errors import Invalid

FILE = click.Path(dir_okay=False, path_type=Path, allow_dash=True)
prune_option = click.option(
    "--prune", is_flag=True, help=t("归档文件里没有写的", "archive what the file does not name")
)


@click.command(
    "apply",
    help=doc(
        "让公众号和文件一致，并发布一次规则集；有错就什么都不改。",
        "Make the account equal to the file and publish one rulebook; with any problem nothing changes.",
        "qunfen apply brand.yaml\nqunfen apply brand.yaml --dry-run",
    ),
)
@click.argument("file", type=FILE)
@click.option("--dry-run", is_flag=True, help=t("只看会改什么", "only show what would change"))
@prune_option
@json_option
@pass_tool
def apply_command(tool: Tool, file: Path, dry_run: bool, prune: bool, as_json: bool) -> None:
    _run(tool, file, prune, as_json, dry=dry_run)


@click.command(
    "plan",
    help=doc(
        "显示 apply 会改什么，不做任何改动。",
        "Show what apply would change. Changes nothing.",
        "qunfen plan brand.yaml\nqunfen plan brand.yaml --detailed-exitcode",
    ),
)
@click.argument("file", type=FILE)
@prune_option
@click.option(
    "--detailed-exitcode",
    is_flag=True,
    help=t("有改动时退出码为 2", "exit with 2 where there are changes"),
)
@json_option
@pass_tool
def plan_command(
    tool: Tool, file: Path, prune: bool, detailed_exitcode: bool, as_json: bool
) -> None:
    made = _run(tool, file, prune, as_json, dry=True)
    if made and detailed_exitcode:
        sys.exit(2)


@click.command(
    "pull",
    help=doc(
        "把公众号写成文件（不含密钥；文件里没有的密钥表示保持不变）。",
        "Write the account as a file. Secrets are left out: an omitted secret means keep.",
        "qunfen pull muyan > muyan.yaml\nqunfen pull muyan --output muyan.yaml",
    ),
)
@click.argument("account")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path))
@pass_tool
def pull_command(tool: Tool, account: str, output: Path | None) -> None:
    with tool.reading() as session:
        text = pull_file(session, account)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise Failure(f"{output}: {problem.strerror}") from None


def _run(tool: Tool, file: Path, prune: bool, as_json: bool, *, dry: bool) -> Plan:
    raw, folder = _read(file)
    now = tool.now()
    with tool.writing() as session:
        prepared = as_code.prepare(
            session, raw, folder, os.environ, tool.secret_key, now, prune=prune
        )
        if prepared.problems or prepared.plan is None:
            _refuse(file, prepared, as_json)
        assert prepared.plan is not None
        try:
            if dry:
                _rehearse(session, prepared, tool)
            else:
                as_code.apply(session, prepared, tool.secret_key, now)
        except Invalid as problem:
            raise Failure(_shown(file, prepared.at(problem))) from None
    _print(prepared.plan, as_json, dry)
    return prepared.plan


def _rehearse(session: Session, prepared: as_code.Prepared, tool: Tool) -> None:
    """Apply and undo: so a plan says no wherever applying would."""
    attempt = session.begin_nested()
    try:
        as_code.apply(session, prepared, tool.secret_key, tool.now())
    finally:
        attempt.rollback()


def _read(file: Path) -> tuple[bytes, Path]:
    if str(file) == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1), Path.cwd()
    try:
        with file.open("rb") as handle:
            return handle.read(MAX_BYTES + 1), file.parent
    except OSError as problem:
        raise Failure(f"{file}: {problem.strerror}") from None


def _refuse(file: Path, prepared: as_code.Prepared, as_json: bool) -> None:
    problems = prepared.problems
    if as_json:
        print_json(
            {
                "problems": [
                    {"line": p.line, "place": p.place, "message": p.message} for p in problems
                ]
            }
        )
    for problem in problems:
        click.echo(_shown(file, problem), err=True)
    count = len(problems)
    raise Failure(t(f"{count} 处有问题，什么都没有改", f"{count} problem(s); nothing was changed"))


def _shown(file: Path, problem: Problem) -> str:
    place = f"{problem.place}: " if problem.place else ""
    return f"{file}:{problem.line}: {place}{sentence(problem.message)}"


def _print(plan: Plan, as_json: bool, dry: bool) -> None:
    if as_json:
        print_json(plan.as_json() | {"applied": bool(plan) and not dry})
        return
    if not plan:
        say(t("没有改动", "no change"))
        return
    for change in plan.changes:
        say(str(change))
    count = len(plan.changes)
    if dry:
        say(t(f"共 {count} 处会改动", f"{count} change(s) to make"))
    else:
        say(t(f"已完成 {count} 处改动", f"{count} change(s) made"))
