"""An account as one file: read, checked with lines, planned, applied, pulled."""

import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot import accounts, db, rulebook
from bot.as_code import apply as as_code
from bot.as_code import reading
from bot.as_code.apply import Prepared
from bot.as_code.plan import Plan
from bot.as_code.pull import pull, write
from bot.as_code.reading import MAX_BYTES, read
from bot.campaigns import content_review, definitions
from bot.tables import metadata
from bot.tables.accounts import media
from bot.tables.followers import tags
from bot.tables.jobs import jobs
from bot.tables.operators import audit
from bot.tables.rulebooks import rulebooks
from tests import factories
from tests.factories import SECRET_KEY, at

EXAMPLE = Path(__file__).parents[2] / "docs/examples/muyan.yaml"
REACH = EXAMPLE.with_name("reach.yaml")
NOW = at("2026-11-20 09:00")
ENVIRON = {
    "MUYAN_SECRET": factories.APP_SECRET,
    "MUYAN_TOKEN": factories.TOKEN,
    "MUYAN_AES_KEY": factories.AES_KEY,
}
HEAD = """\
version: 1
account: {slug: muyan, name: 沐颜集, kind: service, verified: true, app_id: wx1234567890abcdef,
  app_secret: 0123456789abcdef, token: oaTestToken2026}
"""
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


def run(
    engine: sa.Engine,
    text: str | bytes,
    *,
    folder: Path = EXAMPLE.parent,
    prune: bool = False,
    dry: bool = False,
    now: datetime = NOW,
) -> Prepared:
    raw = text.encode() if isinstance(text, str) else text
    with db.writing(engine) as session:
        prepared = as_code.prepare(session, raw, folder, ENVIRON, SECRET_KEY, now, prune=prune)
        if not prepared.problems and not dry:
            as_code.apply(session, prepared, SECRET_KEY, now)
    return prepared


def changes(prepared: Prepared) -> list[str]:
    assert prepared.problems == []
    assert isinstance(prepared.plan, Plan)
    return [f"{c.sign} {c.kind} {c.name}".strip() for c in prepared.plan.changes]


def problems(engine: sa.Engine, text: str | bytes, **options: Any) -> list[tuple[int, str]]:
    found = run(engine, text, **options).problems
    return [(problem.line, f"{problem.place}: {problem.message}") for problem in found]


def pulled(engine: sa.Engine) -> str:
    with db.reading(engine) as session:
        return pull(session, "muyan")


def test_the_example_applies_once_and_pulls_to_a_file_that_changes_nothing(
    engine: sa.Engine,
) -> None:
    first = changes(run(engine, EXAMPLE.read_bytes()))
    assert first[0] == "+ account muyan"
    assert "+ campaign 奈雪8元券" in first
    assert changes(run(engine, EXAMPLE.read_bytes())) == []
    assert changes(run(engine, pulled(engine))) == []
    with db.reading(engine) as session:
        account = accounts.get(session, "muyan")
        assert account.opening_stated
        assert account.limits.cap_messages == 3
        assert accounts.secrets_of(session, account.id, SECRET_KEY).aes_key == factories.AES_KEY
        assert rulebook.head(session, account.id) == 1
        assert definitions.get(session, account.id, "奈雪8元券").status == "scheduled"
        names = session.execute(sa.select(jobs.c.name).order_by(jobs.c.name)).scalars().all()
        assert names == ["make_scenes", "publish_menu", "sync_tags"]
        assert session.execute(sa.select(sa.func.count()).select_from(audit)).scalar() == 1


