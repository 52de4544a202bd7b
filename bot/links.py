"""The follower's door: tracked links ``/l/<code>`` and the return of web authorisation ``/oauth/<account>``.

A visitor always ends at the link's stored target; whatever fails on the way only makes the click unclean.
"""

import base64
import secrets
from datetime import datetime

from flask import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from bot import accounts, db, followers, metrics, tracking
from bot.accounts import Account
from bot.errors import Refused, WeChatError
from bot.runtime import Runtime, runtime
from bot.secrets import sign, signed
from bot.tracking import Link
from bot.wechat import oauth

blueprint = Blueprint("links", __name__)
STATE_SECONDS = 600
_COOKIE = "qunfen_link"
_SIGNATURE = 12  # bytes


@blueprint.get("/l/<code>")
def follow(code: str) -> AnyResponse:
    """Record the click and go on to the target; for a shared link, learn first who it is."""
    rt = runtime()
    opened = tracking.open_code(rt.secret_key, code)
    with db.reading(rt.engine) as session:
        link = tracking.link(session, opened[0]) if opened else None
        account = accounts.by_id(session, link.account_id) if link else None
    if opened is None or link is None or account is None:
        return _gone()
    noise = tracking.noise_of(_headers(), request.method)
    if opened[1] == tracking.EVERYBODY and noise is None and _can_ask(account):
        return _ask_who(rt, account, link)
    follower_id = None if opened[1] == tracking.EVERYBODY else opened[1]
    return _arrived(rt, link, follower_id, noise)


@blueprint.get("/oauth/<slug>")
def came_back(slug: str) -> AnyResponse:
    """The platform sends the visitor back with a code. Only a state that we gave to this browser is believed."""
    rt = runtime()
    state = _open_state(rt, request.args.get("state", ""), rt.clock())
    if state is None:
        return _gone()
    link_id, nonce = state
    with db.reading(rt.engine) as session:
        link = tracking.link(session, link_id)
        account = accounts.by_id(session, link.account_id) if link else None
    if link is None or account is None or account.slug != slug:
        return _gone()
    if not secrets.compare_digest(request.cookies.get(_COOKIE, "").encode(), nonce.encode()):
        return _arrived(rt, link, None, "no_identity")
    follower_id, noise = _who(rt, account, request.args.get("code", ""))
    return _arrived(rt, link, follower_id, noise)


def _who(rt: Runtime, account: Account, code: str) -> tuple[int | None, str | None]:
    if not code:
        return None, "refused"
    try:
        visitor = oauth.visitor(rt.wechat(account.id), code)
    except (WeChatError, Refused):
        return None, "no_identity"
    if visitor.snapshot:
        return (
            None,
            "snapshot",
        )  # its OpenID is virtual. Source: docs/wechat-limits.md 11 (read 2026-11)
    with db.reading(rt.engine) as session:
        follower = followers.find(session, account.id, visitor.open_id)
    return (follower.id, None) if follower is not None else (None, "not_a_follower")


def _arrived(rt: Runtime, link: Link, follower_id: int | None, noise: str | None) -> AnyResponse:
    now = rt.clock()
    rt.writer.run(lambda session: tracking.click(session, link, follower_id, now, noise))
    metrics.CLICKS.labels(noise or "clean").inc()
    answer = redirect(link.target, 302)
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.delete_cookie(_COOKIE, path="/oauth")
    return answer


def _can_ask(account: Account) -> bool:
    # web authorisation is for verified service accounts, inside WeChat's own browser.
    # Source: docs/wechat-limits.md 11 and 15 (read 2026-11)
    agent = request.headers.get("User-Agent", "")
    return account.kind == "service" and account.verified and "MicroMessenger" in agent


def _ask_who(rt: Runtime, account: Account, link: Link) -> AnyResponse:
    nonce = secrets.token_hex(8)
    state = _make_state(rt, link.id, nonce, rt.clock())
    base = account.sandbox_url or rt.config.wechat_oauth_base
    back = f"{rt.config.base_url}/oauth/{account.slug}"
    answer = redirect(oauth.authorize_url(base, account.app_id, back, state), 302)
    answer.headers["Cache-Control"] = "no-store"
    answer.set_cookie(
        _COOKIE,
        nonce,
        max_age=STATE_SECONDS,
        path="/oauth",
        httponly=True,
        samesite="Lax",
        secure=rt.config.base_url.startswith("https://"),
    )
    return answer


def _make_state(rt: Runtime, link_id: int, nonce: str, now: datetime) -> str:
    # at most 128 bytes of a-zA-Z0-9. Source: docs/wechat-limits.md 11 (read 2026-11)
    body = f"{link_id}.{int(now.timestamp())}.{nonce}".encode()
    return (
        base64.b32encode(sign(rt.secret_key, "oauth", body, _SIGNATURE) + body).decode().rstrip("=")
    )


def _open_state(rt: Runtime, state: str, now: datetime) -> tuple[int, str] | None:
    if not state.isascii() or len(state) > 128:
        return None
    try:
        raw = base64.b32decode(state + "=" * (-len(state) % 8))
    except ValueError:
        return None
    signature, body = raw[:_SIGNATURE], raw[_SIGNATURE:]
    if not signed(rt.secret_key, "oauth", body, signature, _SIGNATURE):
        return None
    link_id, made_at, nonce = body.decode().split(".")
    if not 0 <= now.timestamp() - int(made_at) <= STATE_SECONDS:
        return None
    return int(link_id), nonce


def _headers() -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def _gone() -> Response:
    page = (
        "<!doctype html><html lang=zh-CN><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width">'
        "<title>链接无效</title><h1>链接无效或已过期</h1><p>请回到公众号，从最新的消息里打开。</p></html>"
    )
    return Response(page, status=404, content_type="text/html; charset=utf-8")
