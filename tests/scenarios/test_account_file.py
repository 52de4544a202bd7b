"""An account as one file, on the command line: what is applied holds from the next push on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot import db, migrate
from tests import factories
from tests.scenarios.test_campaign_month import PARTS, campaign
from tests.scenarios.world import SANDBOX, World

pytestmark = pytest.mark.slow  # every test connects and fills an account

ROOT = Path(__file__).resolve().parents[2]
SECRETS = (factories.APP_SECRET, factories.TOKEN, factories.AES_KEY)


def answering(text: str) -> list[dict[str, object]]:
    return [
        {
            "name": "问价",
            "when": [{"text_contains": {"any": ["多少钱"]}}],
            "then": [{"reply": {"text": text}}],
        }
    ]


@pytest.fixture
def brand(world: World) -> World:
    world.connect()
    world.apply(**PARTS)
    world.crowd(6)
    return world


def test_an_edited_reply_is_given_to_the_next_push(brand: World) -> None:
    brand.apply(rules=answering("九十九"))
    assert brand.say(1, "这个多少钱") == "九十九"
    brand.apply(rules=answering("一百"))
    assert brand.say(1, "这个多少钱") == "一百"
    assert brand.say(1, "活动") == "好", "rules that the file does not name stay"


def test_a_file_that_is_applied_twice_changes_nothing_the_second_time(brand: World) -> None:
    file = str(brand.file(rules=answering("一百"), segments=PARTS["segments"]))
    assert "1 change(s) made" in brand.ok("apply", file)
    assert "no change" in brand.ok("apply", file)
    assert brand.told("plan", file)["changes"] == []


def test_a_plan_shows_and_changes_nothing(brand: World) -> None:
    file = str(brand.file(rules=answering("一百")))
    assert "问价" in brand.ok("plan", file)
    assert brand.cli("plan", file, "--detailed-exitcode").exit_code == 2
    assert brand.say(1, "这个多少钱") != "一百"


def test_what_is_pulled_can_be_applied_and_changes_nothing(brand: World) -> None:
    brand.apply(
        rules=answering("一百"),
        limits={"quiet_hours": "22:00-08:00", "cap": {"messages": 3, "days": 7}},
        menu=[{"name": "领券", "click": "M"}],
        campaigns=[campaign("月末", "2026-11-25 20:30")],
    )
    text = brand.ok("pull", "muyan")
    assert not [secret for secret in SECRETS if secret in text]
    assert "no change" in brand.ok("apply", "-", text=text)
    edited = text.replace("一百", "两百")
    assert "问价" in brand.ok("plan", "-", text=edited)
    brand.ok("apply", "-", text=edited)
    assert brand.say(1, "这个多少钱") == "两百"


def test_a_wrong_file_lists_every_problem_with_its_line_and_applies_nothing(brand: World) -> None:
    before = brand.ok("pull", "muyan")
    file = brand.folder / "wrong.yaml"
    file.write_text(
        """version: 1
account: {slug: muyan, colour: red}
tags:
  - {name: 新标签}
rules:
  - name: 问价
    when: [{text_contains: {any: [多少钱]}}]
    then: [{reply: {text: 一百}}, {add_tag: {tags: [没有这个]}}]
  - name: 坏式子
    when: [{text_regex: {pattern: "("}}]
    then: [{fly: {}}]
segments:
  - name: 谁
    where: {tag: {has: 也没有}}
campaigns:
  - name: 活动
    segment: 不存在
    at: 2026-11-01T00:00:00+08:00
    channels: [pigeon]
    content: {text: "{称呼|您}"}
    status: scheduled
