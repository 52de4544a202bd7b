"""The rules console: the list, the editor, the live test box, publishing and rolling back."""

import csv
import io
import random
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bot import db, drafts, registry, rulebook
from bot.accounts import Account
from bot.tables.accounts import accounts as accounts_table
from bot.tables.operators import audit
from bot.tables.rulebooks import rule_hits
from tests import factories
from tests.bot.console import pages

# what differs between databases is asked in test_drafts, test_rule_hits and the scenario of an edit
pytestmark = pytest.mark.sqlite

HOSTILE = "<script>alert(1)</script>&\"'"
HTMX = {"HX-Request": "true"}


def rule(name: str, *words: str, reply: str = "", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "when": [{"text_is": {"any": list(words) or [name]}}],
        "then": [{"reply": {"text": reply or f"回复{name}"}}],
        **more,
    }


class Rules:
    """The rules of the test's account, behind the pages."""

    def __init__(self, engine: sa.Engine, account: Account, now: datetime) -> None:
        self.engine, self.account, self.now = engine, account, now
        self.path = f"/console/{account.slug}/rules"

    def add(self, *bodies: dict[str, Any], group: str = "") -> list[int]:
        with db.writing(self.engine) as session:
            return [
                drafts.add(session, self.account.id, body, by="Bo", now=self.now, group=group)
                for body in bodies
            ]

    def publish(self) -> int:
        with db.writing(self.engine) as session:
            body = rulebook.draft_body(session, self.account.id)
            return rulebook.publish(session, self.account.id, body, by="Bo", note="", now=self.now)

    def listed(self) -> list[drafts.Draft]:
        with db.reading(self.engine) as session:
            return drafts.listing(session, self.account.id)

    def names(self) -> str:
        return "".join(draft.name for draft in self.listed())

    def audited(self) -> list[str]:
        with db.reading(self.engine) as session:
            return list(session.execute(sa.select(audit.c.action).order_by(audit.c.id)).scalars())

    def order_version(self) -> int:
        with db.reading(self.engine) as session:
            return drafts.order_version(session, self.account.id)


@pytest.fixture
def rules(engine: sa.Engine, account: Account, now: datetime) -> Rules:
    return Rules(engine, account, now)


def typed(name: str = "券", **more: str) -> dict[str, str]:
    """A new rule as the editor posts it."""
    return {
        "name": name,
        "group": "",
        "enabled": "1",
        "when.0:member": "text_contains",
        "when.0.text_contains.any": "优惠券\r\n券码",
        "then.0:member": "reply",
        "then.0.reply:kind": "text",
        "then.0.reply.text": "给你一张券",
        **more,
    }


def shown(answer: TestResponse, status: int = 200) -> str:
    assert answer.status_code == status, answer.get_data(as_text=True)[:2000]
    return str(answer.get_data(as_text=True))


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


# the list


def test_an_account_without_rules_says_how_to_begin(browser: FlaskClient, rules: Rules) -> None:
    page = pages.text(browser.get(rules.path))
    assert "还没有规则" in page and "新建规则" in page and "收到消息回复" in page


def test_the_list_says_what_a_number_counts(browser: FlaskClient, rules: Rules) -> None:
    rules.add({**rule("甲"), "when": [{"cooldown": {"hours": 720}}]})
    assert "冷却 720 小时" in pages.text(browser.get(rules.path))