def test_the_example_of_reach_applies_once_and_pulls_to_a_file_that_changes_nothing(
    engine: sa.Engine,
) -> None:
    assert "+ campaign 奈雪8元券·微博留言" in changes(run(engine, REACH.read_bytes()))
    assert changes(run(engine, REACH.read_bytes())) == []
    with db.reading(engine) as session:
        text = pull(session, "muyan-reach")
        account = accounts.get(session, "muyan-reach")
        campaign = definitions.get(session, account.id, "奈雪8元券·微博留言")
    assert changes(run(engine, text)) == []
    assert account.brand == "沐颜集"
    assert account.limits.all_send_hold == timedelta(minutes=30)
    assert [cap.channel for cap in account.limits.every_cap] == [None, "mass", None]
    assert campaign.group_segments() == (("G1核心", "核心"), ("G3同好", "同好"))
    assert campaign.segment == "核心"  # who reads one segment reads the first group's
    assert campaign.version == 1
    changed = text.replace("rate: 0.32", "rate: 0.3")
    assert changes(run(engine, changed)) == ["~ campaign 奈雪8元券·微博留言"]
    emptied = changed.replace("brand: 沐颜集", 'brand: ""')
    assert changes(run(engine, emptied)) == ["~ account muyan-reach"]
    assert changes(run(engine, emptied)) == []


def test_limits_go_back_to_their_defaults_by_null(engine: sa.Engine) -> None:
    run(engine, REACH.read_bytes())
    gone = ["holdout", "caps", "person_cap", "most_people", "all_send_hold"]
    text = "version: 1\naccount: {slug: muyan-reach}\nlimits: {" + ", ".join(
        f"{key}: null" for key in gone
    )
    assert changes(run(engine, text + "}\n")) == ["~ limits"]
    with db.reading(engine) as session:
        limits = accounts.get(session, "muyan-reach").limits
    assert (limits.holdout, limits.caps, limits.person_cap) == (0.0, (), None)
    assert (limits.most_people, limits.all_send_hold) == (None, timedelta(minutes=10))


@pytest.mark.parametrize(
    ("before", "after", "place", "message"),
    [
        ("segment: 同好", "segment: 没有", "campaigns.0.groups.1.segment", "there is no segment '没有'"),
        ("name: G3同好", "name: G1核心", "campaigns.0.groups", "two groups have one name"),
        ("gave_up: 放弃触达", "gave_up: 没有", "campaigns.0.after.gave_up", "there is no tag '没有'"),
        ("{name: B, content", "{name: A, content", "campaigns.0.experiment", "two variants have"),
        ("shares: [0.5, 0.5]", "shares: [0.5, 0.6]", "campaigns.0.experiment", "must sum to 1"),
        ("event: message", "event: 没有", "campaigns.1.goal.event", "there is no event '没有'"),
        ("holdout: 0.1", "holdout: 0.6", "campaigns.0.holdout", "less than or equal to 0.5"),
        ("holdout: 0.02", "holdout: yes", "limits.holdout", "valid number"),
        ("channel: mass}", "channel: pigeon}", "limits.caps.0.channel", "no channel 'pigeon'"),
        ("最后一天 {link:wb}", "最后一天 {link:x}", "campaigns.0.follow_ups.0.content", "not among"),
        ("直接领 {link:wb}", "{称呼}领 {link:wb}", "campaigns.0.experiment.variants.0.content", "differs"),
        ("batches: 5", "batches: 1", "campaigns.0.pace.batches", "greater than or equal to 2"),
    ],
)  # fmt: skip
def test_a_problem_of_a_new_key_names_its_line(
    engine: sa.Engine, before: str, after: str, place: str, message: str
) -> None:
    text = REACH.read_text()
    (line,) = [number for number, row in enumerate(text.splitlines(), 1) if before in row]
    found = problems(engine, text.replace(before, after))
    assert [where.split(": ")[0] for _line, where in found] == [place]
    assert message in found[0][1]
    if not place.endswith((".groups", ".experiment")):
        assert found[0][0] == line


def test_a_renamed_segment_or_tag_is_renamed_in_groups_and_result_tags(engine: sa.Engine) -> None:
    run(engine, REACH.read_bytes())
    text = (
        "version: 1\naccount: {slug: muyan-reach}\ntags: [{name: 放弃, was: 放弃触达}]\n"
        "segments: [{name: 同好者, was: 同好, where: {all: []}}]\n"
    )
    assert changes(run(engine, text)) == ["~ tag 放弃", "~ segment 同好者"]
    with db.reading(engine) as session:
        account = accounts.get(session, "muyan-reach")
        campaign = definitions.get(session, account.id, "奈雪8元券·微博留言")
    assert campaign.group_segments()[1] == ("G3同好", "同好者")
    assert campaign.after is not None
    assert campaign.after["gave_up"] == "放弃"
    assert campaign.version == 3


