"""A sandbox without sockets, one account on it, and the gateway that reaches it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import requests

from bot.clock import Clock
from bot.sandbox.app import create_app
from bot.sandbox.inprocess import mount
from bot.sandbox.platform import Platform
from bot.wechat.client import WeChat
from bot.wechat.token import MemoryStore
from tests import factories

APP_ID = factories.APP_ID
ADDRESS = "http://sandbox.test"


class Stage:
    """``calls`` are the API paths that were called, in order, tokens left out."""

    def __init__(self, now: datetime, **account: Any) -> None:
        self.platform = Platform(":memory:", Clock(frozen_at=now))
        self.platform.add_account(
            APP_ID, factories.APP_SECRET, factories.TOKEN, factories.AES_KEY, **account
        )
        self.calls: list[str] = []
        http = requests.Session()
        mount(http, ADDRESS, create_app(self.platform))
        http.hooks["response"].append(self._note)
        self.wechat = WeChat(
            APP_ID, factories.APP_SECRET, api_base=ADDRESS, store=MemoryStore(), http=http
        )

    def _note(self, response: requests.Response, *_args: Any, **_kwargs: Any) -> None:
        path = urlsplit(response.url).path.removeprefix("/cgi-bin/")
        if not path.endswith("token"):
            self.calls.append(path)

    def follow(self, *numbers: int, **values: Any) -> None:
        """Followers who were there before anybody pushed."""
        self.platform.add_followers(
            APP_ID, [{"open_id": factories.open_id(number), **values} for number in numbers]
        )

    def follow_each(self, numbers: range, of: Callable[[int], dict[str, Any]]) -> None:
        self.platform.add_followers(
            APP_ID, [{"open_id": factories.open_id(number), **of(number)} for number in numbers]
        )

    def tags(self) -> dict[str, int]:
        """Name to id of the platform's tags, the system ones left out."""
        listed = self.wechat.call("/cgi-bin/tags/get")["tags"]
        self.calls.pop()
        return {tag["name"]: tag["id"] for tag in listed if tag["id"] > 2}

    def wearers(self, name: str) -> set[str]:
        """OpenIDs the platform has under a tag."""
        tag_id = self.tags()[name]
        rows = self.platform.store.all("SELECT open_id FROM follower_tags WHERE tag_id = ?", tag_id)
        return {row["open_id"] for row in rows}

    def leave_silently(self, *numbers: int) -> None:
        """They unfollow and the push is lost."""
        for number in numbers:
            self.platform.store.run(
                "UPDATE followers SET subscribed = 0 WHERE open_id = ?", factories.open_id(number)
            )
