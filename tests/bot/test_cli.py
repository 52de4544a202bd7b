"""The command line: exit codes, one clear line for every error, both languages, nothing secret shown."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from bot import accounts, db
from bot.cli import cli
from bot.clock import now
from bot.commands.report import as_csv, as_markdown
from tests import factories

EXAMPLE = factories.EXAMPLE.name  # a copy beside the process
SECRETS = {
    "MUYAN_SECRET": factories.APP_SECRET,
    "MUYAN_TOKEN": factories.TOKEN,
    "MUYAN_AES_KEY": factories.AES_KEY,
}


class Line:
    """``qunfen`` with a database of its own."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'cli.db'}"
        self.environ = {
            "QUNFEN_DATABASE_URL": self.url,
            "QUNFEN_SECRET_KEY": factories.SECRET_KEY,
            "LC_ALL": "en_US.UTF-8",
            **SECRETS,
        }

    def __call__(self, *arguments: str, text: str | None = None, **environ: str) -> Result:
        return CliRunner().invoke(cli, arguments, input=text, env=self.environ | environ)

    def ok(self, *arguments: str, text: str | None = None) -> str:
        result = self(*arguments, text=text)
        assert result.exit_code == 0, result.output
        return result.stdout

    def fails(self, *arguments: str, **environ: str) -> str:
        result = self(*arguments, **environ)
        assert result.exit_code == 1, result.output
        assert isinstance(result.exception, SystemExit)
        return result.stderr


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    # commands read .env and instance/ beside the process
    monkeypatch.chdir(tmp_path)
    factories.example_ahead(tmp_path)
    return Line(tmp_path)


@pytest.fixture
def ready(line: Line) -> Line:
    line.ok("db", "upgrade")
    return line


def children(group: click.Group) -> list[tuple[str, click.Command]]:
    """The commands of a group, by name."""
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return [(name, child) for name, child in found.items() if child is not None]


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(command, click.Group):
        return [
            found for name, child in children(command) for found in leaves(child, (*path, name))
        ]
    return [path]