def test_secrets_never_leave_in_a_pulled_file(engine: sa.Engine) -> None:
    run(engine, EXAMPLE.read_bytes())
    text = pulled(engine)
    assert not any(secret in text for secret in ENVIRON.values())
    assert "app_secret" not in text


def test_one_apply_publishes_one_rulebook_and_only_when_rules_changed(engine: sa.Engine) -> None:
    run(engine, EXAMPLE.read_bytes())
    changed = EXAMPLE.read_text().replace('8 元券"}', '9 元券"}').replace("欢迎从", "你好，从")
    assert changes(run(engine, changed)) == ["~ rule 领券", "~ rule 微博新粉"]
    run(engine, changed.replace("name: 微博主页", "name: 微博首页"))
    with db.reading(engine) as session:
        numbers = session.execute(sa.select(rulebooks.c.number)).scalars().all()
    assert numbers == [1, 2]


def test_rules_of_the_file_come_first_in_its_order_and_others_stay_behind(
    engine: sa.Engine,
) -> None:
    def rules(*names: str) -> str:
        lines = [
            f"  - {{name: {n}, when: [{{text_is: {{any: [{n}]}}}}], then: [{{reply: {{text: {n}}}}}]}}"
            for n in names
        ]
        return HEAD + "rules:\n" + "\n".join(lines) + "\n"

    run(engine, rules("a", "b", "c"))
    assert changes(run(engine, rules("c", "d"))) == ["+ rule d", "~ order of the rules"]
    with db.reading(engine) as session:
        account = accounts.get(session, "muyan")
        body = rulebook.snapshot(session, account.id, 2)
    assert [rule["name"] for rule in body["rules"]] == ["c", "d", "a", "b"]
    assert changes(run(engine, rules("c", "d"))) == []
    assert changes(run(engine, rules("c", "d"), prune=True)) == ["- rule a", "- rule b"]
    assert changes(run(engine, rules("c", "d"), prune=True)) == []
    assert changes(run(engine, rules("c", "d", "a"))) == ["+ rule a"]  # an archived one comes back


def test_what_the_file_does_not_name_stays_and_prune_archives_it(engine: sa.Engine) -> None:
    run(engine, EXAMPLE.read_bytes())
    with db.writing(engine) as session:
        account = accounts.get(session, "muyan")
        follower = factories.make_follower(session, account.id, now=NOW)
        held = session.execute(sa.select(tags.c.id).where(tags.c.name == "喜欢互动")).scalar_one()
        factories.give_tag(session, account.id, follower, held, now=NOW)
    bare = "version: 1\naccount: {slug: muyan}\n"
    assert changes(run(engine, bare)) == []
    assert set(changes(run(engine, bare, prune=True))) == {
        "- tag 微博来源",
        "- tag 活动敏感",  # 喜欢互动 is somebody's
        "- scene wb_bio",
        "- rule 领券",
        "- rule 微博新粉",
        "- segment 微博互动",
        "- campaign 奈雪8元券",
    }
    assert changes(run(engine, bare, prune=True)) == []


def test_was_renames_also_where_others_mention_the_name(engine: sa.Engine) -> None:
    run(engine, EXAMPLE.read_bytes())
    renamed = (
        "version: 1\naccount: {slug: muyan}\n"
        "tags: [{name: 微博粉丝, was: 微博来源, family: 客户信息, sync: true}]\n"
        "segments:\n  - name: 微博的人\n    was: 微博互动\n    where: {tag: {has: 微博粉丝}}\n"
    )
    assert changes(run(engine, renamed)) == ["~ tag 微博粉丝", "~ segment 微博的人"]
    assert changes(run(engine, renamed)) == []
    text = pulled(engine)
    assert "微博来源" not in text
    assert "segment: 微博的人" in text
    assert text.count("微博粉丝") == 5  # tag, scene, rule, segment, personal menu
    assert changes(run(engine, text)) == []
    with db.reading(engine) as session:
        account = accounts.get(session, "muyan")
        in_force = rulebook.snapshot(session, account.id, rulebook.head(session, account.id))
    assert "微博粉丝" in str(in_force)
    assert [
        m
        for _, m in problems(
            engine, renamed.replace("was: 微博来源", "was: 没有").replace("微博粉丝", "新的")
        )
    ]


