"""What followers do: follow, scan, write, tap, view, leave. Each is a push; each may open a window."""

from dataclasses import asdict
from typing import Any

from bot.sandbox import api_notices, menus, windows
from bot.sandbox.accounts import Account, get
from bot.sandbox.pushes import push
from bot.sandbox.state import Row
from bot.sandbox.world import World, follower, secret

MESSAGE_ID_START = 24_000_000_000_000_001
# menu taps that let the account answer 3 times within a minute. Source: docs/wechat-limits.md 9
OPENING_TAPS = {"CLICK", "scancode_push", "scancode_waitmsg"}


class NotPossible(ValueError):
    """The persona cannot do that now: not a follower, blacklisted, the code has expired."""


Result = dict[str, Any]


def _fields(world: World, account: Account, open_id: str, kind: str) -> Result:
    return {
        "ToUserName": account.original_id,
        "FromUserName": open_id,
        "CreateTime": int(world.now()),
        "MsgType": kind,
    }


def _present(world: World, account: Account, open_id: str) -> Row:
    row = follower(world, account.id, open_id)
    if row is None or not row["subscribed"]:
        raise NotPossible(f"{open_id} does not follow {account.app_id}")
    return row


def _send(world: World, account: Account, fields: Result) -> Result:
    return asdict(push(world, account, fields))


def event(world: World, app_id: str, open_id: str, name: str, **more: Any) -> Result:
    """Push any event of a follower, for kinds that have no act of their own."""
    account = get(world.store, app_id)
    return _send(world, account, _fields(world, account, open_id, "event") | {"Event": name} | more)


def follow(
    world: World, app_id: str, open_id: str, scene: str | None = None, source: str | None = None
) -> Result:
    """Follow, by a parametric code when ``scene`` is given; ``source`` is an ADD_SCENE_… word."""
    account = get(world.store, app_id)
    ticket = _ticket(world, account, scene) if scene else None
    with world.store.writing():
        row = follower(world, account.id, open_id)
        if row is not None and row["subscribed"]:
            raise NotPossible(f"{open_id} already follows")
        now = world.now()
        came = source or ("ADD_SCENE_QR_CODE" if scene else "ADD_SCENE_SEARCH")
        world.store.run(
            "INSERT INTO followers (account_id, open_id, subscribe_time, subscribe_scene, scene)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT (account_id, open_id) DO UPDATE SET subscribed = 1,"
            " subscribe_time = excluded.subscribe_time, scene = excluded.scene,"
            " subscribe_scene = excluded.subscribe_scene",
            account.id,
            open_id,
            now,
            came,
            scene or "",
        )
        windows.open_short(world.store, account.id, open_id, now)
    key = {"EventKey": f"qrscene_{scene}" if scene else ""}
    if ticket:
        key["Ticket"] = ticket
    return event(world, app_id, open_id, "subscribe", **key)


def _ticket(world: World, account: Account, scene: str) -> str:
    """The ticket of a live code of this scene; scenes without any code count as printed long ago.

    Raises:
        NotPossible: every code of the scene has expired.
    """
    rows = world.store.all(
        "SELECT ticket, expires_at FROM qrcodes WHERE account_id = ? AND scene = ?",
        account.id,
        scene,
    )
    live = [row["ticket"] for row in rows if row["expires_at"] > world.now()]
    if rows and not live:
        raise NotPossible(f"the code of scene {scene} has expired")
    return live[-1] if live else f"gQOLD{secret(27)}"


def scan(world: World, app_id: str, open_id: str, scene: str) -> Result:
    """Scan a parametric code: SCAN for a follower, subscribe for anybody else who then follows."""
    account = get(world.store, app_id)
    row = follower(world, account.id, open_id)
    if row is None or not row["subscribed"]:
        return follow(world, app_id, open_id, scene)
    ticket = _ticket(world, account, scene)
    windows.open_short(world.store, account.id, open_id, world.now())
    return event(world, app_id, open_id, "SCAN", EventKey=scene, Ticket=ticket)


def message(world: World, app_id: str, open_id: str, kind: str, **fields: Any) -> Result:
    """Send a message of any kind; ``fields`` are the platform's element names. Opens 5 in 48 hours."""
    account = get(world.store, app_id)
    if _present(world, account, open_id)["blacklisted"]:
        raise NotPossible(f"{open_id} is on the blacklist and cannot write")
    now = world.now()
    if "bizmsgmenuid" in fields:  # a menu click in disguise. Source: docs/wechat-limits.md 9
        windows.open_short(world.store, account.id, open_id, now)
    else:
        windows.open_long(world.store, account.id, open_id, now)
    number = world.store.next_id("message", MESSAGE_ID_START)
    body = _fields(world, account, open_id, kind) | fields
    return _send(world, account, body | {"MsgId": number})


def say(world: World, app_id: str, open_id: str, text: str, menu_item: str | None = None) -> Result:
    """Write a text; ``menu_item`` is the id of the message-menu item that was clicked."""
    more = {} if menu_item is None else {"bizmsgmenuid": menu_item}
    return message(world, app_id, open_id, "text", Content=text, **more)


def allow(world: World, app_id: str, open_id: str, template_id: str, accept: bool = True) -> Result:
    """Answer the question whether notices of a template are welcome: one more is, or none at all."""
    account = get(world.store, app_id)
    with world.store.writing():
        api_notices.accept(world, account.id, open_id, template_id, 1 if accept else 0)
    status = "accept" if accept else "reject"
    answer = {"TemplateId": template_id, "SubscribeStatusString": status, "PopupScene": 2}
    fields = _fields(world, account, open_id, "event") | {"Event": "subscribe_msg_popup_event"}
    return _send(world, account, fields | {"SubscribeMsgPopupEvent": {"List": answer}})


def tap(world: World, app_id: str, open_id: str, key: str, kind: str | None = None) -> Result:
    """Tap the menu button with this key; its type comes from the menu, ``click`` if it is not there."""
    account = get(world.store, app_id)
    _present(world, account, open_id)
    found = kind or menus.type_of_key(world, account, open_id, key) or "click"
    name = "CLICK" if found == "click" else found
    if name in OPENING_TAPS:
        windows.open_short(world.store, account.id, open_id, world.now())
    more: Result = {"EventKey": key}
    if name.startswith("scancode"):
        more["ScanCodeInfo"] = {"ScanType": "qrcode", "ScanResult": "https://example.com/q"}
    if name.startswith("pic_"):
        more["SendPicsInfo"] = {"Count": 1, "PicList": {"item": {"PicMd5Sum": secret(32)}}}
    return event(world, app_id, open_id, name, **more)


def view(world: World, app_id: str, open_id: str, url: str) -> Result:
    """Tap a menu button that opens a page: no window opens."""
    _present(world, get(world.store, app_id), open_id)
    return event(world, app_id, open_id, "VIEW", EventKey=url, MenuId=menus.DEFAULT_MENU_ID)


def leave(world: World, app_id: str, open_id: str) -> Result:
    """Unfollow. Tags and remark are lost, as on the platform; what was received is not."""
    account = get(world.store, app_id)
    _present(world, account, open_id)
    with world.store.writing():
        world.store.run(
            "UPDATE followers SET subscribed = 0, remark = '' WHERE account_id = ? AND open_id = ?",
            account.id,
            open_id,
        )
        world.store.run(
            "DELETE FROM follower_tags WHERE account_id = ? AND open_id = ?", account.id, open_id
        )
        windows.close(world.store, account.id, open_id)
    return event(world, app_id, open_id, "unsubscribe", EventKey="")
