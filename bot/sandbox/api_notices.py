"""Template messages and subscription notices, the least of both. Source: docs/wechat-limits.md 10 (read 2026-11)."""

from bot.sandbox.calls import Call, Json, endpoint, known, ok, present
from bot.sandbox.mass_jobs import plan_event
from bot.sandbox.refusal import Refusal
from bot.sandbox.world import World, show

MSG_ID_START = 2_001_638_360_000_000_001


def _template(call: Call, body: Json) -> str:
    """The template; every id is known unless the account's option ``templates`` lists them.

    Raises:
        Refusal: 40037 unknown, 47003 no data.
    """
    name = body.get("template_id")
    listed = call.me.options.get("templates")
    if not isinstance(name, str) or not name or (listed is not None and name not in listed):
        raise Refusal(40037, "invalid template_id")
    data = body.get("data")
    if not isinstance(data, dict) or not all(
        isinstance(each, dict) and "value" in each for each in data.values()
    ):
        raise Refusal(47003, "argument invalid! data")
    return name


@endpoint("/cgi-bin/message/template/send", needs="template", quota="template/send")
def template(world: World, call: Call) -> Json:
    body = call.json()
    row = present(world, call.me, body.get("touser"))
    name = _template(call, body)
    if row["refuses"]:
        raise Refusal(43101)
    number = world.store.next_id("template", MSG_ID_START)
    show(
        world,
        call.me.id,
        row["open_id"],
        "template",
        {"type": "template", "template_id": name, **body},
    )
    plan_event(
        world,
        call.me,
        world.now(),
        {
            "ToUserName": call.me.original_id,
            "FromUserName": row["open_id"],
            "CreateTime": int(world.now()),
            "MsgType": "event",
            "Event": "TEMPLATESENDJOBFINISH",
            "MsgID": number,
            "Status": "success",
        },
    )
    return ok(msgid=number)


@endpoint("/cgi-bin/message/subscribe/bizsend", needs="subscription", quota=None)
def notice(world: World, call: Call) -> Json:
    """One accept permits one message; accepts are given by the control ``followers/accept``."""
    body = call.json()
    row = known(world, call.me, body.get("touser"))
    name = _template(call, body)
    key = f"accepts.{call.me.id}.{row['open_id']}.{name}"
    left = int(world.store.kept(key) or 0)
    if left < 1:
        raise Refusal(43101)
    world.store.keep(key, str(left - 1))
    number = world.store.next_id("template", MSG_ID_START)
    seen = {"type": "subscription", "template_id": name, **body}
    show(world, call.me.id, row["open_id"], "subscription", seen)
    result = {"TemplateId": name, "MsgID": number, "ErrorCode": 0, "ErrorStatus": "success"}
    plan_event(
        world,
        call.me,
        world.now(),
        {
            "ToUserName": call.me.original_id,
            "FromUserName": row["open_id"],
            "CreateTime": int(world.now()),
            "MsgType": "event",
            "Event": "subscribe_msg_sent_event",
            "SubscribeMsgSentEvent": {"List": result},
        },
    )
    return ok()


def accept(world: World, account_id: int, open_id: str, template_id: str, times: int) -> None:
    """The follower allowed ``times`` more notices of a template."""
    key = f"accepts.{account_id}.{open_id}.{template_id}"
    world.store.keep(key, str(int(world.store.kept(key) or 0) + times))
