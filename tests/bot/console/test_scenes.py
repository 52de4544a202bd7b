"""QR channels in the console: lists, batches, pictures, figures, and what a channel owner sees."""

import csv
import io
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from openpyxl import Workbook
from PIL import Image
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.test import encode_multipart

from bot import db, events, scenes
from bot.accounts import Account
from bot.runtime import Runtime
from bot.tables.accounts import media
from bot.tables.jobs import jobs
from bot.tables.operators import audit
from bot.tables.tracking import scenes as table
from tests import factories
from tests.bot.console import pages

HERE = "/console/muyan/scenes"
SHOPS = "名称,回复,成本\n" + "\n".join(
    f"{name}店,欢迎来{name}店,100" for name in "甲乙丙丁戊己庚辛"
)


def post(browser: FlaskClient, path: str = "", data: Any = None, **options: Any) -> Any:
    return pages.post(browser, f"{HERE}{path}", data, form=f"{HERE}/new", **options)


def upload(browser: FlaskClient, path: str, **data: Any) -> Any:
    files = {key: FileStorage(*each) for key, each in data.items() if isinstance(each, tuple)}
    sent = data | files | {"csrf_token": pages.mark(browser, f"{HERE}/new")}
    boundary, body = encode_multipart(sent)
    kind = f"multipart/form-data; boundary={boundary}"
    return browser.post(f"{HERE}{path}", data=body, content_type=kind)


def stored(engine: sa.Engine, *columns: Any) -> list[Any]:
    with db.reading(engine) as session:
        return list(session.execute(sa.select(*columns).order_by(table.c.id)).all())


@pytest.fixture
def shops(engine: sa.Engine, account: Account, now: datetime) -> list[str]:
    """Four codes that were made, of two groups, and one of another account."""
    keys = ["store_01", "store_02", "wb_bio", "tb_card"]
    with db.writing(engine) as session:
        other = factories.make_account(session, "shop", now=now)
        for owner, key in [*((account.id, key) for key in keys), (other, "foreign")]:
            group = "门店" if key.startswith("store") else ""
            scenes.save(session, owner, key=key, name=f"渠道 {key}", group=group, now=now)
        session.execute(sa.update(table).values(url="http://weixin.qq.com/q/0a1b2c", made_at=now))
        who = factories.make_followers(session, account.id, 3, now=now)
        for number, key in enumerate(("store_01", "store_01", "wb_bio")):
            events.record(session, account.id, who[number], "subscribe", now, key=key)
        events.record(session, account.id, who[0], "scan", now - timedelta(days=20), key="store_02")
    return keys


def test_eight_shop_codes_are_made_from_a_pasted_list(
    browser: FlaskClient, engine: sa.Engine, account: Account
) -> None:
    given = {"list": SHOPS, "prefix": "store_", "group": "门店"}
    looked = post(browser, "/batch", given | {"step": "check"})
    assert "将新建 8 个永久二维码" in pages.text(looked)
    assert stored(engine, table.c.key) == []
    made = post(browser, "/batch", given | {"step": "make"})
    assert made.status_code == 303
    assert "/scenes/making/" in made.location
    rows = stored(engine, table)
    assert [row.key for row in rows] == [f"store_0{number}" for number in range(1, 9)]
    assert rows[0].name == "甲店"
    assert (rows[0].group, rows[0].reply, rows[0].cost) == ("门店", {"text": "欢迎来甲店"}, 100)
    with db.reading(engine) as session:
        assert session.execute(sa.select(jobs.c.name)).scalars().all() == ["make_scenes"]
        actions = session.execute(sa.select(audit.c.action)).scalars().all()
    assert "scene.batch" in actions


WRONG_LISTS = [
    ("甲店\n\n" + "长" * 61, "第 3 行 名称"),
    ("名称,成本\n甲店,很多", "第 2 行 成本"),
    ("名称,场景值\n甲店,a b", "第 2 行 场景值"),
    ("名称,场景值\n甲店,x1\n乙店,x1", "第 3 行 场景值"),
    ("名称,场景值\n甲店,store_01", "第 2 行 场景值"),
    ("名称,标签\n甲店,没有这个", "第 2 行 标签"),
    ("名称,回复\n甲店," + "长" * 601, "第 2 行 回复"),
    ("场景值,名称\nx1,", "第 2 行 名称"),
    ("", "清单"),
    ("\n".join(f"店{number}" for number in range(1001)), "清单"),
]


