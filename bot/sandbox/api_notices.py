"""Template messages, subscription notices and the account's lists of both. Source: docs/wechat-limits.md 10 (2026-11).

The account's option ``templates`` lists what it has: ids, or objects of ``id title content example``, for
subscription notices also ``kind: subscription`` and ``type`` (2 one-time, 3 long-term). Without the option every id
is known and the lists are empty.
"""

import re
from typing import Any

from bot.sandbox import faults
from bot.sandbox.accounts import Account
from bot.sandbox.calls import Call, Json, endpoint, known, ok, present
from bot.sandbox.limits import NOTICE_VALUES, TEMPLATE_REPEAT_SECONDS
from bot.sandbox.mass_jobs import plan_event
from bot.sandbox.refusal import Refusal
from bot.sandbox.state import Row
from bot.sandbox.world import World, show

MSG_ID_START = 2_001_638_360_000_000_001
ONE_TIME, LONG_TERM = 2, 3
TEMPLATE_EVENT, NOTICE_EVENT = "TEMPLATESENDJOBFINISH", "subscribe_msg_sent_event"
_PLACE = re.compile(r"\{\{\s*([A-Za-z_]+\d*)\.DATA\s*\}\}")


def _listed(account: Account, kind: str) -> list[Json] | None:
    listed = account.options.get("templates")
    if listed is None:
        return None
    each = [one if isinstance(one, dict) else {"id": str(one)} for one in listed]
    # one without a kind is of both, so that a short list of ids serves either call
    return [one for one in each if one.get("kind") in (None, kind)]


def _template(account: Account, body: Json, kind: str) -> Json:
    """The template a message names, its data checked.

    Raises:
        Refusal: 40037 unknown, 47003 data missing, of another template, or a value that does not fit.
    """
    name = body.get("template_id")
    listed = _listed(account, kind)
    if not isinstance(name, str) or not name:
        raise Refusal(40037, "invalid template_id")
    found: Json | None = {"id": name}
    if listed is not None:
        found = next((one for one in listed if one["id"] == name), None)
    if found is None:
        raise Refusal(40037, "invalid template_id")
    data = body.get("data")
    if not isinstance(data, dict) or not all(
        isinstance(each, dict) and "value" in each for each in data.values()
    ):
        raise Refusal(47003, "argument invalid! data")
    for key in _PLACE.findall(str(found.get("content", ""))):
        if key not in data:
            raise Refusal(47003, f"argument invalid! data.{key}.value is empty")
    for key, each in data.items():
        if not _fits(key, each["value"]):
            raise Refusal(47003, f"argument invalid! data.{key}.value invalid")
    return found


def _fits(key: str, value: Any) -> bool:
    """Whether a place takes a value, by the letters its name begins with. Old names take anything."""
    text = value if isinstance(value, str) else str(value)
    rule = NOTICE_VALUES.get(re.sub(r"\d+$", "", key))
    if rule is None:
        return True
    return bool(text.strip()) and re.fullmatch(rule, text) is not None


def _jump(account: Account, body: Json, url: str) -> None:
    """Where a tap leads.

    Raises:
        Refusal: 40039 the address, 40166 the mini program is not linked.
    """
    address = body.get(url)
    if address and not str(address).startswith(("http://", "https://")):
        raise Refusal(40039, "invalid url size")
    page = body.get("miniprogram")
    linked = account.options.get("mini_programs")
    if page and linked is not None and page.get("appid") not in linked:
        raise Refusal(40166, "invalid weapp appid")


def _said_before(world: World, call: Call, open_id: str, client_id: Any) -> bool:
    """Whether a client_msg_id of this follower was seen within ten minutes; remembered for the next."""
    if not client_id:
        return False
    key = f"template.{call.me.id}.{open_id}.{client_id}"
    seen = world.store.kept(key)
    world.store.keep(key, str(world.now()))
    return seen is not None and world.now() - float(seen) < TEMPLATE_REPEAT_SECONDS


