"""The pages of tags: families, numbers with their age, the platform's room, merging and putting away."""

import csv
import io
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import db, rulebook, tag_families, tag_merge, workers
from bot.accounts import Account
from bot.runtime import Runtime
from bot.tables.followers import follower_tags
from bot.tables.followers import tags as tags_table
from bot.tables.jobs import jobs
from bot.tables.operators import audit
from bot.tables.rulebooks import rules
from tests import factories
from tests.bot.console import pages

Role = Callable[..., FlaskClient]
LIST = "/console/muyan/tags"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def tags(engine: sa.Engine, account: Account, now: datetime) -> dict[str, int]:
    """会员 with two people and named by a rule, 老会员 with one of them, 同步的 that the platform refused."""
    rule: dict[str, Any] = {
        "name": "领券",
        "when": [],
        "then": [{"add_tag": {"tags": ["会员"]}}],
    }
    with db.writing(engine) as session:
        ids = {
            "会员": factories.make_tag(session, account.id, "会员", family="价值"),
            "老会员": factories.make_tag(session, account.id, "老会员"),
            "同步的": factories.make_tag(
                session, account.id, "同步的", sync=True, error="标签名超过平台的 30 字节"
            ),
        }
        lan, ming = factories.make_followers(session, account.id, 2, now=now)
        for who, name in ((lan, "会员"), (ming, "会员"), (lan, "老会员")):
            factories.give_tag(session, account.id, who, ids[name], now=now)
        session.execute(
            sa.insert(rules).values(
                account_id=account.id, name="领券", position=0, body=rule, origin="file"
            )
        )
        body: dict[str, Any] = {"rules": [rule], "fallback": None}
        rulebook.publish(session, account.id, body, by="Ann", note="", now=now)
        return ids


def audited(engine: sa.Engine) -> list[Any]:
    with db.reading(engine) as session:
        return list(
            session.execute(
                sa.select(audit.c.action, audit.c.before, audit.c.after)
                .where(audit.c.action.like("tag.%"))
                .order_by(audit.c.id)
            ).all()
        )


def waiting(engine: sa.Engine) -> list[str]:
    with db.reading(engine) as session:
        return list(session.execute(sa.select(jobs.c.name).order_by(jobs.c.id)).scalars())


def people(engine: sa.Engine, tag_id: int) -> int:
    with db.reading(engine) as session:
        counted = sa.select(sa.func.count()).where(follower_tags.c.tag_id == tag_id)
        return int(session.execute(counted).scalar_one())


def test_families_are_tabs_with_numbers_and_errors_in_words(
    browser: FlaskClient, tags: dict[str, int]
) -> None:
    page = pages.text(browser.get(LIST))
    assert "共 3 个标签" in page
    assert "价值 1" in page
    assert "平台标签 0 / 100" in page
    assert "标签名超过平台的 30 字节" in page
    assert "还没有统计" in page
    one = pages.text(browser.get(f"{LIST}?family=价值"))
    assert "共 1 个标签" in one
    assert "没有符合条件的标签" in pages.text(browser.get(f"{LIST}?q=没有的"))
    assert "共 1 个标签" in pages.text(browser.get(f"{LIST}?sync=failed"))


@pytest.mark.sqlite
def test_an_account_without_tags_says_what_they_are_for(
    browser: FlaskClient, account: Account
) -> None:
    assert "还没有标签" in pages.text(browser.get(LIST))


def test_people_are_counted_by_a_job_and_shown_with_the_time(
    browser: FlaskClient, rt: Runtime, tags: dict[str, int]
) -> None:
    answer = pages.post(browser, f"{LIST}/count")
    workers.run_due(rt)
    assert "已完成" in pages.text(browser.get(answer.location))
    page = pages.text(browser.get(f"{LIST}?sort=-people"))
    assert page.index("会员") < page.index("老会员")
    assert "03-03 09:00" in page