def test_every_problem_of_a_list_is_told_with_its_line_and_nothing_is_made(
    browser: FlaskClient, engine: sa.Engine, shops: list[str]
) -> None:
    for text, told in WRONG_LISTS:
        answer = post(browser, "/batch", {"list": text, "step": "make"})
        assert answer.status_code == 422, told
        answer.status_code = 200
        assert told in pages.text(answer)
    assert len(stored(engine, table.c.key)) == 5


def test_a_list_may_be_an_excel_file_and_keys_may_be_spelt_in_pinyin(
    browser: FlaskClient, engine: sa.Engine, account: Account
) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for row in [["门店名称", "成本"], ["人民广场店", 12.0], ["人民广场店", None]]:
        sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    file.seek(0)
    answer = upload(browser, "/batch", step="make", file=(file, "门店.xlsx"))
    assert answer.status_code == 303, pages.text(answer)
    assert stored(engine, table.c.key, table.c.cost) == [
        ("renminguangchangdian", 12.0),
        ("renminguangchangdian_2", None),
    ]


NO_LISTS = [
    ("a.xlsx", b"PK\x03\x04 not a zip"),
    ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    ("a.csv", b"\x00\x01\x02"),
    ("a.csv", b"\xff\xff\xff\xff"),
    ("a.csv", b"x" * (2 * 1024 * 1024 + 1)),
    ("a.csv", b'"' + b"x" * 200_000),
]


def test_a_file_that_is_no_list_is_refused_in_words(browser: FlaskClient, account: Account) -> None:
    for name, data in NO_LISTS:
        answer = upload(browser, "/batch", step="check", file=(io.BytesIO(data), name))
        assert answer.status_code == 422, data[:20]
        assert "invalid-feedback" in answer.get_data(as_text=True)


def test_the_list_shows_figures_and_can_be_searched_sorted_and_saved(
    browser: FlaskClient, shops: list[str]
) -> None:
    page = pages.text(browser.get(HERE))
    assert "共 4 个二维码" in page
    assert "渠道 store_01 store_01 门店 可用 2 2 0 — —" in page
    assert "foreign" not in page
    found = pages.text(browser.get(f"{HERE}?q=WB"))
    assert "wb_bio" in found
    assert "store_01" not in found
    sort = browser.get(f"{HERE}?sort=-scans").get_data(as_text=True)
    assert sort.index("store_01") < sort.index("wb_bio") < sort.index("tb_card")
    grouped = pages.text(browser.get(f"{HERE}?group=门店&days=7"))
    assert "共 2 个二维码" in grouped
    lines = list(csv.reader(io.StringIO(browser.get(f"{HERE}?format=csv").get_data(as_text=True))))
    assert len(lines) == 5
    assert {line[1] for line in lines[1:]} == set(shops)


def test_all_pictures_come_in_one_zip_with_a_table(browser: FlaskClient, shops: list[str]) -> None:
    answer = browser.get(f"{HERE}/zip?form=png&form=svg&group=门店")
    packed = zipfile.ZipFile(io.BytesIO(answer.data))
    assert packed.testzip() is None
    assert sorted(packed.namelist()) == [
        "渠道二维码.csv",
        "门店/渠道 store_01_store_01.png",
        "门店/渠道 store_01_store_01.svg",
        "门店/渠道 store_02_store_02.png",
        "门店/渠道 store_02_store_02.svg",
    ]
    table_ = packed.read("渠道二维码.csv").decode("utf-8-sig")
    assert "store_01,渠道 store_01,门店,http://weixin.qq.com/q/0a1b2c" in table_


def test_bulk_changes_the_chosen_codes_or_all_that_match(
    browser: FlaskClient, engine: sa.Engine, account: Account, shops: list[str], now: datetime
) -> None:
    with db.writing(engine) as session:
        factories.make_tag(session, account.id, "到店")
    chosen = MultiDict(
        [("action", "group"), ("group", "新组"), ("ids", "wb_bio"), ("ids", "foreign")]
    )
    assert post(browser, "/bulk", chosen).status_code == 303
    everything = {"action": "tags", "tags": "到店", "everything": "1", "query": "group=门店"}
    assert post(browser, "/bulk", everything).status_code == 303
    rows = {row.key: row for row in stored(engine, table)}
    assert rows["wb_bio"].group == "新组"
    assert rows["foreign"].group == ""
    assert rows["store_01"].tags == rows["store_02"].tags == ["到店"]
    assert rows["tb_card"].tags == []
    asked = post(browser, "/bulk", {"action": "archive", "ids": "store_01"})
    assert "最近 30 天它们被扫了 2 次" in pages.text(asked)
    assert post(browser, "/archive", {"keys": "store_01,foreign"}).status_code == 303
    rows = {row.key: row for row in stored(engine, table)}
    assert rows["store_01"].archived_at == now
    assert rows["foreign"].archived_at is None


