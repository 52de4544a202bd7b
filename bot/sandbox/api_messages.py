"""Customer-service messages and typing. Source: docs/wechat-limits.md 9 (read 2026-11)."""

import json
from typing import Any

from bot.sandbox import media, windows
from bot.sandbox.accounts import Account
from bot.sandbox.calls import Call, Json, endpoint, ok, present, text_of
from bot.sandbox.limits import CUSTOMER_SERVICE_ARTICLES, MSGMENU_ITEMS, TEXT_BYTES, TYPING_SECONDS
from bot.sandbox.refusal import Refusal
from bot.sandbox.world import World, show


def _news(body: Json) -> Json:
    payload = body.get("news")
    articles = payload.get("articles") if isinstance(payload, dict) else None
    if not isinstance(articles, list) or not articles:
        raise Refusal(44003, "empty news data")
    if len(articles) > CUSTOMER_SERVICE_ARTICLES:
        raise Refusal(45008, "article count out of limit")
    if not articles[0].get("title"):
        raise Refusal(45003, "title size out of limit")
    if not str(articles[0].get("url", "")).startswith(("http://", "https://")):
        raise Refusal(40048, "invalid url")
    return {"articles": articles}


def _menu(body: Json) -> Json:
    payload = body.get("msgmenu")
    items = payload.get("list") if isinstance(payload, dict) else None
    if not isinstance(payload, dict) or not isinstance(items, list) or not items:
        raise Refusal(45098, "msgmenu list size")
    if len(items) > MSGMENU_ITEMS:
        raise Refusal(45098, "msgmenu list size")
    if any(not item.get("id") or not item.get("content") for item in items):
        raise Refusal(45099, "msgmenu item size")
    return payload


def content(world: World, account: Account, body: Json) -> Json:
    """What the follower would see.

    Raises:
        Refusal: 40008 type, 40007 media, 44004 empty text, 45002 too long, 45008 too many articles.
    """
    kind = body.get("msgtype")
    if kind == "text":
        return {"type": kind, "text": text_of(body, kind, "content", limit=TEXT_BYTES)}
    if kind in ("image", "voice", "video"):
        payload = body.get(kind)
        media.need(world, account, payload, "media_id", kind)
        return {"type": kind, **_plain(payload)}
    if kind == "music":
        payload = body.get(kind)
        media.need(world, account, payload, "thumb_media_id", "thumb")
        return {"type": kind, **_plain(payload)}
    if kind == "news":
        return {"type": kind, **_news(body)}
    if kind == "mpnews":
        media.need(world, account, body.get(kind), "media_id", "news")
        return {"type": kind, **_plain(body[kind])}
    if kind == "mpnewsarticle":
        payload = _plain(body.get(kind))
        found = world.store.one(
            "SELECT articles FROM published WHERE account_id = ? AND article_id = ? AND status = 0"
            " AND due_at <= ?",
            account.id,
            str(payload.get("article_id")),
            world.now(),
        )
        if found is None:
            raise Refusal(53600, "invalid article_id")
        return {"type": kind, **payload, "title": json.loads(found["articles"])[0]["title"]}
    if kind == "msgmenu":
        return {"type": kind, **_menu(body)}
    if kind == "miniprogrampage":
        payload = _plain(body.get(kind))
        if not all(payload.get(name) for name in ("title", "appid", "pagepath", "thumb_media_id")):
            raise Refusal(40165, "invalid mini program page")
        media.need(world, account, payload, "thumb_media_id", "image")
        linked = account.options.get("mini_programs")
        if linked is not None and payload["appid"] not in linked:
            raise Refusal(45064, "no permission to use weapp in menu")
        return {"type": kind, **payload}
    raise Refusal(40008, "invalid message type")


def _plain(payload: Any) -> Json:
    if not isinstance(payload, dict):
        raise Refusal(40008, "invalid message type")
    return payload


@endpoint("/cgi-bin/message/custom/send", needs="customer_service", quota="custom/send")
def send(world: World, call: Call) -> Json:
    body = call.json()
    follower = present(world, call.me, body.get("touser"))
    if follower["blacklisted"]:
        raise Refusal(43019)
    if follower["refuses"]:
        raise Refusal(48002)
    seen = content(world, call.me, body)
    windows.take(world.store, follower, world.now())
    show(world, call.me.id, follower["open_id"], "customer_service", seen)
    return ok()


@endpoint("/cgi-bin/message/custom/typing", needs="customer_service", quota=None)
def typing(world: World, call: Call) -> Json:
    body = call.json()
    follower = present(world, call.me, body.get("touser"))
    if body.get("command") not in ("Typing", "CancelTyping"):
        raise Refusal(45072, "invalid command")
    if world.now() - follower["wrote_at"] > TYPING_SECONDS:
        raise Refusal(45080, "can not response typing because of no message in 30s")
    return ok()