def test_every_problem_is_reported_with_its_line_and_nothing_is_applied(engine: sa.Engine) -> None:
    text = HEAD + (
        "tags:\n"  # 4
        "  - {name: 甲, family: 乱写, colour: red}\n"
    )
    assert problems(engine, text) == [
        (5, "tags.0.colour: 'colour' is not a known key here"),
        (5, "tags.0.family: Input should be '客户信息', '价值', '消费互动' or '营销互动'"),
    ]
    text = (
        HEAD
        + (
            "tags: [{name: 甲}, {name: 甲}]\n"  # 4
            "scenes: [{key: a, name: A, tags: [乙]}]\n"
            "rules:\n"
            "  - name: r\n"
            "    when: [{subscribed_from: {scene: b_x}}, {follower_tag: {has: 丙}}]\n"  # 8
            "    then: [{reply: {text: x}}, {add_tag: {tags: [甲]}}]\n"
            "  - name: s\n"
            "    when: [{text_iz: {any: [x]}}]\n"  # 11
            "    then: [{reply: {image: {file: none.png}}}]\n"
            "segments:\n"
            "  - name: g\n"
            "    where: {all: [{in_segment: {name: h}}, {did: {event: dance}}, {got_campaign: {name: k}}]}\n"  # 15
            "campaigns:\n"
            "  - {name: c, segment: nobody, at: 2026-11-19T08:00, channels: [mass],"
            " content: {text: x}, status: scheduled}\n"
            "limits: {quiet_hours: 22-8}\n"
        )
    )
    with_schema = "\n".join(message for _, message in problems(engine, text))
    assert "a span of a day in quotes" in with_schema
    assert "text_iz" in with_schema  # the other sections are checked all the same
    found = problems(engine, text.replace("22-8", '"22:00-08:00"'))
    lines = [line for line, _ in found]
    said = "\n".join(message for _, message in found)
    assert lines == sorted(lines)
    for line, words in (
        (4, "a second '甲'"),
        (5, "no tag '乙'"),
        (8, "no scene 'b_x'"),
        (8, "no tag '丙'"),
        (11, "text_iz"),
        (12, "none.png"),
        (15, "no segment 'h'"),
        (15, "no event 'dance'"),
        (15, "no campaign 'k'"),
        (17, "no segment 'nobody'"),
        (17, "more than 10 minutes past"),
    ):
        assert any(at_line == line and words in message for at_line, message in found), (
            line,
            words,
            said,
        )
    with db.reading(engine) as session:
        assert accounts.every(session) == []


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (b"\xff\xfe\x00", 1, "UTF-8"),
        (b"version: 1\nname: a\x00b\n", 2, "control character"),
        (b"x" * (MAX_BYTES + 1), 1, "MiB"),
        (b"", 1, "version: 1"),
        (b"- 1\n", 1, "mapping"),
        (b"version: 1\nversion: 1\n", 2, "stands twice, first in line 1"),
        (b"a: &x [1, 2]\nb: [*x, *x]\n", 2, "aliases"),
        (b"a: 1\n<<: {b: 1}\n", 2, "merge"),
        (b"a:\n\tb: 1\n", 2, "tab"),
        (b"a: [1\nb: 2\n", 2, "not YAML"),
        (b"a: !!python/object/apply:os.system [ls]\n", 1, "tag"),
        (b"a: 1\n---\nb: 2\n", 2, "second document"),
        (b"[" * 100_000, 1, "nested deeper"),
        (b"a: *\n", 1, "quotes"),
        (b"? {a: 1}\n: b\n", 1, "key"),
        (b"a: 1e999\n", 1, "too large"),
        (b'a: 1\nb: "x\\0y"\n', 2, "U+0000"),
        (b'a: "\\ud800"\n', 1, ""),
    ],
)
def test_hostile_yaml_gets_a_clear_answer(text: bytes, line: int, words: str) -> None:
    first = read(text).problems[0]
    assert first.line == line
    assert words in first.message