def test_one_code_is_made_changed_and_audited(
    browser: FlaskClient, engine: sa.Engine, account: Account
) -> None:
    new = {
        "key": "poster",
        "name": "海报",
        "permanent": "0",
        "days": "7",
        "cost": "99.5",
        "reply:kind": "text",
        "reply.text": "你好",
    }
    assert post(browser, "/new", new).status_code == 303
    (row,) = stored(engine, table)
    assert (row.key, row.permanent, row.expire_seconds, row.cost) == ("poster", False, 604800, 99.5)
    assert row.reply == {"text": "你好"}
    assert (
        post(browser, "/code/poster/edit", new | {"name": "新海报", "days": "8"}).status_code == 303
    )
    (row,) = stored(engine, table)
    assert (row.name, row.expire_seconds) == ("新海报", 691200)
    with db.reading(engine) as session:
        told = session.execute(
            sa.select(audit.c.before, audit.c.after).where(audit.c.action == "scene.save")
        ).all()
    assert told[1].before["name"] == "海报"
    assert told[1].after["name"] == "新海报"


WRONG_FIELDS = [
    {"key": "坏 key"},
    {"key": "store_01"},
    {"name": ""},
    {"cost": "-1"},
    {"cost": "nan"},
    {"permanent": "0", "days": "31"},
    {"tags": "没有"},
    {"reply:kind": "text", "reply.text": "长" * 601},
]


def test_a_wrong_field_is_told_beside_it_and_what_was_typed_stays(
    browser: FlaskClient, engine: sa.Engine, shops: list[str]
) -> None:
    for change in WRONG_FIELDS:
        given = {"key": "new_1", "name": "记得我", "permanent": "1"} | change
        answer = post(browser, "/new", given)
        assert answer.status_code == 422, change
        html = answer.get_data(as_text=True)
        assert 'class="invalid-feedback d-block"' in html
        assert change.get("name", "记得我") in html
    assert len(stored(engine, table.c.key)) == 5


def test_the_page_of_one_code_reads_without_script(browser: FlaskClient, shops: list[str]) -> None:
    answer = browser.get(f"{HERE}/code/store_01")
    page = pages.text(answer)
    assert "扫码人数 2 扫码次数 2 新关注 2 再次扫码 0 取关 0 7 日留存 —" in page
    assert "2025-03-03 2 2 2 0 0 — —" in page
    lines = browser.get(f"{HERE}/code/store_01?days=7&format=csv").get_data(as_text=True)
    assert len(lines.strip().splitlines()) == 8
    assert browser.get(f"{HERE}/code/foreign").status_code == 404
    assert browser.get(f"{HERE}/code/foreign/picture.png").status_code == 404
    assert browser.get(f"{HERE}/code/store_01/picture.gif").status_code == 404
    picture = browser.get(f"{HERE}/code/store_01/picture.png")
    assert picture.mimetype == "image/png"
    assert "attachment" in picture.headers["Content-Disposition"]


