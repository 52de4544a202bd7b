"""report NAME ACCOUNT: the registry's reports as a table, CSV, JSON or Markdown."""

import csv
import io
from typing import Any

import click

from bot import accounts, params, registry
from bot.commands.shared import Tool, doc, pass_tool, print_json, print_table, t
from bot.errors import Invalid, Refused

FORMATS = ("table", "csv", "json", "md")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@click.command(
    "report",
    help=doc(
        "报表：budget campaign channel daily。参数写成 --set 名=值。",
        "Reports: budget, campaign, channel, daily. Parameters as --set NAME=VALUE.",
        "qunfen report daily muyan --set days=7\nqunfen report campaign muyan --format csv > runs.csv",
    ),
)
@click.argument("name")
@click.argument("account")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="= --format json")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE")
@pass_tool
def report(
    tool: Tool, name: str, account: str, form: str, as_json: bool, given: tuple[str, ...]
) -> None:
    known = registry.members("bot.reports")
    if name not in known:
        listed = ", ".join(sorted(known))
        raise Refused(
            t(
                f"没有叫 {name} 的报表；有：{listed}",
                f"there is no report '{name}'; there are {listed}",
            )
        )
    member = known[name]
    parsed = params.check(member.Params, dict(_pair(item) for item in given))
    with tool.reading() as session:
        found = accounts.get(session, account)
        table = member.rows(session, found, parsed, tool.now())
    labels = [column.label[t("zh", "en")] for column in table.columns]
    form = "json" if as_json else form
    if form == "json":
        keys = [column.key for column in table.columns]
        print_json([dict(zip(keys, row, strict=True)) for row in table.rows])
    elif form == "csv":
        click.echo(as_csv(labels, table.rows), nl=False)
    elif form == "md":
        click.echo(as_markdown(labels, table.rows), nl=False)
    else:
        print_table(labels, table.rows, member.LABEL[t("zh", "en")])


def as_csv(labels: Any, rows: Any) -> str:
    """CSV that a spreadsheet does not run: a text cell that begins like a formula gets a quote before it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    for row in [labels, *rows]:
        writer.writerow([_safe(value) for value in row])
    return text.getvalue()


def as_markdown(labels: Any, rows: Any) -> str:
    """A table in Markdown."""
    lines = [labels, ["---"] * len(labels), *rows]
    return "".join(
        "| "
        + " | ".join(_cell(value).replace("|", "\\|").replace("\n", " ") for value in line)
        + " |\n"
        for line in lines
    )


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _safe(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA):
        return "'" + value
    return _cell(value)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise Invalid(text, t("应写成 名=值", "must be written as NAME=VALUE"))
    return key, value
