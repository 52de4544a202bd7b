"""Web authorisation for a persona: no page, a redirect at once. Source: docs/wechat-limits.md 11 (read 2026-11)."""

from html import escape
from urllib.parse import urlencode, urlsplit

from bot.sandbox import accounts, quotas
from bot.sandbox.accounts import Account
from bot.sandbox.calls import Call, Json, Raw, endpoint
from bot.sandbox.limits import OAUTH_CODE_SECONDS, OAUTH_STATE_BYTES
from bot.sandbox.refusal import Refusal
from bot.sandbox.world import World, secret

SCOPES = ("snsapi_base", "snsapi_userinfo")
CHOICES = 20
HTML = "text/html; charset=utf-8"


def _sorry(number: int, why: str) -> Raw:
    return Raw(f"<h1>{number}</h1><p>{escape(why)}</p>".encode(), HTML, 400)


def _choose(world: World, account: Account, call: Call) -> Raw:
    """Nobody is logged in to this WeChat: offer some followers to be."""
    rows = world.store.all(
        "SELECT open_id FROM followers WHERE account_id = ? AND subscribed ORDER BY id LIMIT ?",
        account.id,
        CHOICES,
    )
    links = "".join(
        f'<li><a href="?{escape(urlencode({**call.args, "persona": row["open_id"]}))}">'
        f"{escape(row['open_id'])}</a></li>"
        for row in rows
    )
    page = f"<h1>沙箱微信：以谁的身份打开？ Who are you?</h1><ul>{links}</ul>"
    return Raw(page.encode(), HTML)


@endpoint("/connect/oauth2/authorize", "GET", token=False)
def authorize(world: World, call: Call) -> Raw:
    """Redirect with a code of the persona named by ``persona=`` or the cookie of that name;
    ``snapshot=1`` (or forceSnapShot=true with snsapi_userinfo) opens as a snapshot page."""
    args = call.args
    account = accounts.find(world.store, args.get("appid", ""))
    if account is None:
        return _sorry(10012, "appid")
    redirect, scope, state = (
        args.get("redirect_uri", ""),
        args.get("scope", ""),
        args.get("state", ""),
    )
    host = urlsplit(redirect).hostname
    if not host:
        return _sorry(10011, "redirect_uri")
    if scope not in SCOPES or args.get("response_type") != "code":
        return _sorry(10010, "scope")
    if not account.may("oauth"):
        return _sorry(10005, "该公众号没有这些scope的权限")
    if len(state.encode()) > OAUTH_STATE_BYTES or (state and not state.isalnum()):
        return _sorry(10013, "state")
    if account.options.get("oauth_domain", host) != host:
        return _sorry(10003, "redirect_uri域名与后台配置不一致")
    persona = args.get("persona") or call.cookies.get("persona")
    if not persona:
        return _choose(world, account, call)
    snapshot = args.get("snapshot") == "1" or args.get("forceSnapShot") == "true"
    code = secret(32)
    world.store.run(
        "INSERT INTO codes (code, account_id, open_id, scope, snapshot, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        code,
        account.id,
        f"o_snapshot_{secret(17)}" if snapshot else persona,
        scope,
        snapshot,
        world.now() + OAUTH_CODE_SECONDS,
    )
    target = (
        f"{redirect}{'&' if '?' in redirect else '?'}{urlencode({'code': code, 'state': state})}"
    )
    return Raw(
        b"",
        HTML,
        302,
        (("Location", target), ("Set-Cookie", f"persona={persona}; Path=/; HttpOnly")),
    )


@endpoint("/sns/oauth2/access_token", "GET", token=False)
def access_token(world: World, call: Call) -> Json:
    args = call.args
    account = accounts.find(world.store, args.get("appid", ""))
    if account is None:
        raise Refusal(40013)
    if args.get("secret") != account.app_secret:
        raise Refusal(40125)
    if args.get("grant_type") != "authorization_code":
        raise Refusal(40002)
    if not args.get("code"):
        raise Refusal(41008, "missing code")
    if not account.may("oauth"):
        raise Refusal(48001)
    quotas.spend(world.store, account.id, "oauth", world.moment(), None)
    row = world.store.one(
        "SELECT * FROM codes WHERE code = ? AND account_id = ?", args["code"], account.id
    )
    if row is None:
        raise Refusal(40029, "invalid code")
    if row["used"]:
        raise Refusal(40163, "code been used")
    if row["expires_at"] <= world.now():
        raise Refusal(42003, "code expired")
    world.store.run("UPDATE codes SET used = 1 WHERE code = ?", row["code"])
    more = {"is_snapshotuser": 1} if row["snapshot"] else {}
    return {
        "access_token": f"OAUTH_{secret(64)}",
        "expires_in": 7200,
        "refresh_token": f"REFRESH_{secret(64)}",
        "openid": row["open_id"],
        "scope": row["scope"],
        **more,
    }
