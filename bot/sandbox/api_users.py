"""Followers: list, details, remark, blacklist. Source: docs/wechat-limits.md 5 (read 2026-11)."""

from typing import Any

from bot.sandbox.accounts import Account
from bot.sandbox.calls import Call, Json, endpoint, known, ok, present
from bot.sandbox.limits import (
    BATCH_GET,
    BLACKLIST_BATCH,
    BLACKLIST_PER_PAGE,
    FOLLOWERS_PER_PAGE,
    REMARK_BYTES,
)
from bot.sandbox.refusal import Refusal
from bot.sandbox.state import Row
from bot.sandbox.world import World


def page(open_ids: list[str], **more: Any) -> Json:
    """``data`` is absent when there is nothing, and next_openid is the last of the page."""
    if not open_ids:
        return {**more, "count": 0, "next_openid": ""}
    return {
        **more,
        "count": len(open_ids),
        "data": {"openid": open_ids},
        "next_openid": open_ids[-1],
    }


def after(world: World, account: Account, open_id: Any) -> int:
    """The row id behind which a page begins.

    Raises:
        Refusal: 40003 the OpenID to go on from is unknown.
    """
    return int(known(world, account, open_id)["id"]) if open_id else 0


@endpoint("/cgi-bin/user/get", "GET", needs="users", quota="user/get")
def user_get(world: World, call: Call) -> Json:
    rows = world.store.all(
        "SELECT open_id FROM followers WHERE account_id = ? AND subscribed AND id > ? ORDER BY id LIMIT ?",
        call.me.id,
        after(world, call.me, call.args.get("next_openid")),
        FOLLOWERS_PER_PAGE,
    )
    total = world.store.value(
        "SELECT count(*) FROM followers WHERE account_id = ? AND subscribed", call.me.id
    )
    return page([row["open_id"] for row in rows], total=total)


def details(world: World, account: Account, row: Row) -> Json:
    """What user/info still tells: no name, no picture."""
    if not row["subscribed"]:
        return {"subscribe": 0, "openid": row["open_id"]}
    tags = world.store.all(
        "SELECT tag_id FROM follower_tags WHERE account_id = ? AND open_id = ? ORDER BY added",
        account.id,
        row["open_id"],
    )
    scene = row["scene"]
    return {
        "subscribe": 1,
        "openid": row["open_id"],
        "language": "zh_CN",
        "subscribe_time": int(row["subscribe_time"]),
        **({"unionid": row["unionid"]} if row["unionid"] else {}),
        "remark": row["remark"],
        "groupid": 0,
        "tagid_list": [tag["tag_id"] for tag in tags],
        "subscribe_scene": row["subscribe_scene"],
        "qr_scene": int(scene) if scene.isdigit() else 0,
        "qr_scene_str": "" if scene.isdigit() else scene,
    }


@endpoint("/cgi-bin/user/info", "GET", needs="users", quota="user/info")
def user_info(world: World, call: Call) -> Json:
    return details(world, call.me, known(world, call.me, call.args.get("openid")))


@endpoint("/cgi-bin/user/info/batchget", needs="users", quota="user/info")
def batch_get(world: World, call: Call) -> Json:
    wanted = call.json().get("user_list")
    if not isinstance(wanted, list) or not wanted:
        raise Refusal(40031)
    if len(wanted) > BATCH_GET:
        raise Refusal(40032)
    if not all(isinstance(each, dict) for each in wanted):
        raise Refusal(40031)
    rows = [known(world, call.me, each.get("openid")) for each in wanted]
    return {"user_info_list": [details(world, call.me, row) for row in rows]}


@endpoint("/cgi-bin/user/info/updateremark", needs="remark", quota="user/updateremark")
def remark(world: World, call: Call) -> Json:
    body = call.json()
    row = present(world, call.me, body.get("openid"))
    text = body.get("remark")
    if not isinstance(text, str) or len(text.encode()) > REMARK_BYTES:
        raise Refusal(40092, "invalid remark name")
    world.store.run("UPDATE followers SET remark = ? WHERE id = ?", text, row["id"])
    return ok()


@endpoint("/cgi-bin/tags/members/getblacklist", needs="users")
def blacklist(world: World, call: Call) -> Json:
    begin = call.json().get("begin_openid")
    rows = world.store.all(
        "SELECT open_id FROM followers WHERE account_id = ? AND blacklisted AND id > ? ORDER BY id LIMIT ?",
        call.me.id,
        after(world, call.me, begin),
        BLACKLIST_PER_PAGE,
    )
    total = world.store.value(
        "SELECT count(*) FROM followers WHERE account_id = ? AND blacklisted", call.me.id
    )
    return page([row["open_id"] for row in rows], total=total)


def _set_blacklist(world: World, call: Call, value: int) -> Json:
    open_ids = call.json().get("openid_list")
    if not isinstance(open_ids, list) or not open_ids:
        raise Refusal(40031)
    if len(open_ids) > BLACKLIST_BATCH:
        raise Refusal(40032)
    for open_id in open_ids:
        row = known(world, call.me, open_id)
        world.store.run("UPDATE followers SET blacklisted = ? WHERE id = ?", value, row["id"])
    return ok()


@endpoint("/cgi-bin/tags/members/batchblacklist", needs="users")
def block(world: World, call: Call) -> Json:
    return _set_blacklist(world, call, 1)


@endpoint("/cgi-bin/tags/members/batchunblacklist", needs="users")
def unblock(world: World, call: Call) -> Json:
    return _set_blacklist(world, call, 0)
