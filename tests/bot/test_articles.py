"""Articles: written, told to the platform as drafts, published, sent; with the sandbox's draft box."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import article_html, articles, db, media
from bot.accounts import Account
from bot.channels import Item, customer_service, mass
from bot.errors import Invalid, Refused, WeChatError
from bot.tables.accounts import media as media_table
from bot.wechat import publish
from tests import factories
from tests.bot.stage import APP_ID, Stage

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 64
HTML = '<p style="color:red">双 11 的 <strong>8 元券</strong></p><img src="material:in.png">'
DRAFT = {
    "title": "双 11 攻略",
    "author": "沐颜",
    "digest": "",
    "html": HTML,
    "cover": {"file": "c.png"},
}


@pytest.fixture
def stage(now: datetime) -> Stage:
    found = Stage(now)
    found.follow(1, 2, 3)
    return found


@pytest.fixture
def pictures(engine: sa.Engine, account: Account, now: datetime) -> None:
    with db.writing(engine) as session:
        for name in ("c.png", "in.png"):
            session.execute(
                sa.insert(media_table).values(
                    account_id=account.id, kind="image", name=name, sha256=name, data=PNG + name.encode()
                )
            )  # fmt: skip


def write(engine: sa.Engine, account: Account, now: datetime, **changed: Any) -> int:
    with db.writing(engine) as session:
        return articles.create(session, account.id, DRAFT | changed, now, by="Ann")


def told(engine: sa.Engine, stage: Stage, now: datetime) -> int:
    return articles.tell_pending(engine, lambda _account: stage.wechat, now)


def read(engine: sa.Engine, account: Account, number: int) -> articles.Article:
    with db.reading(engine) as session:
        return articles.must(session, account.id, number)


def box(stage: Stage) -> list[str]:
    found = stage.wechat.call("/cgi-bin/draft/batchget", {"offset": 0, "count": 20})["item"]
    return [one["content"]["news_item"][0]["title"] for one in found]


def later(stage: Stage, now: datetime, **step: float) -> datetime:
    moment = now + timedelta(**step)
    stage.platform.clock.frozen_at = moment
    return moment


def resolved(engine: sa.Engine, account: Account, reference: dict[str, Any]) -> dict[str, Any]:
    with db.reading(engine) as session:
        return media.resolve(session, account.id, {"article": reference})


def batch(content: dict[str, Any], number: int, now: datetime) -> Item:
    payload = {"target": "open_ids", "content": content, "client_msg_id": f"m-{number}"}
    payload["open_ids"] = [factories.open_id(1), factories.open_id(2)]
    return Item(number, 1, "mass", "batch", number, None, None, payload, 1, now, None)


@pytest.mark.usefixtures("pictures")
def test_it_stands_in_the_box_with_its_pictures_and_follows_changes(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    number = write(engine, account, now)
    assert told(engine, stage, now) == 1
    assert told(engine, stage, now) == 0
    found = read(engine, account, number)
    assert found.told and found.error is None
    [kept] = stage.wechat.call("/cgi-bin/draft/get", {"media_id": found.media_id})["news_item"]
    assert article_html.pictures(kept["content"])[0].startswith("http://mmbiz.qpic.cn/")
    with db.writing(engine) as session:
        articles.change(session, account.id, number, DRAFT | {"title": "改了"}, 1, now)
        with pytest.raises(Refused, match="meanwhile"):
            articles.change(session, account.id, number, DRAFT | {"title": "又改"}, 1, now)
    assert told(engine, stage, now) == 1
    assert box(stage) == ["改了"]
    # the platform's own people threw it away: the next version is made anew
    stage.wechat.call("/cgi-bin/draft/delete", {"media_id": found.media_id})
    with db.writing(engine) as session:
        articles.change(session, account.id, number, DRAFT, 2, now)
    assert told(engine, stage, now) == 1
    assert box(stage) == ["双 11 攻略"]


@pytest.mark.usefixtures("pictures")
def test_published_it_has_a_page_and_customer_service_shows_it(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    number = write(engine, account, now)
    with db.writing(engine) as session:
        articles.publish_it(session, account.id, number, now)
    told(engine, stage, now)
    assert read(engine, account, number).status == "publishing"
    with pytest.raises(media.NotYet):
        resolved(engine, account, {"article": number})
    # the event is lost: we ask, ten minutes later
    moment = later(stage, now, minutes=10)
    assert articles.ask_pending(engine, lambda _account: stage.wechat, moment) == 1
    found = read(engine, account, number)
    assert (found.status, found.media_id) == ("published", None)
    assert found.url is not None and found.url.startswith("http://mp.weixin.qq.com/s/")
    assert box(stage) == []
    content = resolved(engine, account, {"article": "双 11 攻略"})
    stage.platform.say(APP_ID, factories.open_id(1), "在吗")
    item = Item(
        1, 1, "customer_service", "reply", 1, 1, factories.open_id(1), {"content": content}, 1, now, None
    )  # fmt: skip
    customer_service.send(stage.wechat, item)
    [shown] = [
        one["content"]
        for one in stage.platform.received(APP_ID, factories.open_id(1))
        if one["way"] == "customer_service"
    ]
    assert (shown["type"], shown["title"]) == ("mpnewsarticle", "双 11 攻略")


@pytest.mark.usefixtures("pictures")
def test_a_refused_publication_says_why(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    stage.platform.fault("PUBLISHJOBFINISH", "result_blocked")
    number = write(engine, account, now)
    with db.writing(engine) as session:
        articles.publish_it(session, account.id, number, now)
    told(engine, stage, now)
    articles.ask_pending(engine, lambda _a: stage.wechat, later(stage, now, minutes=10))
    found = read(engine, account, number)
    assert (found.status, found.error) == ("failed", "平台审核没有通过")
    assert box(stage) == ["双 11 攻略"]


@pytest.mark.usefixtures("pictures")
def test_every_batch_of_a_campaign_has_a_draft_though_a_sent_one_is_gone(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    number = write(engine, account, now)
    told(engine, stage, now)
    first = resolved(engine, account, {"article": number})
    mass.send(stage.wechat, batch(first, 1, now))
    moment = later(stage, now, minutes=1)
    stage.platform.run_due()
    assert box(stage) == []
    mass.send(stage.wechat, batch(first, 2, moment))
    # the same call once more is known, whatever draft it names
    assert mass.send(stage.wechat, batch(first, 2, moment))["repeated"]
    later(stage, now, minutes=2)
    stage.platform.run_due()
    titles = [
        one["content"]["title"] for one in stage.platform.received(APP_ID, factories.open_id(1))
    ]
    assert titles == ["双 11 攻略"] * 2
    assert box(stage) == []


@pytest.mark.usefixtures("pictures")
def test_what_was_changed_is_not_sent_as_it_was_before(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    number = write(engine, account, now)
    told(engine, stage, now)
    with db.writing(engine) as session:
        articles.change(session, account.id, number, DRAFT | {"title": "改了"}, 1, now)
    # the platform's draft still says the first version
    with pytest.raises(media.NotYet):
        resolved(engine, account, {"article": number})
    stage.platform.fault("/cgi-bin/draft/update", "errcode", errcode=45166)
    told(engine, stage, now)
    with pytest.raises(Refused, match="refused by the platform"):
        resolved(engine, account, {"article": number})


@pytest.mark.usefixtures("pictures")
def test_a_published_page_is_shown_while_the_next_version_is_written_and_mass_sends_that(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    number = write(engine, account, now)
    with db.writing(engine) as session:
        articles.publish_it(session, account.id, number, now)
    told(engine, stage, now)
    moment = later(stage, now, minutes=10)
    articles.ask_pending(engine, lambda _account: stage.wechat, moment)
    with db.writing(engine) as session:
        articles.change(session, account.id, number, DRAFT | {"title": "改了"}, 1, moment)
    found = resolved(engine, account, {"article": number})["article"]
    assert found["article_id"] == read(engine, account, number).article_id
    mass.send(stage.wechat, batch({"article": found}, 1, moment))
    later(stage, moment, minutes=1)
    stage.platform.run_due()
    [got] = stage.platform.received(APP_ID, factories.open_id(1))
    assert got["content"]["title"] == "改了"


@pytest.mark.usefixtures("pictures")
def test_an_article_whose_draft_was_sent_can_still_be_published(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    number = write(engine, account, now)
    told(engine, stage, now)
    mass.send(stage.wechat, batch(resolved(engine, account, {"article": number}), 1, now))
    moment = later(stage, now, minutes=1)
    stage.platform.run_due()
    assert box(stage) == []
    with db.writing(engine) as session:
        articles.publish_it(session, account.id, number, moment)
    told(engine, stage, moment)
    articles.ask_pending(engine, lambda _account: stage.wechat, later(stage, moment, minutes=10))
    found = read(engine, account, number)
    assert (found.status, found.error) == ("published", None)


def test_what_is_missing_is_told_and_what_waits_is_tried_again(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    number = write(engine, account, now)
    told(engine, stage, now)
    found = read(engine, account, number)
    assert found.error is not None and "in.png" in found.error
    assert told(engine, stage, now) == 0
    with pytest.raises(Refused, match=r"in\.png"):
        resolved(engine, account, {"article": number})
    with pytest.raises(Refused, match="no article"):
        resolved(engine, account, {"article": "没有"})


@pytest.mark.usefixtures("pictures")
def test_a_busy_platform_is_asked_again(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    number = write(engine, account, now)
    stage.platform.fault("/cgi-bin/draft/add", "errcode", errcode=-1)
    told(engine, stage, now)
    assert read(engine, account, number).error is None
    assert told(engine, stage, now + timedelta(minutes=1)) == 0
    assert told(engine, stage, now + timedelta(minutes=3)) == 1
    assert read(engine, account, number).told


@pytest.mark.usefixtures("pictures")
def test_an_article_of_a_campaign_becomes_one_of_the_library_once(
    engine: sa.Engine, account: Account, stage: Stage, now: datetime
) -> None:
    content = {"article": {"draft": DRAFT}}
    for _ in range(2):
        with db.writing(engine) as session:
            articles.adopt(session, account.id, content, now, by="file")
            articles.adopt(session, account.id, {"text": "别的"}, now, by="file")
    told(engine, stage, now)
    with db.reading(engine) as session:
        [found] = articles.every(session, account.id)
        assert media.resolve(session, account.id, content)["article"]["media_id"] == found.media_id
    with db.writing(engine) as session:
        articles.adopt(session, account.id, content, now, by="file", published=True)
    assert read(engine, account, found.id).status == "publishing"


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"title": ""}, "article.title"),
        ({"title": "字" * 33}, "article.title"),
        ({"author": "字" * 9}, "article.author"),
        ({"html": "<script>alert(1)</script>"}, "article.html"),
        ({"html": "字" * 20_000}, "article.html"),
        ({"cover": {}}, "article.cover"),
        ({"source_url": "javascript:alert(1)"}, "article.source_url"),
    ],
)
def test_what_is_no_article(changed: dict[str, Any], place: str) -> None:
    with pytest.raises(Invalid) as problem:
        articles.check(DRAFT | changed)
    assert problem.value.field == place


@pytest.mark.parametrize(
    ("html", "kept"),
    [
        ("<p onclick='x()'>a</p>", "<p>a</p>"),
        ("<script>x</script><p>a</p>", "<p>a</p>"),
        ('<p style="color:red;position:fixed;top:0">a</p>', '<p style="color:red">a</p>'),
        ('<img src="material:a.png" onerror="x">', '<img src="material:a.png">'),
        ('<a href="javascript:alert(1)">a</a>', "<a>a</a>"),
        ("<iframe src='//x'></iframe>b", "b"),
        ("<p>a<!-- x --></p>", "<p>a</p>"),
    ],
)
def test_only_looks_stay_of_pasted_html(html: str, kept: str) -> None:
    assert article_html.clean(html) == kept
    assert article_html.clean(kept) == kept


def test_what_the_platform_would_leave_out_is_said_before() -> None:
    html = article_html.clean(
        '<img src="https://other.com/a.png"><img src="http://mmbiz.qpic.cn/x/0">'
        '<a href="https://shop.com/">买</a><a href="https://mp.weixin.qq.com/s/x">文</a>'
    )
    said = article_html.warnings(html)
    assert len(said) == 2
    assert "other.com" in said[0] and "shop.com" in said[1]
    assert article_html.pictures(article_html.with_addresses(html, {})) == [
        "http://mmbiz.qpic.cn/x/0"
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {
                "publish_id": 7,
                "publish_status": "0",
                "article_id": "A",
                "article_detail": {"count": "1", "item": {"idx": "1", "article_url": "http://u"}},
            },
            publish.Publication("7", 0, "A", "http://u"),
        ),
        (
            {"publish_id": "7", "publish_status": 2, "fail_idx": ["1", "2"]},
            publish.Publication("7", 2),
        ),
        ({}, publish.Publication("", publish.AT_WORK)),
        (
            {"publish_id": "7", "publish_status": "x", "article_detail": 3},
            publish.Publication("7", 1),
        ),
    ],
)
def test_results_are_read_whatever_form_they_have(
    fields: dict[str, Any], expected: publish.Publication
) -> None:
    assert publish.read(fields) == expected


def test_a_draft_the_operator_named_is_sent_as_it_is(stage: Stage, now: datetime) -> None:
    with pytest.raises(WeChatError) as problem:
        mass.send(stage.wechat, batch({"article": {"media_id": "GONE"}}, 1, now))
    assert problem.value.errcode == 40007
    assert "draft/add" not in stage.calls
