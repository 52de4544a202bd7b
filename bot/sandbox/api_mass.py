"""Mass sends: who may, what, how often, and the same call twice. Source: docs/wechat-limits.md 8 (read 2026-11)."""

import json
from typing import Any

from bot.sandbox import mass_jobs, mass_rules, media
from bot.sandbox.accounts import Account
from bot.sandbox.calls import Call, Json, endpoint, ok, present, text_of
from bot.sandbox.limits import (
    MASS_IMAGES,
    MASS_OPEN_IDS,
    MASS_OPEN_IDS_LEAST,
    MASS_SPEEDS,
    MASS_TEXT_CHARACTERS,
    SYSTEM_TAG_IDS,
    TEXT_BYTES,
)
from bot.sandbox.refusal import Refusal
from bot.sandbox.world import World, show

RETIRED = "wxcard"


def content(world: World, account: Account, body: Json, preview: bool = False) -> Json:
    """What followers would see.

    Raises:
        Refusal: 40008, 40007, 44004, 45002, 40215, 45113.
    """
    kind = body.get("msgtype")
    if kind == "text":
        text = text_of(body, kind, "content", limit=TEXT_BYTES)
        if len(text) > MASS_TEXT_CHARACTERS:
            raise Refusal(45002)
        return {"type": kind, "text": text}
    if kind == "image" and not preview:
        payload = body.get("images")
        ids = payload.get("media_ids") if isinstance(payload, dict) else None
        if not isinstance(ids, list) or not ids:
            raise Refusal(40008, "invalid message type")
        if len(ids) > MASS_IMAGES:
            raise Refusal(40215, "too many images")
        for each in ids:
            media.need(world, account, {"media_id": each}, "media_id", "image")
        return {"type": kind, **body["images"]}
    if kind in ("image", "voice", "mpnews", "mpvideo", "music"):
        wanted = {"mpnews": "news", "music": "thumb"}.get(kind, str(kind))
        row = media.need(world, account, body.get(kind), "media_id", wanted)
        more = {}
        if kind == "mpnews":
            more["title"] = json.loads(row["extra"])["articles"][0]["title"]
        return {"type": kind, **body[kind], **more}
    if kind == RETIRED:
        raise Refusal(45113, "cards can no longer be sent")
    raise Refusal(40008, "invalid message type")


def _submit(world: World, call: Call, audience: str, seen: Json, client_id: str) -> int:
    number = mass_jobs.create(world, call.me, audience, seen, client_id)
    now = world.now()
    world.store.run(
        "INSERT INTO client_ids VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " job_id = excluded.job_id, at = excluded.at, tried_at = excluded.tried_at, lost = excluded.lost",
        call.me.id,
        client_id,
        number,
        now,
        now,
        call.answer_lost,
    )
    return number


def _answer(number: int, seen: Json) -> Json:
    more = {"msg_data_id": number + 10**9} if seen["type"] == "mpnews" else {}
    return {"errcode": 0, "errmsg": "send job submission success", "msg_id": number, **more}


def _agreed(account: Account) -> None:
    if account.options.get("agreement") is False:
        raise Refusal(48003, "mass send agreement not accepted")


@endpoint("/cgi-bin/message/mass/send", needs="mass_open_ids", quota="mass")
def send(world: World, call: Call) -> Json:
    body = call.json()
    _agreed(call.me)
    touser = body.get("touser")
    if not isinstance(touser, list):
        raise Refusal(40031)
    open_ids = list(dict.fromkeys(each for each in touser if isinstance(each, str) and each))
    if len(touser) > MASS_OPEN_IDS:
        raise Refusal(40032)
    if len(touser) < MASS_OPEN_IDS_LEAST:
        raise Refusal(40130)
    if len(open_ids) != len(touser):
        raise Refusal(40031)  # blanks, numbers or the same one twice
    client_id = mass_rules.client_id(sorted(open_ids), body)
    mass_rules.once(world, call.me, client_id)
    seen = content(world, call.me, body)
    number = _submit(world, call, "open_ids", seen, client_id)
    mass_jobs.target_open_ids(world, number, open_ids)
    strangers = world.store.value(
        "SELECT count(*) FROM mass_targets t LEFT JOIN followers f"
        " ON f.account_id = ? AND f.open_id = t.open_id WHERE t.job_id = ? AND f.id IS NULL",
        call.me.id,
        number,
    )
    if strangers:  # the whole call is undone
        raise Refusal(40003)
    return _answer(number, seen)


