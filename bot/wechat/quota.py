"""How much of an API is left today, and whether the platform reaches our callback.

Source: docs/wechat-limits.md 1 and 4 (read 2026-11).
"""

from dataclasses import dataclass
from typing import Any

from bot.wechat.client import WeChat


@dataclass(frozen=True, slots=True)
class Quota:
    """Calls of one API today; about 1 % inexact. ``calls`` in ``seconds`` are allowed; 0: no such limit was told."""

    daily_limit: int
    used: int
    remain: int
    calls: int = 0
    seconds: int = 0


def of(wechat: WeChat, path: str) -> Quota:
    """The quota of an API such as ``/cgi-bin/message/custom/send``.

    Raises:
        WeChatError: 76021 the path is wrong, …
    """
    body = wechat.call("/cgi-bin/openapi/quota/get", {"cgi_path": path})
    day = _numbers(body.get("quota"), "daily_limit", "used", "remain")
    return Quota(*day, *_numbers(body.get("rate_limit"), "call_count", "refresh_second"))


def callback_ips(wechat: WeChat) -> list[str]:
    """The addresses pushes come from; ask once a day.

    Raises:
        WeChatError: the platform said no, or did not answer.
    """
    found = wechat.call("/cgi-bin/getcallbackip").get("ip_list")
    return [item for item in found if isinstance(item, str)] if isinstance(found, list) else []


def check_callback(wechat: WeChat) -> dict[str, Any]:
    """Let the platform look up and ping our callback: ``dns`` and ``ping``, a list each.

    Raises:
        WeChatError: 40201 no address is set, …
    """
    return wechat.call("/cgi-bin/callback/check", {"action": "all", "check_operator": "DEFAULT"})


def _numbers(found: object, *names: str) -> list[int]:
    return [_number(found.get(name) if isinstance(found, dict) else None) for name in names]


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
