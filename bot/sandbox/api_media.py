"""Temporary media and permanent material. Source: docs/wechat-limits.md 8 (2026-11)."""

import json
from typing import Any

from bot.sandbox import media, menus
from bot.sandbox.calls import Call, File, Json, Raw, endpoint, ok
from bot.sandbox.limits import (
    LIST_COUNT,
    MATERIAL_COUNT,
    MATERIAL_MORE_SUFFIXES,
    MEDIA_BYTES,
    MEDIA_SUFFIXES,
    UPLOADIMG_BYTES,
)
from bot.sandbox.refusal import Refusal
from bot.sandbox.state import Row
from bot.sandbox.world import World, secret

LINKS = "uploadimg."  # addresses of pictures that may stand in an article are kept under it
TOO_BIG = {"image": 40009, "voice": 40010, "video": 40011, "thumb": 40012}


def _file(call: Call, kind: str, suffixes: tuple[str, ...], limit: int) -> File:
    file = call.files.get("media")
    if file is None or not file.body:
        raise Refusal(41005, "media data missing")
    if file.name.rsplit(".", 1)[-1].lower() not in suffixes:
        raise Refusal(40005, "invalid file type")
    if len(file.body) > limit:
        raise Refusal(TOO_BIG[kind], "invalid file size")
    return file


@endpoint("/cgi-bin/media/upload", needs="materials", quota="media/upload")
def upload(world: World, call: Call) -> Json:
    kind = call.args.get("type") or call.form.get("type", "")
    if kind not in MEDIA_SUFFIXES:
        raise Refusal(40004, "invalid media type")
    file = _file(call, kind, MEDIA_SUFFIXES[kind], MEDIA_BYTES[kind])
    media_id = media.put(world, call.me, kind, file.name, file.body, permanent=False)
    name = "thumb_media_id" if kind == "thumb" else "media_id"
    return {"type": kind, name: media_id, "created_at": int(world.now())}


def _bytes_of(row: Any) -> Raw:
    return Raw(row["body"], "application/octet-stream")


@endpoint("/cgi-bin/media/get", "GET", needs="materials", quota="media/get")
def get(world: World, call: Call) -> Json | Raw:
    row = media.find(world, call.me, call.args.get("media_id", ""))
    if row["kind"] == "video":
        return {"video_url": f"http://127.0.0.1/video/{row['media_id']}"}
    return _bytes_of(row)


@endpoint("/cgi-bin/media/uploadimg", needs="materials", quota=None)
def upload_image(world: World, call: Call) -> Json:
    _file(call, "image", ("jpg", "jpeg", "png"), UPLOADIMG_BYTES)
    url = f"http://mmbiz.qpic.cn/sandbox/{secret(24)}/0"
    world.store.keep(f"{LINKS}{call.me.id}.{url}", "1")
    return {"url": url}


@endpoint("/cgi-bin/media/uploadvideo", needs="materials", quota=None)
def upload_video(world: World, call: Call) -> Json:
    body = call.json()
    row = media.need(world, call.me, body, "media_id", "video")
    extra = {"title": body.get("title", ""), "description": body.get("description", "")}
    media_id = media.put(
        world, call.me, "mpvideo", row["name"], row["body"], permanent=False, extra=extra
    )
    return {"type": "video", "media_id": media_id, "created_at": int(world.now())}


@endpoint("/cgi-bin/material/add_material", needs="materials", quota=None)
def add_material(world: World, call: Call) -> Json:
    kind = call.args.get("type") or call.form.get("type", "")
    if kind not in MEDIA_SUFFIXES:
        raise Refusal(40004, "invalid media type")
    suffixes = MEDIA_SUFFIXES[kind] + MATERIAL_MORE_SUFFIXES.get(kind, ())
    file = _file(call, kind, suffixes, MEDIA_BYTES[kind])
    if count(world, call, kind) >= MATERIAL_COUNT[kind]:
        raise Refusal(45034, "media count out of limit")
    extra: Json = {}
    if kind == "video":
        try:
            extra = json.loads(call.form.get("description", ""))
        except ValueError as error:
            raise Refusal(47001) from error
    url = f"http://mmbiz.qpic.cn/sandbox/{secret(24)}/0" if kind == "image" else ""
    media_id = media.put(
        world, call.me, kind, file.name, file.body, permanent=True, extra=extra | {"url": url}
    )
    return {"media_id": media_id, **({"url": url} if url else {})}


def count(world: World, call: Call, kind: str) -> int:
    return int(
        world.store.value(
            "SELECT count(*) FROM media WHERE account_id = ? AND kind = ? AND permanent"
            " AND expires_at > ?",
            call.me.id,
            kind,
            world.now(),
        )
    )


@endpoint("/cgi-bin/material/get_material", needs="materials", quota=None)
def get_material(world: World, call: Call) -> Json | Raw:
    row = media.find(world, call.me, call.json().get("media_id"))
    if row["kind"] == "video":
        extra = json.loads(row["extra"])
        down = f"http://127.0.0.1/video/{row['media_id']}"
        return {"title": extra.get("title", ""), "description": "", "down_url": down}
    if row["kind"] == "news":
        return {"news_item": json.loads(row["extra"])["articles"]}
    return _bytes_of(row)


@endpoint("/cgi-bin/material/del_material", needs="materials", quota=None)
def delete_material(world: World, call: Call) -> Json:
    row = media.find(world, call.me, call.json().get("media_id"))
    if not row["permanent"]:
        raise Refusal(40007, "invalid media_id")
    if menus.names_media(world, call.me, row["media_id"]):
        raise Refusal(48005, "api forbidden for deleting a material in use")
    world.store.run("DELETE FROM media WHERE media_id = ?", row["media_id"])
    return ok()


@endpoint("/cgi-bin/material/get_materialcount", "GET", needs="materials", quota=None)
def count_material(world: World, call: Call) -> Json:
    kinds = ("voice", "video", "image", "news")
    return {f"{kind}_count": count(world, call, kind) for kind in kinds}


def page(world: World, call: Call, body: Json, kind: str) -> tuple[list[Row], int]:
    """``count`` permanent items from ``offset``, newest first, and how many there are."""
    most = body.get("count")
    if not isinstance(most, int) or not 1 <= most <= LIST_COUNT:
        raise Refusal(45162, "invalid count")
    rows = world.store.all(
        "SELECT media_id, name, made_at, extra FROM media WHERE account_id = ? AND kind = ?"
        " AND permanent AND expires_at > ? ORDER BY made_at DESC, media_id LIMIT ? OFFSET ?",
        call.me.id,
        kind,
        world.now(),
        most,
        int(body.get("offset", 0)),
    )
    return rows, count(world, call, kind)


@endpoint("/cgi-bin/material/batchget_material", needs="materials", quota=None)
def list_material(world: World, call: Call) -> Json:
    body = call.json()
    rows, total = page(world, call, body, str(body.get("type", "")))
    items = [
        {
            "media_id": row["media_id"],
            "name": row["name"],
            "update_time": int(row["made_at"]),
            "url": json.loads(row["extra"]).get("url", ""),
        }
        for row in rows
    ]
    return {"total_count": total, "item_count": len(items), "item": items}