@pytest.mark.parametrize(
    "text",
    [
        EXAMPLE.read_bytes(),
        "a: 😀\nb: {c: [20:30, yes, 0009, 1e5, ~, 'x\\', \"\\u2028\"]}\n".encode(),
        b"a:\n\tb: 1\n",
        b"a: *\n",
        b"a: [1\nb: 2\n",
        b"[" * 100_000,
    ],
)
def test_the_parser_in_python_reads_the_same_where_there_is_no_libyaml(
    monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    fast = read(text)
    monkeypatch.setattr(reading, "PARSER", yaml.SafeLoader)
    slow = read(text)
    assert (slow.data, slow.lines) == (fast.data, fast.lines)
    assert [problem.line for problem in slow.problems] == [
        problem.line for problem in fast.problems
    ]


def test_what_is_pulled_is_readable_and_means_the_same_to_every_reader() -> None:
    value = {
        "names": [
            "你好 😀",
            "yes",
            "0009",
            "1e5",
            "20:30",
            "a: b",
            "# x",
            "- y",
            "",
            " z",
            "e\u2028f\x7f",
        ],
        "text": "第一行\n第二行",
        "empty": [{}, []],
        "nested": [{"a": [{"b": 1.5}, True, None]}],
    }
    written = write(value)
    assert "  - 你好 😀\n" in written or '"你好 😀"' in written
    assert read(written.encode()).data == value
    assert yaml.safe_load(written) == value


def test_a_large_file_takes_seconds(engine: sa.Engine) -> None:
    rules = "".join(
        f"  - name: 规则{i}\n    when: [{{text_is: {{any: [词{i}]}}}}]\n    then: [{{reply: {{text: 答{i}}}}}]\n"
        for i in range(2_000)
    )
    began = time.process_time()
    assert len(changes(run(engine, HEAD + "rules:\n" + rules))) == 2_001
    assert changes(run(engine, pulled(engine))) == []
    assert time.process_time() - began < 20  # a bound that a busy machine keeps; it takes a fifth


def test_a_thousand_laughs_cost_nothing() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40)
    )
    assert "aliases" in read(bomb.encode()).problems[0].message


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("limits: {approve_above: yes}", "valid integer"),
        ("tags: [{name: 甲, sync: yes}]", "true or false"),
        ("tags: [{name: 12}]", "put it in quotes"),
        ("tags: [{name: 甲, expires_after_days: '90'}]", "valid integer"),
        ("tags: 甲", "valid list"),
        ("scenes: [{key: 中文, name: a}]", "pattern"),
        ("scenes: [{key: a, name: a, permanent: true, expire_seconds: 60}]", "permanent: false"),
        ("scenes: [{key: a, name: a, reply: {text: ''}}]", "empty"),
        ("scenes: [{key: a, name: a, reply: {image: {file: x.png}}}]", "no file x.png"),
        ("scenes: [{key: a, name: a, cost: -1}]", "greater than or equal to 0"),
        ("limits: {quiet_hours: '08:00-08:00'}", "same time"),
        ("rules: [{name: r, when: [], then: []}]", "rules.0"),
        ("menu: [{name: 领券}]", "menu"),
        ("personal_menus: [{tag: 甲, menu: [{name: a, click: b}]}]", "tag '甲'"),
        ("version: 2", "stands twice"),
        ("extra: 1", "not a known key"),
    ],
)
def test_wrong_values_say_what_would_be_right(engine: sa.Engine, section: str, words: str) -> None:
    found = problems(engine, HEAD + section + "\n")
    assert found
    assert any(words in message for _, message in found), found


def test_a_secret_is_checked_but_never_repeated(engine: sa.Engine) -> None:
    text = HEAD.replace(
        "token: oaTestToken2026", "token: {env: NOT_THERE}, aes_key: hunter2hunter2"
    )
    said = str(problems(engine, text))
    assert "NOT_THERE is not set" in said
    assert "43 letters and digits" in said
    assert "hunter2" not in said


