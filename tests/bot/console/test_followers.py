"""The pages of followers: found, changed, exported, imported, erased; and what must not work."""

import csv
import io
import re
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import xlsxwriter
from flask.testing import FlaskClient
from openpyxl import load_workbook

from bot import db, follower_files, workers
from bot.accounts import Account
from bot.runtime import Runtime
from bot.tables.campaigns import mass_ledger
from bot.tables.followers import follower_tags, followers, reply_windows
from bot.tables.followers import tags as tags_table
from bot.tables.jobs import jobs
from bot.tables.operators import audit
from tests import factories, pushes
from tests.bot.console import pages

Role = Callable[..., FlaskClient]
LIST = "/console/muyan/followers"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def lan(engine: sa.Engine, account: Account, now: datetime) -> int:
    """Lan follows, has a remark, a field and the tag 会员 from a scan."""
    with db.writing(engine) as session:
        follower = factories.make_follower(
            session,
            account.id,
            1,
            now=now,
            remark="王小明",
            remark_search="王小明 wxm wangxiaoming",
            fields={"肤质": "油", "年龄": 30},
            first_source="ADD_SCENE_SEARCH",
        )
        tag = factories.make_tag(session, account.id, "会员", family="价值")
        session.execute(
            sa.insert(follower_tags).values(
                account_id=account.id,
                follower_id=follower,
                tag_id=tag,
                origin="scene:store_01",
                added_at=now,
                expires_at=now + timedelta(days=90),
            )
        )
        factories.make_tag(session, account.id, "活动敏感")
        return follower


def run_jobs(rt: Runtime) -> None:
    workers.run_due(rt)


def tags_of(engine: sa.Engine, follower_id: int) -> set[str]:
    with db.reading(engine) as session:
        found = session.execute(
            sa.select(tags_table.c.name)
            .select_from(follower_tags.join(tags_table, tags_table.c.id == follower_tags.c.tag_id))
            .where(follower_tags.c.follower_id == follower_id)
        )
        return set(found.scalars())


def audited(engine: sa.Engine) -> list[tuple[str, str, Any, Any]]:
    with db.reading(engine) as session:
        rows = session.execute(
            sa.select(audit.c.action, audit.c.object, audit.c.before, audit.c.after)
            .where(audit.c.action.like("follower%"))
            .order_by(audit.c.id)
        )
        return [tuple(row) for row in rows]