def test_a_tag_is_made_and_a_wrong_one_is_told_beside_its_field(
    browser: FlaskClient, tags: dict[str, int], engine: sa.Engine
) -> None:
    given = {"name": "新客", "family": "客户信息", "expires_after_days": "90", "sync": "1"}
    for wrong, field in (
        ({"name": "会员"}, "name"),
        ({"name": " "}, "name"),
        ({"family": "别的"}, "family"),
        ({"expires_after_days": "一"}, "expires_after_days"),
        ({"expires_after_days": "99999999999"}, "expires_after_days"),
    ):
        answer = pages.post(browser, f"{LIST}/new", given | wrong)
        assert answer.status_code == 422
        assert f'id="e-{field}"' in answer.get_data(as_text=True)
        assert "checked" in answer.get_data(as_text=True)
    assert pages.post(browser, f"{LIST}/new", given).status_code == 303
    ((action, before, after),) = audited(engine)
    assert (action, before) == ("tag.add", None)
    assert after == {"name": "新客", "family": "客户信息", "sync": True, "expires_after_days": 90}
    assert waiting(engine) == ["sync_tags"]


def test_a_new_name_goes_everywhere_and_the_audit_has_both(
    browser: FlaskClient, tags: dict[str, int], engine: sa.Engine, account: Account
) -> None:
    path = f"{LIST}/{tags['会员']}"
    assert "规则：领券" in pages.text(browser.get(path))
    data = {"name": "VIP", "family": "价值", "expires_after_days": "", "sync": ""}
    assert pages.post(browser, path, data).status_code == 303
    with db.reading(engine) as session:
        body = rulebook.snapshot(session, account.id, rulebook.head(session, account.id))
    assert body["rules"][0]["then"] == [{"add_tag": {"tags": ["VIP"]}}]
    ((action, before, after),) = audited(engine)
    assert action == "tag.edit"
    assert (before["name"], after["name"]) == ("会员", "VIP")


def test_a_merge_says_first_what_it_does_to_how_many(
    browser: FlaskClient, tags: dict[str, int], engine: sa.Engine
) -> None:
    path = f"{LIST}/{tags['会员']}/merge"
    assert "选择要合并到的标签" in pages.text(browser.get(path))
    asked = pages.text(browser.get(f"{path}?into=老会员"))
    assert "「会员」的 2 位粉丝会改为「老会员」，其中 1 位两个都有" in asked
    assert "规则：领券" in asked
    assert "正在生效的规则" in asked
    assert people(engine, tags["会员"]) == 2, "asking changes nothing"
    answer = pages.post(browser, path, {"into": "老会员", "sure": "1"})
    assert answer.status_code == 303
    assert (people(engine, tags["会员"]), people(engine, tags["老会员"])) == (0, 2)
    ((action, before, after),) = audited(engine)
    assert (action, before["name"], after) == ("tag.merge", "会员", {"into": "老会员", "people": 2})
    assert pages.post(browser, path, {"into": "老会员", "sure": "1"}).status_code == 404


@pytest.mark.sqlite
def test_a_merge_that_cannot_be_is_refused_in_words(
    browser: FlaskClient, tags: dict[str, int]
) -> None:
    for into in ("会员", "没有", "老会员' --"):
        answer = pages.post(browser, f"{LIST}/{tags['会员']}/merge", {"into": into, "sure": "1"})
        assert answer.status_code == 409
        assert "现在不能这样做" in answer.get_data(as_text=True)