def test_times_and_words_that_yaml_1_1_would_change_stay_what_they_say(engine: sa.Engine) -> None:
    text = HEAD + (
        "rules:\n  - name: on\n    when: [{text_is: {any: [yes, no, 20:30]}},"
        " {time_of_day: {from: 20:30, until: 22:00}}]\n"
        "    then: [{reply: {text: off}}]\n"
    )
    changes(run(engine, text))
    with db.reading(engine) as session:
        account = accounts.get(session, "muyan")
        rule = rulebook.snapshot(session, account.id, 1)["rules"][0]
    assert rule["name"] == "on"
    assert rule["when"][0]["text_is"]["any"] == ["yes", "no", "20:30"]
    assert rule["when"][1]["time_of_day"]["from"] == "20:30"
    assert changes(run(engine, pulled(engine))) == []


def test_files_of_contents_are_stored_once_and_again_when_they_change(
    engine: sa.Engine, tmp_path: Path
) -> None:
    text = HEAD + "fallback: {reply: {image: {file: pictures/a.png}}}\n"
    (tmp_path / "pictures").mkdir()
    picture = tmp_path / "pictures" / "a.png"
    assert "no file pictures/a.png" in problems(engine, text, folder=tmp_path)[0][1]
    picture.write_bytes(b"MZ" + bytes(100))
    assert "is not a image" in problems(engine, text, folder=tmp_path)[0][1]
    picture.write_bytes(PNG + bytes(3_000_000))
    assert "are allowed" in problems(engine, text, folder=tmp_path)[0][1]
    picture.write_bytes(PNG)
    assert "+ file pictures/a.png" in changes(run(engine, text, folder=tmp_path))
    assert changes(run(engine, text, folder=tmp_path)) == []
    assert changes(run(engine, pulled(engine), folder=tmp_path / "elsewhere")) == []
    picture.write_bytes(PNG + b"new")
    assert changes(run(engine, text, folder=tmp_path)) == ["+ file pictures/a.png"]
    assert changes(run(engine, text, folder=tmp_path)) == []
    with db.reading(engine) as session:
        assert session.execute(sa.select(sa.func.count()).select_from(media)).scalar() == 2
    for name in ("../secret.png", "/etc/passwd"):
        said = problems(
            engine, HEAD + f"fallback: {{reply: {{image: {{file: {name}}}}}}}\n", folder=tmp_path
        )
        assert "account file" in said[0][1]


CHECKED = """\
segments: [{name: 全部, where: {all: []}}]
campaigns:
  - name: 文案
    segment: 全部
    at: 2026-11-25 12:00
    channels: [mass]
    content: {text: 国家级品质}
    approved_for: {people: 9, slots: 9}
    status: scheduled
"""


def test_a_file_does_not_approve_what_the_content_checks_stop(engine: sa.Engine) -> None:
    ((line, said),) = problems(engine, HEAD + CHECKED)
    assert line == 10 and "campaigns.0.content.text" in said and "国家级" in said
    # not approved by the file: whoever approves it is asked
    assert (
        problems(engine, HEAD + CHECKED.replace("    approved_for: {people: 9, slots: 9}\n", ""))
        == []
    )


def test_a_file_lets_content_go_with_a_reason_that_the_audit_log_keeps(engine: sa.Engine) -> None:
    blank = HEAD + CHECKED + "    allow_findings: ''\n"
    assert [line for line, _said in problems(engine, blank)] == [13]
    allowed = HEAD + CHECKED + "    allow_findings: 证书上的名称\n"
    assert "+ campaign 文案" in changes(run(engine, allowed))
    assert changes(run(engine, allowed)) == [], "the reason is no part of the campaign"
    with db.reading(engine) as session:
        row = session.execute(
            sa.select(audit).where(audit.c.action == "campaign.override_checks")
        ).one()
        account = accounts.get(session, "muyan")
        assert content_review.is_overridden(session, definitions.get(session, account.id, "文案"))
    assert (row.operator, row.after["reason"]) == ("file", "证书上的名称")
    assert problems(engine, pulled(engine)) == [], "what is stored like this is not checked anew"
    changed = HEAD + CHECKED.replace("国家级品质", "国家级品质，全网最低价")
    assert len(problems(engine, changed)) >= 1