def test_the_list_finds_by_pinyin_initials_and_shows_where_somebody_came_from(
    browser: FlaskClient, lan: int, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        factories.make_follower(session, account.id, 2, now=now)
    page = pages.text(browser.get(f"{LIST}?q=wxm"))
    assert "王小明" in page
    assert "公众号搜索" in page
    assert "共 1 位粉丝" in page
    assert "共 2 位粉丝" in pages.text(browser.get(LIST))
    assert "没有符合条件的粉丝" in pages.text(browser.get(f"{LIST}?tag=活动敏感"))


@pytest.mark.sqlite
def test_an_account_without_followers_says_what_to_do_next(
    browser: FlaskClient, account: Account
) -> None:
    assert "还没有粉丝" in pages.text(browser.get(LIST))


def test_pages_follow_one_another_by_key(
    browser: FlaskClient, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        ids = factories.make_followers(session, account.id, 35, now=now)
    first = browser.get(LIST).get_data(as_text=True)
    assert "共 35" in pages.text(browser.get(LIST))
    onward = re.search(r'href="([^"]+)" *>?[^<]*下一页', first) or re.search(
        r'rel="next" href="([^"]+)"', first
    )
    assert onward
    second = browser.get(onward[1].replace("&amp;", "&")).get_data(as_text=True)
    seen = re.findall(r"/followers/(\d+)\"", first) + re.findall(r"/followers/(\d+)\"", second)
    assert sorted(map(int, seen)) == ids
    assert len(first.encode()) < 60_000


def test_an_address_that_makes_no_sense_is_told_so(browser: FlaskClient, lan: int) -> None:
    for query in (
        "after=nonsense",
        "after=" + "x" * 5000,
        "from=gestern",
        "until=0001-01-01",
        "q=" + "x" * 101,
        "q=%00",
        "page=-1",
    ):
        answer = browser.get(f"{LIST}?{query}")
        assert answer.status_code == 422, query
        assert "填写有误" in answer.get_data(as_text=True)


def test_an_address_of_another_time_still_works(browser: FlaskClient, lan: int) -> None:
    for query in (
        "sort=password",
        "status=x",
        "columns=nothing",
        "tag=%27%20OR%201=1",
        "q=%25_%5C",
    ):
        assert browser.get(f"{LIST}?{query}").status_code == 200, query


@pytest.mark.sqlite
def test_scripts_in_remarks_fields_and_tags_are_shown_as_text(
    browser: FlaskClient, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        bad = factories.make_follower(
            session, account.id, 3, now=now, remark=SCRIPT, fields={SCRIPT: SCRIPT}
        )
        factories.give_tag(
            session,
            account.id,
            bad,
            factories.make_tag(session, account.id, SCRIPT),
            now=now,
        )
    for path in (f"{LIST}?columns=who&columns=remark&columns=tags&columns=fields", f"{LIST}/{bad}"):
        page = browser.get(path).get_data(as_text=True)
        assert SCRIPT not in page
        assert "&lt;script&gt;" in page


@pytest.mark.sqlite
def test_who_may_not_see_openids_sees_their_ends(as_role: Role, lan: int) -> None:
    whole = factories.open_id(1)
    for role, sees in (("admin", True), ("lead", True), ("operator", False), ("viewer", False)):
        client = as_role(role)
        for path in (LIST, f"{LIST}/{lan}"):
            assert (whole in client.get(path).get_data(as_text=True)) is sees, (role, path)
        found = pages.text(client.get(f"{LIST}?q={whole}"))
        assert ("共 1 位" in found) is sees, role


@pytest.mark.sqlite
def test_each_role_may_what_it_should(as_role: Role, lan: int) -> None:
    one = f"{LIST}/{lan}"
    allowed = {
        "agent": {"tag"},
        "operator": {"tag", "csv", "export"},
        "viewer": set(),
        "admin": {"tag", "csv", "export", "erase"},
    }
    for role, may in allowed.items():
        client = as_role(role)
        assert client.get(one).status_code == 200
        tagged = pages.post(client, f"{one}/tags", {"tag": "活动敏感"})
        assert (tagged.status_code == 303) is ("tag" in may), role
        assert (client.get(f"{LIST}?format=csv").status_code == 200) is ("csv" in may), role
        assert (client.get(f"{LIST}/import").status_code == 200) is ("csv" in may), role
        exported = pages.post(client, f"{one}/export")
        assert (exported.status_code == 200) is ("export" in may), role
        assert (client.get(f"{one}/erase").status_code == 200) is ("erase" in may), role
    assert as_role("requester").get(LIST).status_code == 403


def test_another_accounts_follower_is_not_there(
    browser: FlaskClient, as_role: Role, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        shop = factories.make_account(session, "shop", now=now)
        theirs = factories.make_follower(session, shop, 5, now=now, remark="别家的")
        factories.make_tag(session, account.id, "会员")
    admin = as_role("admin")
    for number in (theirs, 10**18, 10**30, 0):
        for path in ("", "/story", "/marketing", "/erase"):
            assert admin.get(f"{LIST}/{number}{path}").status_code == 404
        for path in ("/edit", "/tags", "/export", "/erase", "/marketing"):
            data = {"tag": "会员", "typed": "删除"}
            assert pages.post(admin, f"{LIST}/{number}{path}", data).status_code == 404
    data = {"ids": [theirs, 10**30], "action": "tag", "tag": "会员"}
    assert "没有选择粉丝" in pages.text(
        pages.post(browser, f"{LIST}/bulk", data, follow_redirects=True)
    )
    assert tags_of(engine, theirs) == set()


def test_the_page_says_who_what_and_why(
    browser: FlaskClient,
    client: FlaskClient,
    lan: int,
    engine: sa.Engine,
    account: Account,
    now: datetime,
) -> None:
    with db.writing(engine) as session:
        session.execute(
            sa.insert(reply_windows).values(
                follower_id=lan,
                opened_by="message",
                account_id=account.id,
                opened_at=now,
                expires_at=now + timedelta(hours=47, minutes=30),
                left=4,
            )
        )
        session.execute(
            sa.insert(mass_ledger).values(
                follower_id=lan,
                month="2025-03",
                account_id=account.id,
                reserved=1,
                spent=2,
                external=0,
            )
        )
    page = pages.text(browser.get(f"{LIST}/{lan}"))
    assert "发消息打开，还剩 47 小时 30 分、4 条" in page
    assert "本月群发剩余 1 / 4" in page
    assert "扫码「store_01」" in page
    assert "到期" in page
    assert "获得标签「会员」" in page


def test_every_tag_leads_to_what_gave_it(
    browser: FlaskClient, rt: Runtime, lan: int, engine: sa.Engine, account: Account, now: datetime
) -> None:
    pushes.post(browser, pushes.text("你好", at=now), at=now)
    with db.writing(engine) as session:
        session.execute(sa.update(follower_tags).values(origin="rule:领券", caused_by=1))
    page = browser.get(f"{LIST}/{lan}").get_data(as_text=True)
    assert f'href="/console/muyan/followers/{lan}?push=1#cause"' in page
    cause = pages.text(browser.get(f"{LIST}/{lan}?push=1"))
    assert "起因的推送" in cause
    assert "你好" in cause
    gone = pages.text(browser.get(f"{LIST}/{lan}?push=99999999999999999999"))
    assert "已过保留期" in gone


def test_remark_and_fields_are_edited_with_before_and_after(
    browser: FlaskClient, lan: int, engine: sa.Engine
) -> None:
    data = {"remark": "张三", "field": ["肤质", "年龄", "城市"], "value": ["", "31", "上海"]}
    answer = pages.post(browser, f"{LIST}/{lan}/edit", data)
    assert answer.status_code == 303
    with db.reading(engine) as session:
        row = session.execute(sa.select(followers).where(followers.c.id == lan)).one()
        told = session.execute(sa.select(jobs.c.name)).scalars().all()
    assert (row.remark, row.remark_search) == ("张三", "张三 zs zhangsan")
    assert row.fields == {"年龄": 31, "城市": "上海"}
    assert told == ["tell_remark"]
    ((action, thing, before, after),) = audited(engine)
    assert (action, thing) == ("follower.edit", f"follower:{lan}")
    assert before == {"remark": "王小明", "肤质": "油", "年龄": 30, "城市": None}
    assert after == {"remark": "张三", "肤质": None, "年龄": 31, "城市": "上海"}
    assert "修改资料" in pages.text(browser.get(f"{LIST}/{lan}"))


def test_a_wrong_edit_says_so_beside_the_field_and_keeps_what_was_typed(
    browser: FlaskClient, lan: int, engine: sa.Engine
) -> None:
    data = {"remark": "字" * 31, "field": ["城市"], "value": ["上海"]}
    answer = pages.post(browser, f"{LIST}/{lan}/edit", data)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "字" * 31 in page
    assert "上海" in page
    assert 'id="e-remark"' in page
    with db.reading(engine) as session:
        fields = session.execute(
            sa.select(followers.c.fields).where(followers.c.id == lan)
        ).scalar_one()
    assert fields == {"肤质": "油", "年龄": 30}, "nothing is saved half"


def test_a_tag_is_given_and_taken_and_both_are_told(
    browser: FlaskClient, lan: int, engine: sa.Engine
) -> None:
    pages.post(browser, f"{LIST}/{lan}/tags", {"tag": "活动敏感"})
    assert tags_of(engine, lan) == {"会员", "活动敏感"}
    assert "Ann 手工添加" in pages.text(browser.get(f"{LIST}/{lan}"))
    pages.post(browser, f"{LIST}/{lan}/tags", {"remove": "会员"})
    assert tags_of(engine, lan) == {"活动敏感"}
    assert [row[0] for row in audited(engine)] == ["follower.tag", "follower.untag"]
    assert pages.post(browser, f"{LIST}/{lan}/tags", {"tag": "没有"}).status_code == 409


def test_no_more_marketing_asks_first(
    browser: FlaskClient, lan: int, engine: sa.Engine, now: datetime
) -> None:
    asked = pages.text(browser.get(f"{LIST}/{lan}/marketing"))
    assert "影响 1 人" in asked
    for wanted, expected in (("1", now), ("0", None)):
        pages.post(browser, f"{LIST}/{lan}/marketing", {"out": wanted})
        with db.reading(engine) as session:
            out = session.execute(
                sa.select(followers.c.opted_out_at).where(followers.c.id == lan)
            ).scalar_one()
        assert out == expected
    assert [row[0] for row in audited(engine)] == ["follower.opt_out", "follower.opt_in"]


def test_an_erasure_needs_the_typed_word_and_leaves_only_the_row_in_the_audit(
    as_role: Role, lan: int, engine: sa.Engine
) -> None:
    admin = as_role("admin")
    path = f"{LIST}/{lan}/erase"
    asked = pages.text(admin.get(path))
    assert "将永久删除 1 个人" in asked
    assert "此人还在关注" in asked
    refused = pages.post(admin, path, {"typed": "delete"})
    assert refused.status_code == 422
    assert "没有删除" in refused.get_data(as_text=True)
    assert tags_of(engine, lan) == {"会员"}
    assert pages.post(admin, path, {"typed": "删除"}).status_code == 303
    assert tags_of(engine, lan) == set()
    assert "已删除" in pages.text(admin.get(f"{LIST}/{lan}"))
    assert admin.get(path).status_code == 404
    assert pages.post(admin, f"{LIST}/{lan}/edit", {"remark": "x"}).status_code == 404
    ((action, thing, before, after),) = audited(engine)
    assert (action, thing, before, after) == ("follower.erase", f"follower:{lan}", None, None)


@pytest.mark.sqlite
def test_one_persons_file_is_a_zip_and_noted(
    browser: FlaskClient, lan: int, engine: sa.Engine
) -> None:
    answer = pages.post(browser, f"{LIST}/{lan}/export")
    assert answer.mimetype == "application/zip"
    packed = zipfile.ZipFile(io.BytesIO(answer.data))
    assert packed.namelist() == ["person.json"]
    told = packed.read("person.json").decode()
    assert "王小明" in told
    assert factories.open_id(1) not in told, "an operator sees no whole OpenIDs"
    assert [row[0] for row in audited(engine)] == ["follower.export"]


def test_chosen_followers_get_a_tag_at_once_and_losing_one_is_asked(
    browser: FlaskClient, lan: int, engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        other = factories.make_follower(session, account.id, 2, now=now)
    data: dict[str, Any] = {"ids": [lan, other], "action": "tag", "tag": "会员"}
    told = pages.text(pages.post(browser, f"{LIST}/bulk", data, follow_redirects=True))
    assert "已为 1 位粉丝添加标签「会员」" in told  # the other one had it
    asked = pages.post(browser, f"{LIST}/bulk", data | {"action": "untag"})
    assert "2 位粉丝会失去标签「会员」" in pages.text(asked)
    assert tags_of(engine, other) == {"会员"}
    sure = data | {"action": "untag", "sure": "1"}
    assert pages.post(browser, f"{LIST}/bulk", sure).status_code == 303
    assert tags_of(engine, other) == tags_of(engine, lan) == set()


def test_all_who_match_are_tagged_by_a_job_after_the_number_was_said(
    browser: FlaskClient,
    rt: Runtime,
    lan: int,
    engine: sa.Engine,
    account: Account,
    now: datetime,
) -> None:
    with db.writing(engine) as session:
        ids = [
            factories.make_follower(session, account.id, n, now=now, first_source="store_01")
            for n in range(2, 5)
        ]
        factories.make_tag(session, account.id, "门店")
    data = {
        "everything": "1",
        "query": "opted_out=0&active=-30&from=2025-01-01&tag=&status=",
        "action": "tag",
        "tag": "门店",
    }
    asked = pages.text(pages.post(browser, f"{LIST}/bulk", data))
    assert "4 位粉丝会获得标签「门店」" in asked
    answer = pages.post(browser, f"{LIST}/bulk", data | {"sure": "1"})
    assert "/console/muyan/progress/" in answer.location
    assert browser.get(answer.location).status_code == 200
    run_jobs(rt)
    assert all("门店" in tags_of(engine, one) for one in (lan, *ids))
    assert "已完成" in pages.text(browser.get(answer.location))
    with db.reading(engine) as session:
        progress = session.execute(sa.select(jobs.c.progress)).scalar_one()
    assert progress == {"done": 4, "total": 4}


@pytest.mark.sqlite
def test_a_bulk_form_that_was_tampered_with_is_refused(browser: FlaskClient, lan: int) -> None:
    for data in (
        {"ids": "1", "action": "drop", "tag": "会员"},
        {"ids": "1;--", "action": "tag", "tag": "会员"},
        {"ids": "１", "action": "tag", "tag": "会员"},
        {"everything": "1", "query": "from=x", "action": "tag", "tag": "会员"},
    ):
        assert pages.post(browser, f"{LIST}/bulk", data).status_code == 422, data


def table(answer: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(answer.get_data(as_text=True).removeprefix("\ufeff"))))


def test_the_list_as_csv_is_safe_to_open_and_masked_by_role(
    browser: FlaskClient,
    as_role: Role,
    lan: int,
    engine: sa.Engine,
    account: Account,
    now: datetime,
) -> None:
    with db.writing(engine) as session:
        factories.make_follower(
            session, account.id, 2, now=now, remark='=HYPERLINK("http://x")', fields={"a": "+1+1"}
        )
    header, first, second = table(browser.get(f"{LIST}?format=csv"))
    assert header[:4] == ["OpenID", "备注", "标签", "状态"]
    assert header[-3:] == ["字段:a", "字段:年龄", "字段:肤质"]
    assert (first[1], first[2], first[-2:]) == ("王小明", "会员", ["30", "油"])
    assert second[1] == '\'=HYPERLINK("http://x")'
    assert second[-3] == "'+1+1"
    assert first[0] != factories.open_id(1)
    rows = table(as_role("admin").get(f"{LIST}?format=csv&q=wxm"))
    assert [row[0] for row in rows[1:]] == [factories.open_id(1)]
    assert [row[0] for row in audited(engine)] == ["followers.export"] * 2


@pytest.mark.sqlite
def test_the_list_as_excel_holds_texts_and_no_formulas(browser: FlaskClient, lan: int) -> None:
    answer = browser.get(f"{LIST}?format=xlsx")
    sheet = load_workbook(io.BytesIO(answer.data)).worksheets[0]
    rows = list(sheet.iter_rows(values_only=True))
    assert rows[0][:2] == ("OpenID", "备注")
    assert rows[1][1] == "王小明"
    assert browser.get(f"{LIST}?format=exe").status_code == 422


def upload(client: FlaskClient, data: bytes, name: str = "a.csv") -> Any:
    return pages.post(
        client,
        f"{LIST}/import",
        {"file": [(io.BytesIO(data), name)]},
        content_type="multipart/form-data",
    )


CSV = (
    f"OpenID,备注,标签,字段:城市,别的\n"
    f"{factories.open_id(1)},李四,新客、活动敏感,上海,x\n"
    f"{factories.open_id(99)},谁,,,\n"
    f"不是,x,,,\n"
    f"{factories.open_id(1)},再来,,,\n"
)


@pytest.mark.parametrize("coding", ["utf-8-sig", "gb18030"])
def test_an_upload_is_looked_at_first_and_then_done_by_a_job_once(
    browser: FlaskClient, rt: Runtime, lan: int, engine: sa.Engine, coding: str
) -> None:
    answer = upload(browser, CSV.encode(coding))
    assert answer.status_code == 303
    looked = pages.text(browser.get(answer.location))
    assert "会更新 1 位粉丝" in looked
    assert "第 3 行" in looked  # nobody here has this OpenID
    assert "第 4 行：" in looked
    assert "第 5 行：" in looked  # the same person again
    assert "别的" in looked
    assert "新客" in looked
    assert tags_of(engine, lan) == {"会员"}
    done = pages.post(browser, answer.location)
    assert "/progress/" in done.location
    assert pages.post(browser, answer.location).status_code in (404, 409)
    run_jobs(rt)
    with db.reading(engine) as session:
        row = session.execute(sa.select(followers).where(followers.c.id == lan)).one()
        assert session.execute(sa.select(sa.func.count()).select_from(followers)).scalar() == 1
    assert (row.remark, row.remark_search) == ("李四", "李四 ls lisi")
    assert row.fields == {"肤质": "油", "年龄": 30, "城市": "上海"}
    assert tags_of(engine, lan) == {"会员", "新客", "活动敏感"}


def test_importing_twice_and_importing_what_was_exported_changes_nothing(
    as_role: Role, rt: Runtime, lan: int, engine: sa.Engine
) -> None:
    admin = as_role("admin")

    def state() -> str:
        with db.reading(engine) as session:
            chosen = (followers, follower_tags, tags_table)
            return str([session.execute(sa.select(one)).all() for one in chosen])

    before = state()
    exported = admin.get(f"{LIST}?format=csv").data
    for _ in range(2):
        answer = upload(admin, exported)
        pages.post(admin, answer.location)
        run_jobs(rt)
        # numbers are texts in a file, so a field that held 30 now holds what was typed
        assert tags_of(engine, lan) == {"会员"}
    assert state().replace("'30'", "30") == before


def excel(rows: list[list[Any]]) -> bytes:
    body = io.BytesIO()
    book = xlsxwriter.Workbook(body)
    sheet = book.add_worksheet()
    for number, row in enumerate(rows):
        sheet.write_row(number, 0, row)
    book.close()
    return body.getvalue()


def test_an_excel_file_is_read_like_a_csv(
    browser: FlaskClient, rt: Runtime, lan: int, engine: sa.Engine
) -> None:
    data = excel([["OpenID", "标签"], [factories.open_id(1), "活动敏感"], [123, None]])
    answer = upload(browser, data, "a.xlsx")
    assert "会更新 1 位粉丝" in pages.text(browser.get(answer.location))
    pages.post(browser, answer.location)
    run_jobs(rt)
    assert tags_of(engine, lan) == {"会员", "活动敏感"}


def bomb() -> bytes:
    """A small file that unpacks to a large one."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/worksheets/sheet1.xml", b"\x00" * 5_000_000)
    return body.getvalue()


def wide() -> bytes:
    return ("OpenID," + "x," * 200).encode()


@pytest.mark.sqlite
def test_an_upload_that_is_none_is_refused_in_words_beside_the_field(
    browser: FlaskClient, lan: int
) -> None:
    for data, name in (
        (b"", "a.csv"),
        (b"\n\n", "a.csv"),
        ("名字,备注\na,b\n".encode(), "a.csv"),
        (b"OpenID,OpenID\na,b\n", "a.csv"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "a.png"),
        (b"PK\x03\x04" + b"broken", "a.xlsx"),
        (b"\xff\xfe\xff\xff", "a.csv"),
        (bomb(), "a.xlsx"),
        (wide(), "a.csv"),
        (b'OpenID\n"' + b"x" * 200_000, "a.csv"),
    ):
        answer = upload(browser, data, name)
        assert answer.status_code == 422, data[:40]
        assert 'id="e-file"' in answer.get_data(as_text=True)


@pytest.mark.sqlite
def test_a_file_that_is_too_large_is_refused(
    browser: FlaskClient, lan: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # twenty megabytes would only make the test slow
    monkeypatch.setattr(follower_files, "LARGEST", 100)
    answer = upload(browser, CSV.encode())
    assert answer.status_code == 422
    assert 'id="e-file"' in answer.get_data(as_text=True)


@pytest.mark.sqlite
def test_too_many_lines_are_refused(
    browser: FlaskClient, lan: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 200,000 lines would only make the test slow
    monkeypatch.setattr(follower_files, "MOST_LINES", 2)
    data = "OpenID\n" + "".join(f"{factories.open_id(n)}\n" for n in range(3))
    assert upload(browser, data.encode()).status_code == 422


@pytest.mark.sqlite
def test_somebody_elses_upload_is_not_there(
    browser: FlaskClient, lan: int, engine: sa.Engine, account: Account, now: datetime
) -> None:
    mark = upload(browser, CSV.encode()).location.rsplit("/", 1)[1]
    with db.writing(engine) as session:
        factories.make_account(session, "shop", now=now)
    assert browser.get(f"/console/shop/followers/import/{mark}").status_code == 404
    assert browser.get(f"{LIST}/import/0000").status_code == 404