def test_the_list_shows_rules_in_order_with_their_hits(
    browser: FlaskClient, rules: Rules, now: datetime
) -> None:
    rules.add(rule("甲", reply=HOSTILE), rule("乙", enabled=False), group="春节")
    rules.publish()
    with db.writing(rules.engine) as session:
        for days, times in ((0, 3), (6, 4), (20, 1000), (40, 9)):
            day = (now - timedelta(days=days)).date()
            session.execute(
                sa.insert(rule_hits).values(
                    account_id=rules.account.id, rule="甲", day=day, times=times
                )
            )
    answer = browser.get(rules.path)
    page = pages.text(answer)
    assert page.index("甲") < page.index("乙")
    assert "文字等于 甲" in page and " 7 " in page and "1,007" in page and "春节" in page
    assert "共 2 条规则" in page and "与线上一致：第 1 版" in page
    assert HOSTILE not in answer.get_data(as_text=True) and "<script>alert(1)" in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"q": "找不到"}, ""),
        ({"q": "门店"}, "甲"),
        ({"q": "回复乙"}, "乙"),
        ({"group": "春节"}, "乙"),
        ({"state": "off"}, "丙"),
        ({"changed": "yes"}, "丁"),
        ({"changed": "no"}, "甲乙丙"),
        ({"sorts": "follow"}, "丁"),
        ({"sorts": "keyword"}, "甲乙丙"),
        ({"sort": "-month"}, "丙甲乙丁"),
        ({"bogus": "1", "sort": "bogus"}, "甲乙丙丁"),
    ],
)
def test_the_list_is_searched_filtered_and_sorted(
    browser: FlaskClient, rules: Rules, now: datetime, query: dict[str, str], expected: str
) -> None:
    rules.add(rule("甲", "门店"), rule("丙", enabled=False))
    rules.add(rule("乙"), group="春节")
    with db.writing(rules.engine) as session:
        ids = {draft.name: draft.id for draft in drafts.listing(session, rules.account.id)}
        drafts.move(session, rules.account.id, [ids["乙"], ids["丙"]], rules.order_version())
        session.execute(
            sa.insert(rule_hits).values(
                account_id=rules.account.id, rule="丙", day=now.date(), times=3
            )
        )
    rules.publish()
    rules.add({**rule("丁"), "when": [{"subscribed_from": {}}]})
    html = shown(browser.get(rules.path, query_string=query))
    assert "".join(re.findall(r'class="text-reset"[^>]*>([^<]+)</a>', html)) == expected
    names = [
        row[1] for row in _csv(browser.get(rules.path, query_string={**query, "format": "csv"}))
    ]
    assert "".join(names[1:]) == expected


def test_formulas_in_names_are_texts_in_the_file(browser: FlaskClient, rules: Rules) -> None:
    rules.add(rule("=1+1", "@SUM(A1)"))
    (_head, row) = _csv(browser.get(rules.path, query_string={"format": "csv"}))
    assert row[1] == "'=1+1"


def _csv(answer: TestResponse) -> list[list[str]]:
    return list(csv.reader(io.StringIO(shown(answer).removeprefix("\ufeff"))))


def test_a_long_list_has_pages(browser: FlaskClient, rules: Rules) -> None:
    long = [{"reply": {"text": "回复" * 100}}, {"add_tag": {"tags": ["喜欢互动", "活动敏感"]}}]
    rules.add(
        *(
            {**rule(f"规则{number:03}", *(f"关键词{one}" for one in range(9))), "then": long}
            for number in range(60)
        ),
        group="日常",
    )
    first = shown(browser.get(rules.path))
    assert "规则024" in first and "规则025" not in first and "共 60" in words(first)
    assert "规则025" in shown(browser.get(rules.path, query_string={"page": "2"}))
    assert len(first.encode()) < 60 * 1024


def test_rules_are_moved_by_what_a_page_shows(browser: FlaskClient, rules: Rules) -> None:
    ids = rules.add(rule("甲"), rule("乙"), rule("丙"))
    version = rules.order_version()
    order = ",".join(str(one) for one in (ids[2], ids[0], ids[1]))
    data = {"order": order, "version": str(version)}
    answer = pages.post(browser, f"{rules.path}/order", data, headers=HTMX)
    assert f'value="{version + 1}"' in shown(answer)
    assert rules.names() == "丙甲乙"
    again = pages.post(browser, f"{rules.path}/order", data, headers=HTMX)
    assert "改动了规则的顺序" in shown(again, 409)
    assert rules.audited()[-1] == "rule.move"


def test_one_rule_moves_a_step_within_the_list_that_is_looked_at(
    browser: FlaskClient, rules: Rules
) -> None:
    ids = rules.add(rule("甲"), rule("乙"), rule("丙"))
    rules.add(rule("丁"), group="组")
    with db.writing(rules.engine) as session:
        drafts.set_group(session, rules.account.id, [ids[0]], "组", by="Bo", now=rules.now)
    (last,) = [draft.id for draft in rules.listed() if draft.name == "丁"]
    data = {"step": f"up:{last}", "version": str(rules.order_version()), "query": "group=组"}
    assert pages.post(browser, f"{rules.path}/order", data).status_code == 303
    assert rules.names() == "丁乙丙甲"
    for step, status in (("up:999", 404), ("sideways:1", 404), (f"up:{last}", 303)):
        data = {"step": step, "version": str(rules.order_version())}
        assert pages.post(browser, f"{rules.path}/order", data).status_code == status
    assert rules.names() == "丁乙丙甲", "the first cannot go further up"