@endpoint("/cgi-bin/message/mass/sendall", needs="mass", quota="mass")
def send_all(world: World, call: Call) -> Json:
    body = call.json()
    _agreed(call.me)
    chosen = body.get("filter")
    # strings where booleans and numbers belong were answered with 40008. Source: 8.2
    if not isinstance(chosen, dict) or not isinstance(chosen.get("is_to_all"), bool):
        raise Refusal(40008, "invalid filter")
    to_all = chosen["is_to_all"]
    tag_id = chosen.get("tag_id")
    if not to_all and (not isinstance(tag_id, int) or isinstance(tag_id, bool)):
        raise Refusal(40008, "invalid filter")
    client_id = mass_rules.client_id(chosen, body)
    mass_rules.once(world, call.me, client_id)
    if not to_all and tag_id not in SYSTEM_TAG_IDS:
        found = world.store.one(
            "SELECT id FROM tags WHERE account_id = ? AND id = ?", call.me.id, tag_id
        )
        if found is None:
            raise Refusal(40152)
    seen = content(world, call.me, body)
    mass_rules.quota(world, call.me, to_all)
    number = _submit(world, call, "all" if to_all else "tag", seen, client_id)
    if to_all:
        mass_jobs.target_all(world, call.me, number)
    else:
        mass_jobs.target_tag(world, call.me, number, int(tag_id or 0))
    return _answer(number, seen)


@endpoint("/cgi-bin/message/mass/preview", needs="mass", quota="mass/preview")
def preview(world: World, call: Call) -> Json:
    body = call.json()
    if body.get("touser") is None and body.get("towxname"):
        raise Refusal(40132, "invalid weixin id")  # nobody here has one
    follower = present(world, call.me, body.get("touser"))
    seen = content(world, call.me, body, preview=True)
    show(world, call.me.id, follower["open_id"], "preview", seen)
    return ok(msg_id=mass_jobs.create_preview_id(world))


def _job(world: World, call: Call, msg_id: Any) -> Any:
    text = str(msg_id)
    row = (
        world.store.one(
            "SELECT * FROM mass_jobs WHERE account_id = ? AND id = ?", call.me.id, int(text)
        )
        if text.isdigit()
        else None
    )
    if row is None:
        raise Refusal(40059, "invalid msg_id")
    return row


@endpoint("/cgi-bin/message/mass/get", needs="mass", quota=None)
def get(world: World, call: Call) -> Json:
    row = _job(world, call, call.json().get("msg_id"))
    return {"msg_id": row["id"], "msg_status": row["status"]}


@endpoint("/cgi-bin/message/mass/delete", needs="mass", quota="mass/delete")
def delete(world: World, call: Call) -> Json:
    row = _job(world, call, call.json().get("msg_id"))
    kind = json.loads(row["body"])["type"]
    if row["status"] != "SEND_SUCCESS" or kind not in ("mpnews", "mpvideo"):
        raise Refusal(40059, "only sent articles and videos can be deleted")
    world.store.run("UPDATE mass_jobs SET status = 'DELETE' WHERE id = ?", row["id"])
    return ok()


@endpoint("/cgi-bin/message/mass/speed/get", needs="mass", quota=None)
def speed(world: World, call: Call) -> Json:
    number = world.store.value("SELECT speed FROM accounts WHERE id = ?", call.me.id)
    return {"speed": number, "realspeed": MASS_SPEEDS[number]}


@endpoint("/cgi-bin/message/mass/speed/set", needs="mass", quota=None)
def set_speed(world: World, call: Call) -> Json:
    number = call.json().get("speed")
    if number is None:
        raise Refusal(45084, "speed missing")
    if number not in MASS_SPEEDS:
        raise Refusal(45083, "speed must be 0 to 4")
    world.store.run("UPDATE accounts SET speed = ? WHERE id = ?", number, call.me.id)
    return ok()