@pytest.mark.parametrize("path", leaves(cli), ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    assert f"qunfen {' '.join(path)}" in result.output.replace("\n", " ")


def test_before_the_tables_are_made_a_command_says_what_to_do(line: Line) -> None:
    assert "qunfen db upgrade" in line.fails("account", "list")
    assert "qunfen db upgrade" in line.fails("account", "list", LC_ALL="zh_CN.UTF-8")
    assert "数据库" in line.fails("account", "list", LC_ALL="zh_CN.UTF-8")


def test_wrong_settings_are_one_message(line: Line) -> None:
    said = line.fails("account", "list", QUNFEN_DATABASE_URL="mysql://x", QUNFEN_PUSH_MAX_AGE="x")
    assert "QUNFEN_DATABASE_URL" in said
    assert "QUNFEN_PUSH_MAX_AGE" in said


def test_a_database_that_is_gone_is_one_line(line: Line) -> None:
    pytest.importorskip("psycopg")
    url = "postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=2"
    said = line.fails("account", "list", QUNFEN_DATABASE_URL=url)
    assert "the database is unavailable" in said
    assert "Traceback" not in said


def test_a_usage_error_exits_with_2(line: Line) -> None:
    assert line("nonsense").exit_code == 2
    assert line("report").exit_code == 2


def test_plan_apply_and_pull_go_round(ready: Line, tmp_path: Path) -> None:
    assert "+ account muyan" in ready.ok("plan", EXAMPLE)
    assert json.loads(ready.ok("account", "list", "--json")) == []  # a plan writes nothing
    assert "+ account muyan" in ready.ok("apply", EXAMPLE, "--dry-run")
    assert "change(s) made" in ready.ok("apply", EXAMPLE)
    assert "no change" in ready.ok("apply", EXAMPLE)
    text = ready.ok("pull", "muyan")
    assert factories.TOKEN not in text
    assert "no change" in ready.ok("apply", "-", text=text)
    ready.ok("pull", "muyan", "--output", str(tmp_path / "m.yaml"))
    assert (tmp_path / "m.yaml").read_text() == text
    made = json.loads(ready.ok("plan", EXAMPLE, "--prune", "--json"))
    assert made == {"account": "muyan", "changes": [], "applied": False}
    (tmp_path / "more.yaml").write_text(text + "# end\n" + "extra: 1\n")
    assert "more.yaml" in ready.fails("apply", str(tmp_path / "more.yaml"))
    changed = text.replace("微博首页", "x").replace("微博主页", "新浪主页")
    (tmp_path / "c.yaml").write_text(changed)
    assert ready("plan", str(tmp_path / "c.yaml"), "--detailed-exitcode").exit_code == 2


def test_a_wrong_file_lists_every_problem_with_its_line(ready: Line, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(
        "version: 1\naccount: {slug: muyan, colour: red}\ntags: [{name: 甲, sync: yes}]\n"
    )
    said = ready.fails("apply", str(file))
    assert "wrong.yaml:2: account.colour" in said
    assert "wrong.yaml:3: tags.0.sync" in said
    assert "is missing: the account is new" in said
    assert "7 problem(s); nothing was changed" in said
    assert "No such file" in ready.fails("plan", str(tmp_path / "none.yaml"))


def test_problems_are_told_in_the_language_of_the_locale(ready: Line, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(
        "version: 1\naccount: {slug: muyan}\nrules: [{name: 问候, when: [{none: 1}]}]\n"
    )
    said = ready.fails("plan", str(file), LC_ALL="zh_CN.UTF-8")
    assert "没有这个条件" in said and "known are" not in said
    assert "known are" in ready.fails("plan", str(file))
    assert "没有公众号“nobody”" in ready.fails("pull", "nobody", LC_ALL="zh_CN.UTF-8")
    wrong = {"QUNFEN_SECRET_KEY": "short", "LC_ALL": "zh_CN.UTF-8"}
    assert "QUNFEN_SECRET_KEY: 至少 16 个字符" in ready.fails("doctor", **wrong)


def test_what_only_writing_shows_has_its_line_too(ready: Line, tmp_path: Path) -> None:
    file = tmp_path / "sub.yaml"
    text = Path(EXAMPLE).read_text(encoding="utf-8")
    # one call a day reaches all of them: a second channel would reach some twice
    file.write_text(text.replace("kind: service ", "kind: subscription "))
    for command in ("plan", "apply"):
        assert "campaigns.0" in ready.fails(command, str(file))
    assert json.loads(ready.ok("account", "list", "--json")) == []


def test_an_account_is_added_without_secrets_in_the_arguments(ready: Line, tmp_path: Path) -> None:
    (tmp_path / "aes").write_text(factories.AES_KEY + "\n")
    basics = ["account", "add", "muyan", "--name", "沐颜", "--app-id", "wx1234567890abcdef"]
    assert "env:NAME" in ready.fails(*basics, "--app-secret", factories.APP_SECRET)
    assert "not set" in ready.fails(*basics, "--app-secret", "env:NOWHERE")
    said = ready.ok(
        *basics,
        "--app-secret",
        "env:MUYAN_SECRET",
        "--aes-key",
        "file:aes",
        text=f"{factories.TOKEN}\n",
    )
    assert "/callback/muyan" in said
    assert factories.TOKEN not in said
    listed = json.loads(ready.ok("account", "list", "--json"))[0]
    assert listed["mode"] == "safe"
    engine = db.make_engine(ready.url)
    with db.reading(engine) as session:
        found = accounts.secrets_of(session, 1, factories.SECRET_KEY)
    engine.dispose()
    assert (found.token, found.aes_key) == (factories.TOKEN, factories.AES_KEY)
    ready.ok("account", "opening", "muyan", "--sent-to-all", "2")
    assert json.loads(ready.ok("account", "list", "--json"))[0]["opening_stated"]
    ready.ok("stop", "muyan", "--reason", "wrong text")
    assert json.loads(ready.ok("account", "list", "--json"))[0]["stopped"]
    ready.ok("go", "muyan")
    ready.ok("account", "remove", "muyan", "--yes")
    assert "no account" in ready.fails("ledger", "show", "muyan")


def test_checking_an_account_that_cannot_be_reached_says_so(ready: Line) -> None:
    ready.ok("apply", EXAMPLE)
    result = ready(
        "account",
        "check",
        "muyan",
        QUNFEN_BASE_URL="http://127.0.0.1:9",
        QUNFEN_WECHAT_API_BASE="http://127.0.0.1:9",
    )
    assert result.exit_code == 1
    assert "✗ callback" in result.stdout
    assert "✗ token" in result.stdout
    assert factories.APP_SECRET not in result.output


def test_operators_come_with_a_password_shown_once(ready: Line) -> None:
    assert "password (shown this once)" in ready.ok("operator", "add", "Ann", "--role", "lead")
    given = ready.ok("operator", "passwd", "Ann", "--password-stdin", text="correct horse\n")
    assert "correct horse" not in given
    assert "already" in ready.fails("operator", "add", "Ann")
    assert json.loads(ready.ok("operator", "list", "--json"))[0]["role"] == "lead"


def test_campaigns_are_listed_approved_and_refused(ready: Line) -> None:
    ready.ok("apply", EXAMPLE)
    ready.ok("operator", "add", "Ann", "--role", "lead")
    ready.ok("operator", "add", "Cai", "--role", "viewer")
    ready.ok("operator", "add", "Dan", "--role", "operator")
    assert json.loads(ready.ok("campaigns", "list", "muyan", "--json"))[0]["name"] == "奈雪8元券"
    approve = [
        "campaigns",
        "approve",
        "muyan",
        "奈雪8元券",
        "--people",
        "10",
        "--slots",
        "10",
        "--by",
    ]
    assert "Ann" in ready.ok(*approve, "Ann")
    assert "does not approve" in ready.fails(*approve, "Cai")
    assert "does not approve" in ready.fails(*approve, "Dan"), "as in the console"
    assert "no operator" in ready.fails(*approve, "Nobody")
    assert json.loads(ready.ok("campaigns", "show", "muyan", "奈雪8元券", "--json"))["runs"] == []
    for verb in ("pause", "resume", "cancel"):
        assert "no run under way" in ready.fails("campaigns", verb, "muyan", "奈雪8元券")


def test_a_ledger_that_differs_exits_with_1_and_can_be_repaired(ready: Line) -> None:
    ready.ok("apply", EXAMPLE)
    assert "agrees" in ready.ok("ledger", "check", "muyan")
    engine = db.make_engine(ready.url)
    with db.writing(engine) as session:
        follower = factories.make_follower(session, 1, now=now())
        session.execute(
            sa.text(
                "insert into mass_ledger (follower_id, month, account_id, reserved, spent, external)"
                f" values ({follower}, '2026-11', 1, 0, 3, 0)"
            )
        )
    engine.dispose()
    assert "differ" in ready.fails("ledger", "check", "muyan", "--month", "2026-11")
    ready.ok("ledger", "check", "muyan", "--month", "2026-11", "--repair")
    ready.ok("ledger", "check", "muyan", "--month", "2026-11")
    people = json.loads(ready.ok("ledger", "show", "muyan", "--month", "2026-11", "--json"))
    assert people["people_by_slots_left"]["4"] == 1
    assert "month" in ready.fails("ledger", "show", "muyan", "--month", "13")


@pytest.mark.parametrize("name", ["budget", "campaign", "channel", "daily"])
def test_reports_come_in_every_form(ready: Line, name: str) -> None:
    ready.ok("apply", EXAMPLE)
    for form in ("table", "csv", "json", "md"):
        assert ready.ok("report", name, "muyan", "--format", form)
    assert isinstance(json.loads(ready.ok("report", name, "muyan", "--json")), list)
    assert "no report" in ready.fails("report", "gossip", "muyan")
    assert ready.fails("report", name, "muyan", "--set", "colour=red")


def test_csv_cells_are_never_formulas() -> None:
    rows = [["=cmd|' /C calc'!A0", "+1", "-2", "@x", -3, None, "a,b"]]
    text = as_csv(["h"], rows)
    assert text == "h\r\n'=cmd|' /C calc'!A0,'+1,'-2,'@x,-3,,\"a,b\"\r\n"
    assert "\\|" in as_markdown(["h"], [["a|b"]])


def test_backup_and_restore_through_the_command_line(ready: Line, tmp_path: Path) -> None:
    ready.ok("apply", EXAMPLE)
    ready.ok("backup", "b.zip")
    assert "not empty" in ready.fails("restore", "b.zip")
    assert "cannot be read" in ready.fails("restore", "none.zip")
    other = Line(tmp_path / "other")
    other.ok("restore", "b.zip")
    assert "no change" in other.ok("plan", EXAMPLE)


def test_the_doctor_names_what_is_wrong_and_what_to_do(line: Line) -> None:
    assert "problem(s)" in line.fails("doctor")
    line.ok("db", "upgrade")
    line.ok("apply", EXAMPLE)
    result = line("doctor", "--json", QUNFEN_SECRET_KEY="another-secret-key-of-this-test")
    assert result.exit_code == 1
    found = {item["what"]: item["level"] for item in json.loads(result.stdout)}
    assert found["database"] == "ok"
    assert found["scheduler"] == "wrong"
    assert found["muyan: secrets"] == "wrong"


def test_the_registry_lists_every_member(line: Line) -> None:
    found = json.loads(line.ok("registry", "--json"))
    assert {"folder", "name", "label", "module"} == set(found[0])
    names = {(item["folder"], item["name"]) for item in found}
    assert {
        ("rules.conditions", "text_is"),
        ("bot.reports", "daily"),
        ("handlers", "text"),
    } <= names


def test_ticks_and_replays(ready: Line) -> None:
    ready.ok("apply", EXAMPLE)
    ready.ok("tick", "heartbeat")
    assert "there is no job" in ready.fails("tick", "nothing")
    assert "0 push(es)" in ready.ok("replay", "muyan", "--failed")


@pytest.mark.slow  # starts a Python process
def test_the_entry_point_speaks_chinese_by_default_and_shows_no_traceback(tmp_path: Path) -> None:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "QUNFEN"))}
    environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "bot.cli", "account", "list"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("错误：")
    assert "Traceback" not in done.stderr