def test_a_rule_is_switched(browser: FlaskClient, rules: Rules) -> None:
    (rule_id,) = rules.add(rule("甲"))
    answer = pages.post(browser, f"{rules.path}/{rule_id}/switch", {"on": "0"}, headers=HTMX)
    assert 'aria-checked="false"' in shown(answer)
    assert rules.listed()[0].enabled is False
    assert pages.post(browser, f"{rules.path}/{rule_id}/switch", {"on": "1"}).status_code == 303
    assert rules.listed()[0].enabled is True
    assert rules.audited()[-2:] == ["rule.switch", "rule.switch"]


def test_many_rules_at_once(browser: FlaskClient, rules: Rules) -> None:
    first, second, third = rules.add(rule("甲"), rule("乙"), rule("丙"))
    chosen = [("ids", str(first)), ("ids", str(second))]
    path = f"{rules.path}/bulk"
    assert pages.post(browser, path, [*chosen, ("action", "off")]).status_code == 303
    assert [draft.enabled for draft in rules.listed()] == [False, False, True]
    pages.post(browser, path, [*chosen, ("action", "group"), ("group", "春节")])
    assert [draft.group for draft in rules.listed()] == ["春节", "春节", ""]
    pages.post(browser, path, {"action": "on", "everything": "1", "query": "group=春节"})
    assert all(draft.enabled for draft in rules.listed())
    asks = shown(pages.post(browser, path, [*chosen, ("action", "delete")]))
    assert "将删除 2 条规则：甲、乙" in asks and rules.names() == "甲乙丙"
    done = pages.post(browser, f"{rules.path}/delete", {"ids": f"{first},{second}"})
    assert done.status_code == 303 and rules.names() == "丙"
    assert pages.post(browser, path, {"action": "bogus"}).status_code == 422
    assert pages.post(browser, path, {"action": "on"}).status_code == 303
    assert third


def test_deleting_says_what_stays_in_force(browser: FlaskClient, rules: Rules) -> None:
    (rule_id,) = rules.add(rule("甲"))
    assert "粉丝不会察觉" in shown(browser.get(f"{rules.path}/{rule_id}/delete"))
    rules.publish()
    assert "继续生效到下一次发布" in shown(browser.get(f"{rules.path}/{rule_id}/delete"))


# the editor


def test_a_rule_is_written_by_hand(browser: FlaskClient, rules: Rules) -> None:
    html = shown(browser.get(f"{rules.path}/new"))
    assert "关键词" in html and "保存草稿" in html
    answer = pages.post(browser, f"{rules.path}/new", typed(group="春节"))
    assert answer.status_code == 303
    (draft,) = rules.listed()
    assert draft.group == "春节" and draft.changed_by == "Ann"
    assert draft.body == {
        "name": "券",
        "when": [{"text_contains": {"any": ["优惠券", "券码"]}}],
        "then": [{"reply": {"text": "给你一张券"}}],
    }
    assert rules.audited()[-1] == "rule.add"


def test_a_rule_opened_and_saved_untouched_is_the_same(browser: FlaskClient, rules: Rules) -> None:
    body = {
        "name": "全部",
        "when": [
            {"text_pattern": {"pattern": "我想要*"}},
            {"follower_field": {"name": "城市", "in": ["上海", "杭州"]}},
            {"cooldown": {"hours": 1.5}},
            {"days": {"on": ["mon", "2026-11-11"]}},
        ],
        "then": [
            {"reply_one_of": {"choices": [{"text": "一"}, {"text": "二"}]}},
            {"set_field": {"name": "年龄", "value": 18}},
            {"send_later": {"after": "10m", "content": {"text": "还在吗"}}},
            {"hand_over": {}},
        ],
        "active": {"from": "2026-11-01T08:00:00+08:00", "hours": "08:00-24:00"},
        "continue": True,
        "enabled": False,
    }
    (rule_id,) = rules.add(body)
    path = f"{rules.path}/{rule_id}"
    form = pages.form(shown(browser.get(path)), "editor")
    assert pages.post(browser, path, form).status_code == 303
    assert rules.listed()[0].body == body


