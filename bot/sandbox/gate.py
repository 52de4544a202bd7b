"""What every call passes before its work: fault, method, token, rights, quota. Then the answer is made."""

from dataclasses import replace

from bot.sandbox import accounts, faults, quotas, tokens
from bot.sandbox.calls import ENDPOINTS, Call, Endpoint, Json, Raw
from bot.sandbox.faults import Fault
from bot.sandbox.refusal import Refusal
from bot.sandbox.world import World, secret

HTML_OK = Raw(b"<html><body>busy</body></html>", "text/html; charset=utf-8", 200)
HTTP_500 = Raw(b"internal error", "text/plain", 500)
HUNG_UP = "X-Sandbox-Fault"  # the server cuts the connection; the in-process adapter raises


def _admit(world: World, point: Endpoint, call: Call) -> Call:
    """Check in the platform's order and count the call.

    Raises:
        Refusal: 43001/43002 method, 41001/40001/42001 token, 48001 rights, 45009/45011 quota.
    """
    if point.method != "ANY" and call.method != point.method:
        raise Refusal(43001 if point.method == "GET" else 43002)
    if not point.token:
        return call
    account = tokens.account_of(world, call.args.get("access_token", ""))
    if point.needs is not None and not account.may(point.needs):
        raise Refusal(48001)
    if point.quota is not None:
        own = account.options.get("quotas", {}).get(point.quota)
        quotas.spend(world.store, account.id, point.quota, world.moment(), own)
    return replace(call, account=account)


def _work(world: World, point: Endpoint, call: Call) -> Json | Raw:
    with world.store.writing():
        return point.work(world, call)


def _note(world: World, account_id: int, path: str, errcode: int) -> None:
    world.store.run(
        "INSERT INTO refused VALUES (?, ?, ?, 1, ?)"
        " ON CONFLICT DO UPDATE SET count = count + 1, last_at = excluded.last_at",
        account_id,
        path,
        errcode,
        world.now(),
    )


def _answer(world: World, call: Call, fault: Fault | None) -> Json | Raw:
    point = ENDPOINTS.get(call.path)
    if point is None:
        return {"errcode": 40066, "errmsg": f"invalid url rid: {secret(8)}"}
    account = tokens.peek(world, call.args.get("access_token", ""))
    account_id = account.id if account else 0
    mass = point.quota == "mass" and account is not None
    # chunks sent side by side are refused. Source: docs/wechat-limits.md 8 (42010)
    alone = world.mass_begins(account_id) if mass else True
    try:
        if fault is not None and fault.kind == "errcode" and not fault.after:
            raise Refusal(fault.errcode, "fault on demand")
        if not alone:
            raise Refusal(42010)
        answer = _work(world, point, _admit(world, point, call))
        if fault is not None and fault.kind == "slow":
            _wait(world, fault)  # still in flight, as on a slow platform
        return answer
    except Refusal as refusal:
        _note(world, account_id, call.path, refusal.errcode)
        return refusal.answer(f"{secret(8)}-{secret(8)}-{secret(8)}")
    finally:
        if mass:
            world.mass_ends(account_id)


def _wait(world: World, fault: Fault) -> None:
    if world.pause is not None:
        world.pause(fault.seconds)


def handle(world: World, call: Call) -> Json | Raw:
    """Answer one API call, or fail in the way a fault wants it."""
    account = tokens.peek(world, call.args.get("access_token", "")) or accounts.find(
        world.store, call.args.get("appid", "")
    )
    fault = faults.take(
        world.store,
        call.path,
        account.app_id if account else None,
        world.chance,
        faults.KINDS - faults.FINISH_KINDS - faults.RESULT_KINDS - {"mass_errors"},
    )
    if fault is None:
        return _answer(world, call, None)
    answer: Json | Raw = {}
    if fault.kind in ("errcode", "slow") or fault.after:
        lost = fault.kind != "slow"
        answer = _answer(world, replace(call, answer_lost=lost), fault)
    if fault.kind == "slow" or (fault.kind == "errcode" and not fault.after):
        return answer
    if fault.kind == "errcode":
        return Refusal(fault.errcode, "fault on demand").answer(secret(8))
    if fault.kind == "http_500":
        return HTTP_500
    if fault.kind == "html":
        return HTML_OK
    if fault.kind == "timeout":
        _wait(world, fault)
    return Raw(b"", headers=((HUNG_UP, fault.kind),))
