"""Articles in the draft box, and published without a push. Source: docs/wechat-limits.md 8 (read 2026-11).

A draft leaves the box when it was published or mass-sent: its media_id ends at that moment.
"""

import json
import re
from typing import Any

from bot.sandbox import faults, media
from bot.sandbox.api_media import LINKS, count, page
from bot.sandbox.calls import Call, Json, endpoint, ok
from bot.sandbox.limits import (
    DRAFT_ARTICLES,
    DRAFT_AUTHOR_CHARACTERS,
    DRAFT_CONTENT_BYTES,
    DRAFT_CONTENT_CHARACTERS,
    DRAFT_DIGEST_CHARACTERS,
    DRAFT_TITLE_CHARACTERS,
    LIST_COUNT,
    PUBLISH_SECONDS,
    URL_BYTES,
)
from bot.sandbox.mass_jobs import plan_event
from bot.sandbox.refusal import Refusal
from bot.sandbox.state import Row
from bot.sandbox.world import World, secret

EVENT = "PUBLISHJOBFINISH"
PUBLISH_ID_START = 2_247_503_051
PUBLISHED, AT_WORK, ORIGINALITY, FAILED, REFUSED, DELETED = 0, 1, 2, 3, 4, 5
_SCRIPT = re.compile(r"(?is)<script.*?(</script>|$)")
_IMAGE = re.compile(r"(?is)<img\b[^>]*>")
_SOURCE = re.compile(r"(?is)\bsrc\s*=\s*[\"']?([^\"'\s>]+)")


def _article(world: World, call: Call, article: Any) -> Json:
    """An article as it is kept: without scripts, and without pictures from elsewhere.

    Raises:
        Refusal: 45003 title, 45002 content, 44003 empty, 40007 cover, 41039 address …
    """
    if not isinstance(article, dict):
        raise Refusal(44003, "empty news data")
    if not 1 <= len(str(article.get("title", ""))) <= DRAFT_TITLE_CHARACTERS:
        raise Refusal(45003, "title size out of limit")
    if len(str(article.get("author", ""))) > DRAFT_AUTHOR_CHARACTERS:
        raise Refusal(45110, "author size out of limit")
    if len(str(article.get("digest", ""))) > DRAFT_DIGEST_CHARACTERS:
        raise Refusal(45004, "description size out of limit")
    content = article.get("content")
    if not isinstance(content, str) or not content:
        raise Refusal(44003, "empty news data")
    if len(content) >= DRAFT_CONTENT_CHARACTERS or len(content.encode()) >= DRAFT_CONTENT_BYTES:
        raise Refusal(45002)
    source = str(article.get("content_source_url", ""))
    if len(source.encode()) > URL_BYTES or (
        source and not source.startswith(("http://", "https://"))
    ):
        raise Refusal(41039, "invalid content_source_url")
    if article.get("article_type", "news") == "news":
        row = media.need(world, call.me, article, "thumb_media_id", "thumb")
        if not row["permanent"]:
            raise Refusal(40007, "invalid media_id")
    return {**article, "content": _kept(world, call, content)}


def _kept(world: World, call: Call, content: str) -> str:
    def picture(found: re.Match[str]) -> str:
        source = _SOURCE.search(found[0])
        known = source and world.store.kept(f"{LINKS}{call.me.id}.{source[1]}")
        return found[0] if known else ""

    return _IMAGE.sub(picture, _SCRIPT.sub("", content))


def _draft(world: World, call: Call, body: Json) -> Row:
    return media.need(world, call.me, body, "media_id", "news")


def _items(row: Row) -> list[Json]:
    found: list[Json] = json.loads(row["extra"])["articles"]
    return found


@endpoint("/cgi-bin/draft/add", needs="materials", quota="draft/add")
def add(world: World, call: Call) -> Json:
    articles = call.json().get("articles")
    if not isinstance(articles, list) or not 1 <= len(articles) <= DRAFT_ARTICLES:
        raise Refusal(45008, "article count out of limit")
    kept = {"articles": [_article(world, call, article) for article in articles]}
    return {"media_id": media.put(world, call.me, "news", "", b"", permanent=True, extra=kept)}


@endpoint("/cgi-bin/draft/update", needs="materials", quota="draft/update")
def update(world: World, call: Call) -> Json:
    body = call.json()
    row = _draft(world, call, body)
    kept = _items(row)
    index = body.get("index", 0)
    if not isinstance(index, int) or not 0 <= index < len(kept):
        raise Refusal(40114, "invalid index value")
    kept[index] = _article(world, call, body.get("articles"))
    world.store.run(
        "UPDATE media SET extra = ? WHERE media_id = ?",
        json.dumps({"articles": kept}, ensure_ascii=False),
        row["media_id"],
    )
    return ok()


@endpoint("/cgi-bin/draft/get", needs="materials", quota="draft/get")
def get(world: World, call: Call) -> Json:
    return {"news_item": _items(_draft(world, call, call.json()))}


@endpoint("/cgi-bin/draft/count", "GET", needs="materials", quota="draft/count")
def count_drafts(world: World, call: Call) -> Json:
    return {"total_count": count(world, call, "news")}