def test_parts_are_added_moved_and_removed_without_saving(
    browser: FlaskClient, rules: Rules
) -> None:
    path = f"{rules.path}/new"
    data = typed(do="add:when", **{"add:when": "cooldown"})
    html = shown(pages.post(browser, path, data, headers=HTMX))
    assert "when.1.cooldown.hours" in html and "<html" not in html
    assert "优惠券" in html, "what was typed is kept"
    data = typed(
        do="up:when:7",
        **{"when.7:member": "cooldown", "when.7.cooldown.hours": "12"},
    )
    html = shown(pages.post(browser, path, data, headers=HTMX))
    assert html.index("when.0.cooldown.hours") < html.index("when.1.text_contains.any")
    html = shown(pages.post(browser, path, typed(do="remove:then:0"), headers=HTMX))
    assert "then.0" not in html
    for odd in ("add:nothing", "up:when:99", "remove:when:", "add:when", "x" * 500):
        assert pages.post(browser, path, typed(do=odd)).status_code == 200
    assert rules.listed() == []


@pytest.mark.parametrize(
    ("change", "beside"),
    [
        ({"name": ""}, "f-name"),
        ({"name": "x" * 61}, "f-name"),
        ({"name": "甲"}, "f-name"),
        ({"when.0.text_contains.any": " \r\n "}, "when.0.text_contains.any"),
        ({"then.0.reply.text": ""}, "then.0.reply"),
        ({"then.0.reply.text": "长" * 601}, "then.0.reply"),
        ({"when.0:member": "cooldown", "when.0.cooldown.hours": "很久"}, "when.0.cooldown.hours"),
        ({"when.0:member": "gone", "when.0.raw:json": "{}"}, "when.0.raw"),
        ({"active:x": "", "active.from": "2026-13-45T99:00"}, "active.from"),
        ({"active.hours:from": "08:00"}, "active.hours"),
        ({"then.0.reply:kind": "image", "then.0.reply.image.file": "没有.png"}, "then.0.reply.image.file"),
        ({"then.0.reply:kind": "news", "then.0.reply.news.url": "javascript:alert(1)"}, "then.0.reply.news"),
        ({"then.0:member": "", "then.0.reply:kind": "text"}, "then.0.raw"),
    ],
)  # fmt: skip
def test_every_problem_stands_beside_its_field_and_what_was_typed_is_kept(
    browser: FlaskClient, rules: Rules, change: dict[str, str], beside: str
) -> None:
    rules.add(rule("甲"))
    html = shown(pages.post(browser, f"{rules.path}/new", typed(**change)), 422)
    assert rules.names() == "甲"
    wrong = re.findall(r'id="([^"]+)-error"', html) + [
        f"f-{name}" for name in re.findall(r'id="e-([^"]+)"', html)
    ]
    assert any(one.startswith(beside) for one in wrong), wrong
    for value in change.values():
        assert not value.strip() or value in html or value == "{}"


def test_an_action_is_needed(browser: FlaskClient, rules: Rules) -> None:
    data = {name: value for name, value in typed().items() if not name.startswith("then")}
    html = shown(pages.post(browser, f"{rules.path}/new", data), 422)
    assert "then-error" in html


def test_the_second_of_two_sees_both_and_chooses(browser: FlaskClient, rules: Rules) -> None:
    (rule_id,) = rules.add(rule("券", "一"))
    path = f"{rules.path}/{rule_id}"
    with db.writing(rules.engine) as session:
        theirs = rule("券", "二", reply="对方的回复")
        drafts.save(session, rules.account.id, rule_id, theirs, version=1, by="Bo", now=rules.now)
    mine = typed(version="1", **{"when.0:member": "text_is", "when.0.text_is.any": "三"})
    html = shown(pages.post(browser, path, mine), 409)
    assert "Bo 在你编辑时保存了这条规则" in html
    assert "对方的回复" in html and "给你一张券" in html
    assert rules.listed()[0].body == theirs, "nothing was written over"
    chosen = {"take:when.0.text_is.any": "theirs", "take:then.0.reply.text": "mine"}
    html = shown(pages.post(browser, path, {**mine, **chosen, "do": "merge"}))
    form = pages.form(html, "editor")
    assert (form["version"], form["when.0.text_is.any"]) == ("2", "二")
    assert pages.post(browser, path, form).status_code == 303
    assert rules.listed()[0].body == rule("券", "二", reply="给你一张券")


