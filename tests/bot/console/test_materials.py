"""The pages of materials, articles, templates and the way to other systems."""

import io
import re

import pytest
import sqlalchemy as sa

from bot import articles, consents, db, materials, outgoing
from bot.tables.accounts import templates as templates_table
from bot.tables.operators import audit
from tests import factories
from tests.bot.console import pages

HERE = "/console/muyan"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 64
pytestmark = pytest.mark.sqlite  # the same queries run on both databases in their own tests


def upload(browser, name, data=PNG, **more):
    given = {"kind": "image", "files": [(io.BytesIO(data), name)]} | more
    return pages.post(browser, f"{HERE}/materials", given, content_type="multipart/form-data")


def written(browser, **changed):
    given = {
        "title": "双 11 攻略", "author": "沐颜", "digest": "", "cover": "c.png", "source_url": "",
        "html": '<p style="color:red">好</p><script>alert(1)</script><img src="material:c.png">',
    } | changed  # fmt: skip
    return pages.post(browser, f"{HERE}/articles/new", given)


def test_a_file_from_its_upload_to_the_archive(as_role, rt, account):
    browser = as_role("lead")
    assert "还没有素材" in pages.text(browser.get(f"{HERE}/materials"))
    assert upload(browser, "c.png").status_code == 303
    assert upload(browser, "c.png", PNG + b"1").status_code == 422
    assert upload(browser, "x.png", b"no picture").status_code == 422
    assert upload(browser, "t.png", PNG + b"2", temporary="1").status_code == 303
    listed = pages.text(browser.get(f"{HERE}/materials"))
    assert "c.png" in listed and "共 2 个素材" in listed and "临时" in listed
    assert "c.png" not in pages.text(browser.get(f"{HERE}/materials?q=t.p"))
    assert b"c.png" in browser.get(f"{HERE}/materials?format=csv").data
    shown = browser.get(f"{HERE}/materials/file/c.png")
    assert (shown.data, shown.headers["Content-Type"]) == (PNG, "image/png")
    assert written(browser).status_code == 303
    with db.reading(rt.engine) as session:
        one = next(m for m in materials.every(session, account.id) if m.name == "c.png")
    assert "双 11 攻略" in pages.text(browser.get(f"{HERE}/materials/{one.id}"))
    assert "有 1 处在用" in pages.text(browser.get(f"{HERE}/materials/{one.id}/archive"))
    assert pages.post(browser, f"{HERE}/materials/{one.id}/archive").status_code == 303
    assert "c.png" in pages.text(browser.get(f"{HERE}/materials?archived=yes"))
    assert pages.post(browser, f"{HERE}/materials/{one.id}/restore").status_code == 303
    assert browser.get(f"{HERE}/materials/999").status_code == 404


def test_an_article_is_written_shown_safely_changed_and_published(as_role, rt, account):
    browser = as_role("lead")
    upload(browser, "c.png")
    assert "还没有文章" in pages.text(browser.get(f"{HERE}/articles"))
    assert "32 个字" in pages.text(browser.get(f"{HERE}/articles/new"))
    assert written(browser, title="字" * 33).status_code == 422
    assert written(browser, cover="").status_code == 422
    made = written(browser)
    assert made.status_code == 303
    with db.reading(rt.engine) as session:
        [one] = articles.every(session, account.id)
    at = f"{HERE}/articles/{one.id}"
    assert "手机上的样子" in pages.text(browser.get(at))
    frame = browser.get(f"{at}/page")
    html = frame.get_data(as_text=True)
    assert "alert(1)" not in html and "/materials/file/c.png" in html
    assert "sandbox" in frame.headers["Content-Security-Policy"]
    assert frame.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert browser.get(at).headers["X-Frame-Options"] == "DENY"
    given = pages.form(browser.get(f"{at}/edit").get_data(as_text=True))
    given["title"] = "改了"
    assert pages.post(browser, f"{at}/edit", given).status_code == 303
    given["title"] = "又改"
    assert pages.post(browser, f"{at}/edit", given).status_code == 409
    assert "不会推送" in pages.text(browser.get(f"{at}/publish"))
    assert pages.post(browser, f"{at}/publish").status_code == 303
    assert pages.post(browser, f"{at}/publish").status_code == 409
    assert "发布中" in pages.text(browser.get(f"{HERE}/articles?status=publishing"))
    with db.reading(rt.engine) as session:
        told = str(session.execute(sa.select(audit.c.action)).all())
    assert {"article.create", "article.change", "article.publish"} <= set(
        re.findall(r"article\.\w+", told)
    )


def test_templates_show_what_followers_still_permit(as_role, rt, account, now):
    browser = as_role("lead")
    assert "还没有模板" in pages.text(browser.get(f"{HERE}/notices"))
    with db.writing(rt.engine) as session:
        who = factories.make_follower(session, account.id, 1, now=now)
        session.execute(
            sa.insert(templates_table).values(
                account_id=account.id, kind="subscription", template_id="TPL", title="到期提醒",
                content="优惠：{{thing1.DATA}}", example="", read_at=now,
            )
        )  # fmt: skip
        for number in range(2):
            consents.accepted(session, account.id, who, "TPL", now, f"t{number}")
    shown = pages.text(browser.get(f"{HERE}/notices"))
    assert "到期提醒" in shown and "优惠 thing1" in shown
    assert b"TPL" in browser.get(f"{HERE}/notices?format=csv").data
    assert pages.post(browser, f"{HERE}/notices/read").status_code == 303


def test_the_way_to_other_systems_shows_its_secret_once(as_role, rt, account):
    browser = as_role("lead")
    inside = {"url": "http://127.0.0.1/", "together": "1"}
    assert pages.post(browser, f"{HERE}/outgoing", inside).status_code == 422
    made = pages.post(
        browser, f"{HERE}/outgoing",
        {"url": "https://sms.example.com/", "together": "100", "fields": "手机，称呼"},
    )  # fmt: skip
    assert "whsec_" in made.get_data(as_text=True)
    with db.reading(rt.engine) as session:
        found = outgoing.get(session, account.id)
    assert found is not None and found.fields == ("手机", "称呼")
    assert "whsec_" not in browser.get(f"{HERE}/outgoing").get_data(as_text=True)
    assert pages.post(browser, f"{HERE}/outgoing/remove").status_code == 303


@pytest.mark.parametrize(("role", "reads", "writes"), [("viewer", 200, 403), ("agent", 403, 403)])
def test_who_may_what(as_role, role, reads, writes):
    browser = as_role(role)
    for path in ("materials", "articles", "notices"):
        assert browser.get(f"{HERE}/{path}").status_code == reads
    assert upload(browser, "c.png").status_code == writes
    assert browser.get(f"{HERE}/outgoing").status_code == 403


def test_another_accounts_things_are_not_there(as_role, rt, account, now):
    browser = as_role("lead")
    with db.writing(rt.engine) as session:
        other = factories.make_account(session, "other", now=now)
        material = materials.hand_in(session, other, "image", "c.png", PNG, now, by="Bo")
        document = {"title": "别家", "html": "<p>x</p>", "cover": {"file": "c.png"}}
        article = articles.create(session, other, document, now, by="Bo")
    for path in (f"materials/{material}", f"articles/{article}", "materials/file/c.png"):
        assert browser.get(f"{HERE}/{path}").status_code == 404