def test_a_merge_of_many_shows_its_progress(
    browser: FlaskClient,
    rt: Runtime,
    tags: dict[str, int],
    engine: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # five thousand people would only make the test slow
    monkeypatch.setattr(tag_merge, "AT_ONCE", 1)
    path = f"{LIST}/{tags['会员']}/merge"
    assert "在后台分批进行" in pages.text(browser.get(f"{path}?into=老会员"))
    answer = pages.post(browser, path, {"into": "老会员", "sure": "1"})
    assert "/progress/" in answer.location
    assert "进行中" in pages.text(browser.get(answer.location))
    again = pages.post(browser, f"{LIST}/{tags['老会员']}/merge", {"into": "同步的", "sure": "1"})
    assert again.status_code == 409
    workers.run_due(rt, limit=10)
    assert "已完成" in pages.text(browser.get(answer.location))
    assert (people(engine, tags["会员"]), people(engine, tags["老会员"])) == (0, 2)


def test_a_tag_in_use_is_not_put_away_and_one_that_is_comes_back(
    browser: FlaskClient, tags: dict[str, int], engine: sa.Engine
) -> None:
    used = pages.text(browser.get(f"{LIST}/{tags['会员']}/archive"))
    assert "还在使用" in used
    assert "规则：领券" in used
    path = f"{LIST}/{tags['老会员']}/archive"
    assert "1 位粉丝有这个标签" in pages.text(browser.get(path))
    assert pages.post(browser, path).status_code == 303
    assert "共 2 个标签" in pages.text(browser.get(LIST))
    assert "老会员" in pages.text(browser.get(f"{LIST}?state=archived"))
    assert pages.post(browser, f"{LIST}/{tags['老会员']}/restore").status_code == 303
    assert people(engine, tags["老会员"]) == 1
    assert [row[0] for row in audited(engine)] == ["tag.archive", "tag.restore"]


@pytest.mark.sqlite
def test_who_may_only_look_changes_nothing(as_role: Role, tags: dict[str, int]) -> None:
    one = f"{LIST}/{tags['老会员']}"
    for role in ("agent", "viewer"):
        client = as_role(role)
        assert client.get(LIST).status_code == 200
        assert "合并" not in pages.text(client.get(LIST))
        assert client.get(one).status_code == 403
        for path in ("", "/merge", "/archive", "/restore"):
            assert pages.post(client, f"{one}{path}", {"name": "x"}).status_code == 403
    assert as_role("requester").get(LIST).status_code == 403


def test_another_accounts_tag_is_not_there(
    browser: FlaskClient, tags: dict[str, int], engine: sa.Engine, now: datetime
) -> None:
    with db.writing(engine) as session:
        shop = factories.make_account(session, "shop", now=now)
        theirs = factories.make_tag(session, shop, "别家的")
    for number in (theirs, 10**30):
        for path in ("", "/merge", "/archive"):
            assert browser.get(f"{LIST}/{number}{path}").status_code == 404
            assert pages.post(browser, f"{LIST}/{number}{path}").status_code == 404
        assert pages.post(browser, f"{LIST}/{number}/restore").status_code in (404, 409)
    refused = pages.post(browser, f"{LIST}/{tags['会员']}/merge", {"into": "别家的", "sure": "1"})
    assert refused.status_code == 409


@pytest.mark.sqlite
def test_names_with_scripts_and_formulas_are_only_texts(
    browser: FlaskClient, engine: sa.Engine, account: Account
) -> None:
    with db.writing(engine) as session:
        for name in (SCRIPT, "=1+1"):
            tag_families.add(
                session,
                account.id,
                name=name,
                family="价值",
                sync=False,
                expires_after_days=None,
            )
        bad = session.execute(
            sa.select(tags_table.c.id).where(tags_table.c.name == SCRIPT)
        ).scalar()
    for path in ("", f"/{bad}", f"/{bad}/merge?into=%3D1%2B1", f"/{bad}/archive"):
        assert SCRIPT not in browser.get(f"{LIST}{path}").get_data(as_text=True)
    text = browser.get(f"{LIST}?format=csv").get_data(as_text=True).removeprefix("\ufeff")
    assert [row[0] for row in csv.reader(io.StringIO(text))][1:] == [SCRIPT, "'=1+1"]


@pytest.mark.sqlite
def test_a_thousand_tags_stay_a_small_page(
    browser: FlaskClient, engine: sa.Engine, account: Account
) -> None:
    with db.writing(engine) as session:
        session.execute(
            sa.insert(tags_table),
            [
                {"account_id": account.id, "name": f"标签{n}", "family": "价值", "sync": False}
                for n in range(1000)
            ],
        )
    for path in (LIST, "/console/muyan/followers"):
        page = browser.get(path)
        assert len(page.data) < 60_000
    assert "共 1,000" in pages.text(browser.get(LIST))