def test_whatever_is_posted_is_answered(browser: FlaskClient, rules: Rules) -> None:
    """Made-up forms, the same at each run: kept, refused or saved, but never an error of ours."""
    (rule_id,) = rules.add(rule("甲"))
    dice = random.Random(3)
    members = [*registry.members("rules.conditions"), *registry.members("rules.actions"), "", "x.y"]
    values = [
        "",
        "1",
        "-1",
        "甲",
        "text",
        "true",
        "{",
        "a: [1",
        "9" * 400,
        "\x00\ud7ff",
        "2026-01-01T00:00",
        "*" * 300,
    ]
    mark = pages.mark(browser, f"{rules.path}/test")
    for _ in range(24):
        data = typed() if dice.random() < 0.5 else {"name": dice.choice(values)}
        for _field in range(dice.randrange(1, 12)):
            section, number = dice.choice(["when", "then"]), dice.randrange(3)
            member = dice.choice(members)
            data[f"{section}.{number}:member"] = member
            tail = dice.choice(
                [
                    "",
                    ":json",
                    ":kind",
                    ".any",
                    ".text",
                    ".image.file",
                    ".choices.0:kind",
                    ".raw:json",
                ]
            )
            data[f"{section}.{number}.{member}{tail}"] = dice.choice(values)
        data["version"] = dice.choice(["1", "99999999999999999999", "x"])
        data["do"] = dice.choice(["save", "merge", "add:when", "up:then:1", "remove:when:0", "x"])
        data["active.from"] = dice.choice(values)
        for path in ("new", str(rule_id), "fallback", "preview", "test"):
            sent = {**data, "csrf_token": mark}
            answer = browser.post(f"{rules.path}/{path}", data=sent, headers=HTMX)
            assert answer.status_code in (200, 409, 422), (path, data)


def test_a_new_rule_may_begin_with_what_was_asked(browser: FlaskClient, rules: Rules) -> None:
    html = shown(browser.get(f"{rules.path}/new?word=门店&word=地址&group=门店"))
    form = pages.form(html, "editor")
    assert form["name"] == "门店" and form["group"] == "门店"
    assert form["when.0.text_contains.any"] == "门店\r\n地址"
    html = shown(browser.get(f"{rules.path}/new?scene=store_1&key=M_1&follow=1&is=券"))
    assert pages.form(html, "editor")["when.0:member"] == "text_is"
    assert 'value="store_1"' in html


def test_a_reply_is_previewed_as_a_phone_shows_it(browser: FlaskClient, rules: Rules) -> None:
    data = typed(**{"then.0.reply.text": "你好 {昵称|朋友}" + HOSTILE})
    html = shown(pages.post(browser, f"{rules.path}/preview", data))
    assert "你好 朋友" in html and "<script" not in html
    assert "不回复" in shown(pages.post(browser, f"{rules.path}/preview", {}))


def test_a_member_nobody_defines_any_more_can_still_be_opened(
    browser: FlaskClient, rules: Rules
) -> None:
    (rule_id,) = rules.add(rule("旧"))
    with db.writing(rules.engine) as session:
        body = {**rule("旧"), "when": [{"moon_phase": {"is": "full"}}]}
        session.execute(
            sa.text("UPDATE rules SET body = :body").bindparams(
                sa.bindparam("body", body, type_=db.Json())
            )
        )
    html = shown(browser.get(f"{rules.path}/{rule_id}"))
    assert "moon_phase" in html and "full" in html
    assert "moon_phase" in shown(browser.get(rules.path))


# what a message gets that no rule answers


