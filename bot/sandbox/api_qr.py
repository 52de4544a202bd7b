"""Parametric QR codes. Source: docs/wechat-limits.md 6 (read 2026-11)."""

import io
from typing import Any

import segno

from bot.sandbox.calls import Call, Json, Raw, endpoint
from bot.sandbox.limits import (
    QR_DEFAULT_SECONDS,
    QR_PERMANENT_CODES,
    QR_PERMANENT_SCENE,
    QR_SCENE_CHARACTERS,
    QR_SCENE_ID,
    QR_SECONDS,
)
from bot.sandbox.media import FOREVER
from bot.sandbox.refusal import Refusal
from bot.sandbox.world import World, secret

# action_name: (permanent, the scene is text)
ACTIONS = {
    "QR_SCENE": (False, False),
    "QR_STR_SCENE": (False, True),
    "QR_LIMIT_SCENE": (True, False),
    "QR_LIMIT_STR_SCENE": (True, True),
}


def _scene(body: Json, permanent: bool, text: bool) -> str:
    info = body.get("action_info")
    scene = info.get("scene") if isinstance(info, dict) else None
    if not isinstance(scene, dict):
        raise Refusal(40053, "invalid action info")
    value: Any = scene.get("scene_str" if text else "scene_id")
    if text:
        if not isinstance(value, str) or not 1 <= len(value) <= QR_SCENE_CHARACTERS:
            raise Refusal(40053, "invalid action info")
        return value
    highest = QR_PERMANENT_SCENE if permanent else QR_SCENE_ID
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= highest:
        raise Refusal(40053, "invalid action info")
    return str(value)


def _seconds(body: Json) -> int:
    value = body.get("expire_seconds", QR_DEFAULT_SECONDS)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= QR_SECONDS:
        raise Refusal(40053, "invalid expire_seconds")
    return value


@endpoint("/cgi-bin/qrcode/create", needs="qr", quota="qrcode/create")
def create(world: World, call: Call) -> Json:
    body = call.json()
    if body.get("action_name") not in ACTIONS:
        raise Refusal(40052, "invalid action name")
    permanent, text = ACTIONS[body["action_name"]]
    scene = _scene(body, permanent, text)
    seconds = 0 if permanent else _seconds(body)
    if permanent:
        old = world.store.one(
            "SELECT ticket, url FROM qrcodes WHERE account_id = ? AND scene = ? AND permanent",
            call.me.id,
            scene,
        )
        if old is not None:  # the same permanent scene is the same code
            return {"ticket": old["ticket"], "url": old["url"]}
        count = world.store.value(
            "SELECT count(*) FROM qrcodes WHERE account_id = ? AND permanent", call.me.id
        )
        if count >= QR_PERMANENT_CODES:
            raise Refusal(45029, "qrcode count out of limit")
    ticket, url = f"gQ{secret(90)}==", f"http://weixin.qq.com/q/{secret(20)}"
    world.store.run(
        "INSERT INTO qrcodes VALUES (?, ?, ?, ?, ?, ?)",
        ticket,
        call.me.id,
        scene,
        permanent,
        FOREVER if permanent else world.now() + seconds,
        url,
    )
    more = {} if permanent else {"expire_seconds": seconds}
    return {"ticket": ticket, **more, "url": url}


@endpoint("/cgi-bin/showqrcode", "GET", token=False)
def show(world: World, call: Call) -> Raw:
    """The picture: a PNG here, a JPG on the platform."""
    url = world.store.value(
        "SELECT url FROM qrcodes WHERE ticket = ? AND expires_at > ?",
        call.args.get("ticket", ""),
        world.now(),
    )
    if url is None:
        return Raw(b"", status=404)
    picture = io.BytesIO()
    segno.make(url).save(picture, kind="png", scale=8)
    return Raw(picture.getvalue(), "image/png")