@endpoint("/cgi-bin/draft/batchget", needs="materials", quota="draft/batchget")
def every(world: World, call: Call) -> Json:
    rows, total = page(world, call, call.json(), "news")
    items = [
        {
            "media_id": row["media_id"],
            "content": {"news_item": _items(row)},
            "update_time": int(row["made_at"]),
        }
        for row in rows
    ]
    return {"total_count": total, "item_count": len(items), "item": items}


@endpoint("/cgi-bin/draft/delete", needs="materials", quota="draft/delete")
def delete(world: World, call: Call) -> Json:
    row = _draft(world, call, call.json())
    world.store.run("DELETE FROM media WHERE media_id = ?", row["media_id"])
    return ok()


@endpoint("/cgi-bin/freepublish/submit", needs="publish", quota="freepublish/submit")
def submit(world: World, call: Call) -> Json:
    row = _draft(world, call, call.json())
    number = world.store.next_id("publish", PUBLISH_ID_START)
    fault = faults.take(world.store, EVENT, call.me.app_id, world.chance, faults.RESULT_KINDS)
    status = PUBLISHED
    if fault is not None:
        status = REFUSED if fault.kind == "result_blocked" else FAILED
    due = world.now() + float(call.me.options.get("publish_seconds", PUBLISH_SECONDS))
    articles = _items(row)
    for article in articles:
        article["url"] = f"http://mp.weixin.qq.com/s/{secret(22)}"
    world.store.run(
        "INSERT INTO published VALUES (?, ?, ?, ?, ?, ?)",
        number,
        call.me.id,
        secret(43),
        due,
        status,
        json.dumps(articles, ensure_ascii=False),
    )
    if status == PUBLISHED:
        media.end(world, row["media_id"], due)
    found = world.store.one("SELECT * FROM published WHERE id = ?", number)
    assert found is not None
    told = {
        "ToUserName": call.me.original_id,
        "FromUserName": "oPlatform_publish",
        "CreateTime": int(due),
        "MsgType": "event",
        "Event": EVENT,
        "PublishEventInfo": _told(found, status),
    }
    plan_event(world, call.me, due, told)
    return ok(publish_id=str(number), msg_data_id=number + 10**9)


def _told(row: Row, status: int) -> Json:
    """What event and query say of a publication."""
    base: Json = {"publish_id": str(row["id"]), "publish_status": status}
    articles = json.loads(row["articles"])
    if status in (ORIGINALITY, FAILED, REFUSED):
        return base | {"fail_idx": [number for number, _ in enumerate(articles, start=1)]}
    if status != PUBLISHED:
        return base | {"article_id": row["article_id"]} if status == DELETED else base
    items = [
        {"idx": number, "article_url": article["url"]}
        for number, article in enumerate(articles, start=1)
    ]
    detail = {"count": len(items), "item": items}
    return base | {"article_id": row["article_id"], "article_detail": detail, "fail_idx": []}


@endpoint("/cgi-bin/freepublish/get", needs="publish", quota="freepublish/get")
def publication(world: World, call: Call) -> Json:
    number = str(call.json().get("publish_id", ""))
    row = (
        world.store.one(
            "SELECT * FROM published WHERE account_id = ? AND id = ?", call.me.id, int(number)
        )
        if number.isdigit()
        else None
    )
    if row is None:
        raise Refusal(53502, "invalid publish_id")
    return _told(row, row["status"] if row["due_at"] <= world.now() else AT_WORK)


def _published(world: World, call: Call, article_id: Any) -> Row:
    row = world.store.one(
        "SELECT * FROM published WHERE account_id = ? AND article_id = ? AND due_at <= ?",
        call.me.id,
        str(article_id),
        world.now(),
    )
    if row is None or row["status"] not in (PUBLISHED, DELETED):
        raise Refusal(53600, "invalid article_id")
    return row


@endpoint("/cgi-bin/freepublish/delete", needs="publish", quota="freepublish/delete")
def withdraw(world: World, call: Call) -> Json:
    row = _published(world, call, call.json().get("article_id"))
    world.store.run("UPDATE published SET status = ? WHERE id = ?", DELETED, row["id"])
    return ok()


@endpoint("/cgi-bin/freepublish/getarticle", needs="publish", quota="freepublish/getarticle")
def published_article(world: World, call: Call) -> Json:
    row = _published(world, call, call.json().get("article_id"))
    gone = row["status"] == DELETED
    return {"news_item": [{**one, "is_deleted": gone} for one in json.loads(row["articles"])]}


@endpoint("/cgi-bin/freepublish/batchget", needs="publish", quota="freepublish/batchget")
def publications(world: World, call: Call) -> Json:
    body = call.json()
    most = body.get("count")
    if not isinstance(most, int) or not 1 <= most <= LIST_COUNT:
        raise Refusal(45162, "invalid count")
    mine = (call.me.id, PUBLISHED, world.now())
    where = "FROM published WHERE account_id = ? AND status = ? AND due_at <= ?"
    total = world.store.value(f"SELECT count(*) {where}", *mine)
    rows = world.store.all(
        f"SELECT * {where} ORDER BY due_at DESC, id DESC LIMIT ? OFFSET ?",
        *mine,
        most,
        int(body.get("offset", 0)),
    )
    items = [
        {
            "article_id": row["article_id"],
            "content": {"news_item": json.loads(row["articles"])},
            "update_time": int(row["due_at"]),
        }
        for row in rows
    ]
    return {"total_count": total, "item_count": len(items), "item": items}
