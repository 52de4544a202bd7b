"""Web authorisation 网页授权 with snsapi_base: which follower opens a page. Verified service accounts only."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from bot.errors import Refused, WeChatError
from bot.wechat.client import WeChat


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who opened the page. ``snapshot``: the platform shows a snapshot page and the OpenID is made up."""

    open_id: str
    snapshot: bool


def authorize_url(oauth_base: str, app_id: str, redirect: str, state: str) -> str:
    """Where to send a browser inside WeChat. It comes back to ``redirect`` with code and state.

    Source: docs/wechat-limits.md 11: the order of the parameters and the fragment matter; state is at most
    128 letters and digits.

    Raises:
        Refused: the state has other characters or is too long.
    """
    if not re.fullmatch(r"[A-Za-z0-9]{1,128}", state):
        raise Refused("the state of a web authorisation has 1 to 128 letters and digits")
    return (
        f"{oauth_base.rstrip('/')}/connect/oauth2/authorize?appid={quote(app_id, safe='')}"
        f"&redirect_uri={quote(redirect, safe='')}&response_type=code&scope=snsapi_base"
        f"&state={state}#wechat_redirect"
    )


def visitor(wechat: WeChat, code: str) -> Visitor:
    """Exchange the code of a redirect; it works once and for 5 minutes.

    Source: docs/wechat-limits.md 11 (read 2026-11).

    Raises:
        Refused: no code.
        WeChatError: 40029, 40163 or 42003 the code is wrong, used or old; or no answer.
    """
    if not re.fullmatch(r"[\x21-\x7e]{1,512}", code):
        raise Refused("the web authorisation came back without a code")
    body = wechat.call(
        "/sns/oauth2/access_token",
        params={
            "appid": wechat.app_id,
            "secret": wechat.secret,
            "code": code,
            "grant_type": "authorization_code",
        },
        with_token=False,
    )
    open_id = body.get("openid")
    if not isinstance(open_id, str) or not open_id:
        raise WeChatError(None, "网页授权的回答里没有 OpenID", permanent=False, action="unknown")
    return Visitor(open_id, str(body.get("is_snapshotuser", 0)) not in ("0", "", "None", "False"))