@endpoint("/cgi-bin/message/template/send", needs="template", quota="template/send")
def template(world: World, call: Call) -> Json:
    body = call.json()
    row = present(world, call.me, body.get("touser"))
    name = _template(call.me, body, "template")["id"]
    _jump(call.me, body, "url")
    if row["refuses"]:
        raise Refusal(43101)
    number = world.store.next_id("template", MSG_ID_START)
    if _said_before(world, call, row["open_id"], body.get("client_msg_id")):
        return ok(msgid=number)  # taken, and not shown a second time
    problem = _problem(world, call.me, TEMPLATE_EVENT)
    status = {None: "success", "result_blocked": "failed:user block"}.get(
        problem, "failed: system failed"
    )
    if problem is None:
        seen = {"type": "template", "template_id": name, **body}
        show(world, call.me.id, row["open_id"], "template", seen)
    _result(world, call.me, row, TEMPLATE_EVENT, {"MsgID": number, "Status": status})
    return ok(msgid=number)


@endpoint("/cgi-bin/message/subscribe/bizsend", needs="subscription", quota=None)
def notice(world: World, call: Call) -> Json:
    """One accept permits one message; accepts are given by ``followers/accept`` or the act ``allow``."""
    body = call.json()
    row = known(world, call.me, body.get("touser"))
    found = _template(call.me, body, "subscription")
    name = found["id"]
    _jump(call.me, body, "page")
    left = _accepts(world, call.me.id, row["open_id"], name)
    if left < 1:
        raise Refusal(43101)
    if found.get("type") != LONG_TERM:
        world.store.keep(_key(call.me.id, row["open_id"], name), str(left - 1))
    number = world.store.next_id("template", MSG_ID_START)
    result: Json = {"TemplateId": name, "MsgID": number}
    if _problem(world, call.me, NOTICE_EVENT) is None:
        seen = {"type": "subscription", "template_id": name, **body}
        show(world, call.me.id, row["open_id"], "subscription", seen)
        result |= {"ErrorCode": 0, "ErrorStatus": "success"}
    else:
        result |= {"ErrorCode": 20001, "ErrorStatus": "system failed"}
    event = {"SubscribeMsgSentEvent": {"List": result}}
    _result(world, call.me, row, NOTICE_EVENT, event)
    return ok()


@endpoint("/cgi-bin/template/get_all_private_template", "GET", needs="template", quota=None)
def private_templates(world: World, call: Call) -> Json:
    return {
        "template_list": [
            {
                "template_id": one["id"],
                "title": one.get("title", ""),
                "primary_industry": "",
                "deputy_industry": "",
                "content": one.get("content", ""),
                "example": one.get("example", ""),
            }
            for one in _listed(call.me, "template") or []
        ]
    }


@endpoint("/wxaapi/newtmpl/gettemplate", "GET", needs="subscription", quota=None)
def notice_templates(world: World, call: Call) -> Json:
    listed = [
        {
            "priTmplId": one["id"],
            "title": one.get("title", ""),
            "content": one.get("content", ""),
            "example": one.get("example", ""),
            "type": one.get("type", ONE_TIME),
        }
        for one in _listed(call.me, "subscription") or []
    ]
    return ok(data=listed)


def accept(world: World, account_id: int, open_id: str, template_id: str, times: int) -> None:
    """The follower allowed ``times`` more notices of a template; 0 takes away what was left."""
    left = _accepts(world, account_id, open_id, template_id) + times if times else 0
    world.store.keep(_key(account_id, open_id, template_id), str(left))


def _accepts(world: World, account_id: int, open_id: str, template_id: str) -> int:
    return int(world.store.kept(_key(account_id, open_id, template_id)) or 0)


def _key(account_id: int, open_id: str, template_id: str) -> str:
    return f"accepts.{account_id}.{open_id}.{template_id}"


def _problem(world: World, account: Account, event: str) -> str | None:
    """The kind of fault that keeps a notice from arriving, if one is armed for its event."""
    fault = faults.take(world.store, event, account.app_id, world.chance, faults.RESULT_KINDS)
    return None if fault is None else fault.kind


def _result(world: World, account: Account, row: Row, event: str, more: Json) -> None:
    plan_event(
        world,
        account,
        world.now(),
        {
            "ToUserName": account.original_id,
            "FromUserName": row["open_id"],
            "CreateTime": int(world.now()),
            "MsgType": "event",
            "Event": event,
            **more,
        },
    )