def test_the_fallback_is_edited(browser: FlaskClient, rules: Rules) -> None:
    path = f"{rules.path}/fallback"
    form = pages.form(shown(browser.get(path)), "editor")
    data = {
        "version": form["version"],
        "then.0:member": "reply",
        "then.0.reply:kind": "text",
        "then.0.reply.text": "没听懂",
    }
    assert pages.post(browser, path, data).status_code == 303
    assert "没听懂" in pages.text(browser.get(rules.path))
    html = shown(pages.post(browser, path, data), 409)
    assert "现在保存着的" in html and "没听懂" in html
    form = pages.form(html, "editor")
    wrong = {**form, "then.0.reply.text": " "}
    html = shown(pages.post(browser, path, wrong), 422)
    assert "then.0.reply-error" in html
    twice = {
        **form,
        "then.1:member": "reply",
        "then.1.reply:kind": "text",
        "then.1.reply.text": "x",
    }
    assert pages.post(browser, path, twice).status_code == 422
    file = {**form, "then.0.reply:kind": "image", "then.0.reply.image.file": "x.png"}
    assert "then.0.reply.image.file-error" in shown(pages.post(browser, path, file), 422)
    nothing = {"version": form["version"]}
    assert pages.post(browser, path, nothing).status_code == 303
    with db.reading(rules.engine) as session:
        assert rulebook.fallback(session, rules.account.id) is None


# the live test box


def test_the_box_shows_who_answers_and_why_nobody_else(browser: FlaskClient, rules: Rules) -> None:
    rules.add(
        rule("停用", "券", enabled=False),
        rule("别的", "别的"),
        {**rule("打标签", "券"), "then": [{"add_tag": {"tags": ["领券"]}}], "continue": True},
        rule("券", reply="你好 {昵称|朋友}"),
        rule("后面", "券"),
    )
    data = {"test:kind": "text", "test:text": "券", "test:against": "draft"}
    page = words(shown(pages.post(browser, f"{rules.path}/test", data, headers=HTMX)))
    assert "命中： 打标签 、 券" in page and "你好 朋友" in page and "领券" in page
    assert "停用 规则已停用" in page
    assert "别的 不符合：文字等于（别的）" in page
    assert "后面 条件都符合，但排在前面的「券」已经回复" in page
    data["test:against"] = "published"
    page = words(shown(pages.post(browser, f"{rules.path}/test", data, headers=HTMX)))
    assert "没有规则命中，不回复" in page


def test_the_box_tries_the_rule_that_is_being_typed(browser: FlaskClient, rules: Rules) -> None:
    (rule_id,) = rules.add(rule("券", "旧词"))
    data = typed(
        rule_id=str(rule_id),
        **{"test:kind": "text", "test:text": "我要券码", "test:against": "form"},
    )
    page = words(shown(pages.post(browser, f"{rules.path}/test", data, headers=HTMX)))
    assert "命中： 券" in page and "给你一张券" in page
    data["then.0.reply.text"] = " "
    assert "alert" in shown(pages.post(browser, f"{rules.path}/test", data, headers=HTMX), 422)


def test_the_box_plays_scans_taps_and_follows(browser: FlaskClient, rules: Rules) -> None:
    rules.add(
        {**rule("扫"), "when": [{"scan_scene": {"scene": "store_*"}}], "then": [{"reply": {"text": "门店 {1}"}}]},
        {**rule("点"), "when": [{"menu_key": {"any": ["M_1"]}}]},
        {**rule("关注"), "when": [{"subscribed_from": {}}]},
    )  # fmt: skip
    for data, expected in (
        ({"test:kind": "scan", "test:scene": "store_9"}, "门店 9"),
        ({"test:kind": "menu_click", "test:key": "M_1"}, "回复点"),
        ({"test:kind": "subscribe"}, "回复关注"),
        ({"test:kind": "text", "test:text": "TD"}, "退订由系统直接回复"),
        ({"test:kind": "image"}, "没有规则命中"),
    ):
        page = words(shown(pages.post(browser, f"{rules.path}/test", data)))
        assert expected in page, data
    answer = pages.post(browser, f"{rules.path}/test", {"test:kind": "bogus"}, headers=HTMX)
    assert answer.status_code == 422


def test_a_code_answers_itself_where_no_rule_does(browser: FlaskClient, rules: Rules) -> None:
    with db.writing(rules.engine) as session:
        session.execute(
            sa.text(
                'INSERT INTO scenes (account_id, key, name, "group", permanent, tags, reply)'
                " VALUES (:account, 'store_1', '一店', '', :yes, :tags, :reply)"
            ).bindparams(
                sa.bindparam("account", rules.account.id),
                sa.bindparam("yes", True),
                sa.bindparam("tags", [], type_=db.Json()),
                sa.bindparam("reply", {"text": "一店欢迎你"}, type_=db.Json()),
            )
        )
    data = {"test:kind": "scan", "test:scene": "store_1"}
    page = words(shown(pages.post(browser, f"{rules.path}/test", data, headers=HTMX)))
    assert "一店欢迎你" in page and "二维码自己的回复" in page