""",
        encoding="utf-8",
    )
    said = brand.fails("apply", str(file))
    for line, place in (
        (2, "account.colour"),
        (8, "rules.0.then.1.add_tag"),
        (10, "rules.1.when.0.text_regex"),
        (11, "rules.1.then.0"),
        (14, "segments.0.where"),
        (17, "campaigns.0.segment"),
        (19, "campaigns.0.channels"),
    ):
        assert f"wrong.yaml:{line}: {place}" in said
    assert "nothing was changed" in said
    assert brand.ok("pull", "muyan") == before
    assert brand.say(1, "这个多少钱") != "一百"
    listed = json.loads(brand.cli("apply", str(file), "--json").stdout)["problems"]
    assert {problem["line"] for problem in listed} >= {2, 8, 10, 11, 14, 17, 19}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version: 1\naccount: {slug: muyan\n", ":"),
        ("\x00\x01", ":1: "),
        ("", ": "),
        ("[1, 2]", ": "),
        ("version: 2\naccount: {slug: muyan}\n", ":1: version"),
        ("version: 1\naccount: {slug: muyan, slug: other}\n", ":2: "),
        ("version: 1\naccount: {slug: '../x'}\n", ":2: account.slug"),
        (
            "version: 1\naccount: {slug: muyan, token: {env: NOT_SET_ANYWHERE}}\n",
            "NOT_SET_ANYWHERE",
        ),
        ("version: 1\naccount: {slug: muyan}\ncolour: red\n", ":3: colour"),
        ("a: &a [x]\nb: [*a, *a]\n", ": "),
    ],
)
def test_nonsense_is_answered_with_a_line_and_never_with_a_traceback(
    brand: World, text: str, says: str
) -> None:
    file = brand.folder / "nonsense.yaml"
    file.write_text(text, encoding="utf-8")
    said = brand.fails("apply", str(file))
    assert says in said
    assert "Traceback" not in said


def test_new_secrets_take_effect_and_are_never_printed(brand: World) -> None:
    fresh = {"token": "freshToken20261122", "app_secret": "f" * 32, "aes_key": "Z" * 42 + "A"}
    brand.platform.change_account(brand.app_id(), **fresh)
    given = {name: {"env": f"NEW_{name.upper()}"} for name in fresh}
    environ = {f"NEW_{name.upper()}": value for name, value in fresh.items()}
    file = str(brand.file(account=given))
    said = brand.ok("plan", file, **environ) + brand.ok("apply", file, **environ)
    said += brand.ok("pull", "muyan") + brand.ok("account", "list") + brand.home()
    assert not [secret for secret in (*SECRETS, *fresh.values()) if secret in said]
    brand.move_to(brand.runtime(brand.rt.engine, brand.rt.config.database_url))
    assert brand.say(1, "活动") == "好"
    brand.rt.wechat(brand.account_id()).call("/cgi-bin/tags/get")


def test_an_account_on_the_sandbox_is_never_pointed_at_the_real_platform(brand: World) -> None:
    assert brand.told("account", "list")[0]["sandbox"] is True
    brand.apply(account={"name": "新名字"})
    assert brand.rt.wechat(brand.account_id()).api_base == SANDBOX


def test_a_backup_restored_into_an_empty_installation_goes_on_where_it_was(
    brand: World, tmp_path: Path
) -> None:
    brand.say(1, "活动")
    brand.apply(
        campaigns=[
            campaign("发过的", "2026-11-02 09:01"),
            campaign("要发的", "2026-11-03 12:00"),
            *(campaign(f"第{day}天", f"2026-11-0{day} 18:00") for day in range(4, 8)),
        ]
    )
    brand.go_to("2026-11-02 09:01")
    brand.pass_time(1)
    assert brand.run("发过的")["outcomes"] == {"sent": 6}
    brand.ok("backup", str(tmp_path / "b.zip"))
    raw = (tmp_path / "b.zip").read_bytes()
    assert not [secret for secret in SECRETS if secret.encode() in raw]
    pulled = brand.ok("pull", "muyan")
    # another machine, SQLite whatever the first had
    url = f"sqlite:///{tmp_path / 'new.db'}"
    engine = db.make_engine(url)
    brand.move_to(brand.runtime(engine, url))
    brand.ok("restore", str(tmp_path / "b.zip"))
    assert "not empty" in brand.fails("restore", str(tmp_path / "b.zip"))
    assert migrate.current(engine) == migrate.head()
    assert brand.ok("pull", "muyan") == pulled
    assert brand.run("发过的")["outcomes"] == {"sent": 6}
    assert brand.say(1, "活动") == "好"
    assert set(brand.charged().values()) == {1}
    for moment in ("03 12:00", "04 18:00", "05 18:00", "06 18:00", "07 18:00"):
        brand.go_to(f"2026-11-{moment}")
        brand.pass_time(1)
    assert brand.run("要发的")["outcomes"] == {"sent": 6}
    assert brand.run("第7天")["skipped"] == {"no_slot": 6}
    assert set(brand.counts().values()) == {4}
    brand.check_ledger()
    brand.rt.writer.close()
    engine.dispose()


@pytest.mark.slow  # starts Python processes
def test_a_real_process_applies_plans_and_pulls_and_shows_no_secret(tmp_path: Path) -> None:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "QUNFEN"))}
    environ |= {
        "PYTHONPATH": str(ROOT),
        "QUNFEN_DATABASE_URL": f"sqlite:///{tmp_path / 'own.db'}",
        "QUNFEN_SECRET_KEY": factories.SECRET_KEY,
        "MUYAN_SECRET": SECRETS[0],
        "MUYAN_TOKEN": SECRETS[1],
        "MUYAN_AES_KEY": SECRETS[2],
    }

    def qunfen(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bot.cli", *arguments],
            cwd=tmp_path, env=environ, capture_output=True, text=True, check=False,
        )  # fmt: skip

    example = str(factories.example_ahead(tmp_path))
    done = [qunfen("db", "upgrade"), qunfen("apply", example), qunfen("pull", "muyan")]
    assert [one.returncode for one in done] == [0, 0, 0], done
    said = "".join(one.stdout + one.stderr for one in done)
    assert "已完成" in said
    assert not [secret for secret in SECRETS if secret in said]
    (tmp_path / "bad.yaml").write_text("version: 1\naccount: {slug: muyan, colour: red}\n")
    wrong = qunfen("apply", "bad.yaml")
    assert wrong.returncode == 1
    assert "bad.yaml:2: account.colour" in wrong.stderr
    assert "Traceback" not in wrong.stderr
