"""Tokens, quotas and the callback's self-test. Source: docs/wechat-limits.md 1 and 4 (read 2026-11)."""

from collections.abc import Mapping
from typing import Any

from bot.sandbox import accounts, quotas, tokens
from bot.sandbox.accounts import Account
from bot.sandbox.calls import ENDPOINTS, Call, Json, endpoint, ok
from bot.sandbox.limits import (
    CLEAR_QUOTA_PER_MONTH,
    DAILY,
    FORCE_REFRESH_APART_SECONDS,
    FORCE_REFRESH_PER_DAY,
    PER_MINUTE,
)
from bot.sandbox.refusal import Refusal
from bot.sandbox.world import World

SECRET_CHARACTERS = 32


def _owner(world: World, words: Mapping[str, Any], secret_name: str) -> Account:
    """The account that proves itself by AppID and AppSecret.

    Raises:
        Refusal: 41002/41004 missing, 40013 no such AppID, 40125 not a secret, 40001 not its secret.
    """
    app_id, app_secret = words.get("appid"), words.get(secret_name)
    if not app_id:
        raise Refusal(41002, "appid missing")
    if not app_secret:
        raise Refusal(41004, "appsecret missing")
    account = accounts.find(world.store, str(app_id))
    if account is None:
        raise Refusal(40013)
    if account.options.get("secret_frozen"):
        raise Refusal(40243, "appsecret is frozen")
    if account.options.get("ip_whitelist") is False:
        raise Refusal(40164, "invalid ip 127.0.0.1, not in whitelist")
    if app_secret != account.app_secret:
        raise Refusal(40125 if len(str(app_secret)) != len(account.app_secret) else 40001)
    return account


def _own_quota(account: Account, api: str) -> int | None:
    found: int | None = account.options.get("quotas", {}).get(api)
    return found


@endpoint("/cgi-bin/token", "GET", token=False)
def token(world: World, call: Call) -> Json:
    if call.args.get("grant_type") != "client_credential":
        raise Refusal(40002)
    account = _owner(world, call.args, "secret")
    quotas.spend(world.store, account.id, "token", world.moment(), _own_quota(account, "token"))
    value, seconds = tokens.fresh(world, account)
    return {"access_token": value, "expires_in": seconds}


@endpoint("/cgi-bin/stable_token", token=False)
def stable_token(world: World, call: Call) -> Json:
    body = call.json()
    if body.get("grant_type") != "client_credential":
        raise Refusal(40002)
    force = body.get("force_refresh", False)
    if not isinstance(force, bool):
        raise Refusal(47001)
    account = _owner(world, body, "secret")
    own = _own_quota(account, "stable_token")
    quotas.spend(world.store, account.id, "stable_token", world.moment(), own)
    if not force:
        value, seconds = tokens.stable(world, account)
        return {"access_token": value, "expires_in": seconds}
    day = quotas.periods(world.moment())[0]
    last = float(world.store.kept(f"forced.{account.id}") or 0)
    if world.now() - last < FORCE_REFRESH_APART_SECONDS:
        raise Refusal(45011)
    if quotas.add(world.store, account.id, "force_refresh", day) >= FORCE_REFRESH_PER_DAY:
        raise Refusal(45009)
    world.store.keep(f"forced.{account.id}", str(world.now()))
    value, seconds = tokens.forced(world, account)
    return {"access_token": value, "expires_in": seconds}


@endpoint("/cgi-bin/getcallbackip", "GET")
def callback_ips(world: World, call: Call) -> Json:
    return {"ip_list": ["127.0.0.1"]}


@endpoint("/cgi-bin/get_api_domain_ip", "GET")
def api_ips(world: World, call: Call) -> Json:
    return {"ip_list": ["127.0.0.1"]}


@endpoint("/cgi-bin/callback/check")
def callback_check(world: World, call: Call) -> Json:
    body = call.json()
    if body.get("action") not in ("all", "dns", "ping"):
        raise Refusal(40202, "invalid action")
    if body.get("check_operator") not in ("DEFAULT", "CHINANET", "UNICOM", "CAP"):
        raise Refusal(40203, "invalid check_operator")
    if not call.me.callback_url:
        raise Refusal(40201, "no callback url")
    return ok(
        dns=[{"ip": "127.0.0.1", "real_operator": "DEFAULT"}],
        ping=[{"ip": "127.0.0.1", "from_operator": "DEFAULT", "package_loss": "0%", "time": "1ms"}],
    )


def _clear(world: World, account: Account) -> Json:
    _, _, month = quotas.periods(world.moment())
    if quotas.add(world.store, account.id, "clear_quota", month) >= CLEAR_QUOTA_PER_MONTH:
        raise Refusal(48006, "forbid to clear quota because of reaching the limit")
    day = quotas.periods(world.moment())[0]
    world.store.run("DELETE FROM used WHERE account_id = ? AND period = ?", account.id, day)
    return ok()


@endpoint("/cgi-bin/clear_quota")
def clear_quota(world: World, call: Call) -> Json:
    if call.json().get("appid") != call.me.app_id:
        raise Refusal(40013)
    return _clear(world, call.me)


@endpoint("/cgi-bin/clear_quota/v2", token=False)
def clear_quota_v2(world: World, call: Call) -> Json:
    return _clear(world, _owner(world, call.json() if call.body else call.args, "appsecret"))


@endpoint("/cgi-bin/openapi/quota/get")
def quota_get(world: World, call: Call) -> Json:
    path = str(call.json().get("cgi_path", ""))
    if not path.startswith("/"):
        raise Refusal(76003, "cgi_path must begin with /")
    point = ENDPOINTS.get(path)
    if path.startswith("/sns/"):
        raise Refusal(76022, "not for this token")
    if point is None:
        raise Refusal(76021, "cgi_path not found")
    name = point.quota or path.removeprefix("/cgi-bin/")
    limit = _own_quota(call.me, name)
    daily = DAILY.get(name, 0) if limit is None else limit
    day = quotas.periods(world.moment())[0]
    count = quotas.used(world.store, call.me.id, name, day)
    quota = {"daily_limit": daily, "used": count, "remain": max(daily - count, 0)}
    rate = {"call_count": PER_MINUTE.get(name, 0), "refresh_second": 60}
    return ok(quota=quota, rate_limit=rate, component_rate_limit={})