def test_the_box_takes_a_followers_tags_and_fields(
    browser: FlaskClient, rules: Rules, now: datetime
) -> None:
    with db.writing(rules.engine) as session:
        follower = factories.make_follower(
            session, rules.account.id, now=now, fields={"昵称": "小兰"}, messages=3
        )
        tag = factories.make_tag(session, rules.account.id, "老客")
        factories.give_tag(session, rules.account.id, follower, tag, now=now)
        other = factories.make_account(session, "shop", now=now)
        stranger = factories.make_follower(session, other, 2, now=now)
    rules.add(
        {**rule("老客"), "when": [{"follower_tag": {"has": "老客"}}], "then": [{"reply": {"text": "{昵称}"}}]}
    )  # fmt: skip
    data = {"test:kind": "text", "test:text": "x", "test:follower": str(follower)}
    html = shown(pages.post(browser, f"{rules.path}/test", data, headers=HTMX))
    assert "小兰" in html and factories.open_id(1) not in html, "an operator sees masked OpenIDs"
    data["test:follower"] = str(stranger)
    assert pages.post(browser, f"{rules.path}/test", data, headers=HTMX).status_code == 422
    offered = shown(browser.get(f"{rules.path}/test/followers"))
    assert f'value="{follower}"' in offered and f'value="{stranger}"' not in offered
    assert factories.open_id(1) not in offered


# publishing


def publish(browser: FlaskClient, rules: Rules, note: str = "") -> TestResponse:
    form = re.search(r'name="seen" value="([^"]+)"', shown(browser.get(f"{rules.path}/publish")))
    assert form
    return pages.post(browser, f"{rules.path}/publish", {"seen": form[1], "note": note})


def test_publishing_shows_what_changes_and_puts_it_in_force(
    browser: FlaskClient, rules: Rules
) -> None:
    first, second = rules.add(rule("甲"), rule("乙"))
    assert publish(browser, rules, "第一版").status_code == 303
    with db.writing(rules.engine) as session:
        by, now = "Bo", rules.now
        drafts.save(session, rules.account.id, first, rule("甲", "新词"), version=1, by=by, now=now)
        drafts.archive(session, rules.account.id, [second], by=by, now=now)
    rules.add(rule("丙"))
    page = words(shown(browser.get(f"{rules.path}/publish")))
    assert "与线上第 1 版的差别" in page and "新规则 1" in page and "已删除 1" in page
    assert "条件 1 · 文字等于 · 关键词 甲 新词" in page
    assert publish(browser, rules, HOSTILE).status_code == 303
    with db.reading(rules.engine) as session:
        assert rulebook.head(session, rules.account.id) == 2
    listed = shown(browser.get(f"/console/{rules.account.slug}/rulebooks"))
    assert "第一版" in listed and HOSTILE not in listed
    between = words(shown(browser.get(f"/console/{rules.account.slug}/rulebooks/diff/1/2")))
    assert "甲 新词" in between and "乙 已删除" in between
    assert rules.audited()[-1] == "rulebook.publish"


def test_what_nobody_looked_at_is_not_published(browser: FlaskClient, rules: Rules) -> None:
    rules.add(rule("甲"))
    html = shown(browser.get(f"{rules.path}/publish"))
    seen = pages.form(html, None)["seen"]
    rules.add(rule("乙"))
    html = shown(pages.post(browser, f"{rules.path}/publish", {"seen": seen, "note": "我的"}), 409)
    assert "我的" in html and "乙" in html
    seen = pages.form(html, None)["seen"]
    long = {"seen": seen, "note": "x" * 201}
    assert "e-note" in shown(pages.post(browser, f"{rules.path}/publish", long), 422)
    assert pages.post(browser, f"{rules.path}/publish", {"seen": seen}).status_code == 303