def test_a_stored_campaign_whose_time_has_passed_stays_as_it_is(engine: sa.Engine) -> None:
    run(engine, EXAMPLE.read_bytes())
    later = at("2026-12-24 09:00")
    assert changes(run(engine, pulled(engine), now=later)) == []
    other = EXAMPLE.read_text().replace("20:30:00+08:00", "21:30:00+08:00")
    assert "10 minutes past" in problems(engine, other, now=later)[0][1]


def test_an_account_keeps_its_app_id(engine: sa.Engine) -> None:
    run(engine, HEAD)
    assert "another AppID" in problems(engine, HEAD.replace("wx1234", "wx9999"))[0][1]
    other = HEAD.replace("slug: muyan", "slug: other")
    assert "belongs to the account 'muyan'" in problems(engine, other)[0][1]


def test_limits_not_named_stay_and_null_goes_back_to_the_default(engine: sa.Engine) -> None:
    run(engine, HEAD + "limits: {approve_above: 5, cap: {messages: 1, days: 2}}\n")
    assert changes(run(engine, HEAD + "limits: {approve_above: 6}\n")) == ["~ limits"]
    assert changes(run(engine, HEAD + "limits: {cap: null}\n")) == ["~ limits"]
    with db.reading(engine) as session:
        limits = accounts.get(session, "muyan").limits
    assert (limits.approve_above, limits.cap_messages) == (6, None)


names = (
    st.text(
        st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029"),
        min_size=1,
        max_size=12,
    )
    .map(str.strip)
    .filter(bool)
)
texts = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Cn")), min_size=1, max_size=40
).filter(lambda text: text.strip() and not set(text) & set("{}|"))
rule_names = st.lists(names, max_size=4, unique=True)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Account files as people might write them."""
    tag_names = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    some_tags = st.lists(st.sampled_from(tag_names), min_size=1, max_size=3, unique=True)
    found: dict[str, Any] = {
        "version": 1,
        "account": {
            "slug": "muyan",
            "name": draw(names),
            "kind": "service",
            "verified": draw(st.booleans()),
            "app_id": "wx1234567890abcdef",
            "app_secret": "0123456789abcdef",
            "token": "oaTestToken2026",
        },
        "tags": [
            {"name": name, "expires_after_days": draw(st.none() | st.integers(1, 3650))}
            for name in tag_names
        ],
        "scenes": [
            {
                "key": key,
                "name": draw(names),
                "permanent": draw(st.booleans()),
                "tags": draw(some_tags),
                "reply": draw(st.none() | st.builds(lambda text: {"text": text}, texts)),
                "cost": draw(st.none() | st.integers(0, 9999) | st.just(0.25)),
            }
            for key in draw(
                st.lists(
                    st.from_regex(r"[a-z0-9_.]{1,10}", fullmatch=True), max_size=3, unique=True
                )
            )
        ],
        "rules": [
            {
                "name": name,
                "when": [{"text_is": {"any": draw(st.lists(texts, min_size=1, max_size=3))}}],
                "then": [{"reply": {"text": draw(texts)}}, {"add_tag": {"tags": draw(some_tags)}}],
                "continue": draw(st.booleans()),
            }
            for name in draw(rule_names)
        ],
        "segments": [
            {
                "name": name,
                "where": {
                    draw(st.sampled_from(["all", "any"])): [{"tag": {"any": draw(some_tags)}}]
                },
            }
            for name in draw(rule_names)
        ],
        "limits": draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "quiet_hours": st.just("22:00-08:00"),
                    "cap": st.none()
                    | st.fixed_dictionaries(
                        {"messages": st.integers(1, 9), "days": st.integers(1, 9)}
                    ),
                    "approve_above": st.integers(0, 5000),
                },
            )
        ),
    }
    if draw(st.booleans()):
        found["fallback"] = {"reply": {"text": draw(texts)}}
    return found


@settings(
    max_examples=int(os.environ.get("EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(documents(), documents())
def test_any_file_applies_once_and_what_is_pulled_changes_nothing(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    engine = db.make_engine("sqlite://")
    metadata.create_all(engine)
    for document in (first, second):
        text = write(document)
        assert read(text.encode()).data == document
        changes(run(engine, text))
        assert changes(run(engine, text)) == []
        again = pulled(engine)
        assert changes(run(engine, again)) == []
        assert pulled(engine) == again
    engine.dispose()
