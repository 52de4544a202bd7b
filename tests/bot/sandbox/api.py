"""Talking to a sandbox as the product's client does: requests in, JSON out, no sockets."""

import json
from datetime import timedelta
from typing import Any

import requests

from bot.clock import Clock, parse_moment
from bot.sandbox import Platform, create_app
from bot.sandbox.inprocess import mount

AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
TOKEN = "oaTestToken2026"
SECRET = "0123456789abcdef0123456789abcdef"
SERVICE, SUBSCRIPTION, PLAIN_SERVICE, PERSONAL = (
    "wxservice",
    "wxsubscription",
    "wxplainservice",
    "wxpersonal",
)
BASE = "https://api.weixin.qq.com"
LAN, MING, WEI = "o_lan", "o_ming", "o_wei"  # follows; has left; follows and refuses messages


class Api:
    """A platform with four accounts and its HTTP side."""

    def __init__(self, path: str = ":memory:", at: str = "2025-03-03 09:00") -> None:
        self.pushed: list[tuple[str, bytes]] = []
        self.answer: tuple[int, bytes] | Exception = (200, b"success")
        self.platform = Platform(path, Clock(frozen_at=parse_moment(at)), self._deliver)
        for app_id, kind, verified in (
            (SERVICE, "service", True),
            (SUBSCRIPTION, "subscription", True),
            (PLAIN_SERVICE, "service", False),
            (PERSONAL, "subscription", False),
        ):
            self.platform.add_account(
                app_id,
                SECRET,
                TOKEN,
                AES_KEY,
                f"gh_{app_id}",
                kind,
                verified,
                "http://product.test/callback",
            )
            people = [
                {"open_id": who, "tags": ["老客"] if who == LAN else []} for who in (LAN, MING, WEI)
            ]
            self.platform.add_followers(app_id, people)
            self.platform.leave(app_id, MING)
            self.platform.set_followers(app_id, [WEI], refuses=True)
        self.pushed.clear()
        self.http = requests.Session()
        mount(self.http, BASE, create_app(self.platform))

    def _deliver(self, url: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        self.pushed.append((url, body))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def token(self, app_id: str = SERVICE) -> str:
        """The token of this moment; the platform gives the same one while it lives."""
        words = {"grant_type": "client_credential", "appid": app_id, "secret": SECRET}
        return str(self.raw("POST", "/cgi-bin/stable_token", words)["access_token"])

    def raw(self, method: str, path: str, body: Any = None, **params: Any) -> dict[str, Any]:
        data = (
            body
            if isinstance(body, bytes | None)
            else json.dumps(body, ensure_ascii=False).encode()
        )
        answer: dict[str, Any] = self.http.request(
            method, BASE + path, params=params, data=data, timeout=5
        ).json()
        return answer

    def post(self, path: str, body: Any = None, app_id: str = SERVICE) -> dict[str, Any]:
        return self.raw("POST", path, body, access_token=self.token(app_id))

    def get(self, path: str, app_id: str = SERVICE, **params: Any) -> dict[str, Any]:
        return self.raw("GET", path, None, access_token=self.token(app_id), **params)

    def custom(self, open_id: str = LAN, app_id: str = SERVICE, **body: Any) -> int:
        """Send a customer-service text; the errcode."""
        given = {"touser": open_id, "msgtype": "text", "text": {"content": "你好"}} | body
        return int(self.post("/cgi-bin/message/custom/send", given, app_id)["errcode"])

    def mass(self, open_ids: list[Any], app_id: str = SERVICE, **body: Any) -> dict[str, Any]:
        given = {"touser": open_ids, "msgtype": "text", "text": {"content": "上新"}} | body
        return self.post("/cgi-bin/message/mass/send", given, app_id)

    def mass_all(self, app_id: str, chosen: dict[str, Any], **body: Any) -> dict[str, Any]:
        given = {"filter": chosen, "msgtype": "text", "text": {"content": "上新"}} | body
        return self.post("/cgi-bin/message/mass/sendall", given, app_id)

    def pass_seconds(self, seconds: float) -> None:
        """Move the clock on and let what is due happen."""
        self.platform.set_clock(self.platform.moment() + timedelta(seconds=seconds))
        self.platform.run_due()