def test_overlaps_are_counted_beside(browser: FlaskClient, rules: Rules) -> None:
    path = f"{rules.path}/publish/findings"
    assert "没有发现重叠" in shown(browser.get(path))
    rules.add(
        {**rule("宽"), "when": [{"text_contains": {"any": ["券"]}}]},
        {**rule("窄"), "when": [{"text_contains": {"any": ["优惠券过期"]}}]},
    )
    assert "被遮挡 1" in words(shown(browser.get(path)))


def test_rolling_back_publishes_an_old_rulebook_and_may_take_the_drafts_along(
    browser: FlaskClient, rules: Rules
) -> None:
    rules.add(rule("甲"))
    rules.publish()
    rules.add(rule("乙"))
    rules.publish()
    path = f"/console/{rules.account.slug}/rulebooks/1/roll-back"
    page = words(shown(browser.get(path)))
    assert "替换线上的第 2 版" in page and "乙 已删除" in page
    assert pages.post(browser, path, {"current": "1"}).status_code == 409
    assert pages.post(browser, path, {"current": "2"}).status_code == 303
    assert rules.names() == "甲乙", "the drafts stayed"
    assert pages.post(browser, path, {"current": "3", "drafts": "1"}).status_code == 303
    assert rules.names() == "甲"
    with db.reading(rules.engine) as session:
        assert rulebook.head(session, rules.account.id) == 4
        assert rulebook.snapshot(session, rules.account.id, 4)["rules"] == [rule("甲")]
    assert rules.audited()[-2:] == ["rulebook.roll_back", "rule.restore"]


# who may


def test_who_reads_sees_rules_and_changes_none(
    as_role: Callable[..., FlaskClient], rules: Rules
) -> None:
    (rule_id,) = rules.add(rule("甲"))
    rules.publish()
    viewer = as_role("viewer")
    for path in (
        rules.path, f"{rules.path}/{rule_id}", f"{rules.path}/test", f"{rules.path}/fallback",
        f"{rules.path}/publish", f"/console/{rules.account.slug}/rulebooks",
    ):  # fmt: skip
        html = shown(viewer.get(path))
        assert "保存草稿" not in html and "新建规则" not in html, path
    for path in (
        f"{rules.path}/new", f"{rules.path}/{rule_id}", f"{rules.path}/order", f"{rules.path}/bulk",
        f"{rules.path}/delete", f"{rules.path}/fallback", f"{rules.path}/{rule_id}/switch",
        f"{rules.path}/publish", f"/console/{rules.account.slug}/rulebooks/1/roll-back",
    ):  # fmt: skip
        assert pages.post(viewer, path, typed()).status_code == 403, path
    developer = as_role("developer")
    assert pages.post(developer, f"{rules.path}/new", typed()).status_code == 303
    assert pages.post(developer, f"{rules.path}/publish", {}).status_code == 403
    assert as_role("agent").get(rules.path).status_code == 403


def test_another_accounts_rules_are_not_found(
    browser: FlaskClient, rules: Rules, now: datetime
) -> None:
    (rule_id,) = rules.add(rule("甲"))
    rules.publish()
    with db.writing(rules.engine) as session:
        factories.make_account(session, "shop", now=now)
        session.execute(sa.update(accounts_table).values(name="x"))
    shop = "/console/shop"
    for path in (
        f"{shop}/rules/{rule_id}", f"{shop}/rules/{rule_id}/delete", f"{shop}/rulebooks/diff/0/1",
        f"{shop}/rulebooks/1/roll-back", f"{shop}/rules/{10**25}", f"{shop}/rulebooks/diff/0/{10**25}",
    ):  # fmt: skip
        assert browser.get(path).status_code == 404, path
    for path in (f"{shop}/rules/{rule_id}", f"{shop}/rules/{rule_id}/switch"):
        assert pages.post(browser, path, typed(version="1")).status_code == 404
    pages.post(browser, f"{shop}/rules/delete", {"ids": str(rule_id)})
    pages.post(browser, f"{shop}/rules/bulk", {"ids": str(rule_id), "action": "off"})
    assert rules.listed()[0].body == rule("甲")


def test_a_post_without_the_mark_changes_nothing(browser: FlaskClient, rules: Rules) -> None:
    assert browser.post(f"{rules.path}/new", data=typed()).status_code == 400
    assert rules.listed() == []