def test_a_channel_owner_sees_their_own_codes_and_changes_nothing(
    as_role: Callable[..., FlaskClient], shops: list[str], engine: sa.Engine
) -> None:
    owner = as_role("channel", scenes=["store_*"])
    page = pages.text(owner.get(HERE))
    assert "store_01" in page
    assert "wb_bio" not in page
    assert "共 2 个二维码" in page
    assert "新建二维码" not in page
    assert owner.get(f"{HERE}/code/store_02").status_code == 200
    assert owner.get(f"{HERE}/code/store_02/picture.svg").status_code == 200
    for path in ("/code/wb_bio", "/code/wb_bio/picture.png", "/code/foreign"):
        assert owner.get(f"{HERE}{path}").status_code == 404, path
    packed = zipfile.ZipFile(io.BytesIO(owner.get(f"{HERE}/zip").data))
    assert len(packed.namelist()) == 3
    assert "wb_bio" not in packed.read("渠道二维码.csv").decode()
    assert "wb_bio" not in owner.get(f"{HERE}?format=csv").get_data(as_text=True)
    chosen = MultiDict([("action", "png"), ("ids", "store_01"), ("ids", "wb_bio")])
    sent = pages.post(owner, f"{HERE}/bulk", chosen, form=HERE)
    assert len(zipfile.ZipFile(io.BytesIO(sent.data)).namelist()) == 2
    for path in ("/new", "/batch", "/logo", "/code/store_01/edit"):
        assert owner.get(f"{HERE}{path}").status_code == 403, path
    assert (
        pages.post(
            owner, f"{HERE}/bulk", {"action": "group", "ids": "store_01"}, form=HERE
        ).status_code
        == 403
    )
    for path in ("/archive", "/code/store_01/make", "/make"):
        assert (
            pages.post(owner, f"{HERE}{path}", {"keys": "store_01"}, form=HERE).status_code == 403
        )


def picture(form: str, size: tuple[int, int] = (64, 64)) -> io.BytesIO:
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, form)
    file.seek(0)
    return file


def test_a_logo_stands_in_the_middle_until_it_is_taken_away(
    browser: FlaskClient, engine: sa.Engine, shops: list[str], rt: Runtime
) -> None:
    plain = browser.get(f"{HERE}/code/store_01/picture.png").data
    sent = upload(browser, "/logo", logo=(picture("PNG"), "logo.png"))
    assert sent.status_code == 303
    marked = browser.get(f"{HERE}/code/store_01/picture.png").data
    assert marked != plain
    assert b"data:image/png;base64," in browser.get(f"{HERE}/code/store_01/picture.svg").data
    assert browser.get(f"{HERE}/logo.img").mimetype == "image/png"
    assert post(browser, "/logo", {"remove": "1"}).status_code == 303
    assert browser.get(f"{HERE}/code/store_01/picture.png").data == plain


NO_LOGOS = [
    ("logo.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    ("logo.png", b""),
    ("logo.png", b"\x89PNG\r\n\x1a\nrubbish"),
    ("logo.gif", b"GIF89a"),
    ("logo.png", b"\x89PNG\r\n\x1a\n" + b"0" * 600_000),
    ("logo.jpg", picture("JPEG", (3000, 3000)).getvalue()),
    ("logo.png", picture("PNG", (4, 4)).getvalue()),
]


def test_what_is_no_small_picture_is_no_logo(
    browser: FlaskClient, engine: sa.Engine, account: Account
) -> None:
    for name, data in NO_LOGOS:
        answer = upload(browser, "/logo", logo=(io.BytesIO(data), name))
        assert answer.status_code == 422, data[:20]
    with db.reading(engine) as session:
        assert session.execute(sa.select(media.c.id)).all() == []


def test_formulas_scripts_and_paths_in_names_stay_text(
    browser: FlaskClient, engine: sa.Engine, account: Account, now: datetime
) -> None:
    names = ['=HYPERLINK("x")', "<script>alert(1)</script>", "../../etc/passwd", "a/b\\c:*?", "CON"]
    with db.writing(engine) as session:
        for number, name in enumerate(names):
            scenes.save(session, account.id, key=f"k{number}", name=name, group="..", now=now)
        session.execute(sa.update(table).values(url="http://weixin.qq.com/q/0a1b2c"))
    html = browser.get(HERE).get_data(as_text=True)
    assert "<script>alert" not in html
    assert "'=HYPERLINK" in browser.get(f"{HERE}?format=csv").get_data(as_text=True)
    packed = zipfile.ZipFile(io.BytesIO(browser.get(f"{HERE}/zip?form=svg").data))
    for name in packed.namelist():
        assert ".." not in name.split("/")
        assert not name.startswith("/")
        assert "\\" not in name
        assert name.count("/") <= 1
    assert b"<script>" not in packed.read("_/_script_alert(1)__script__k1.svg")
    assert "'=HYPERLINK" in packed.read("渠道二维码.csv").decode()


def test_nothing_is_posted_without_the_mark(browser: FlaskClient, account: Account) -> None:
    for path in ("/new", "/batch", "/bulk", "/archive", "/logo", "/make"):
        assert browser.post(f"{HERE}{path}", data={"name": "x"}).status_code == 400
