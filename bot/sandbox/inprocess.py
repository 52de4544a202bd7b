"""No sockets: the product's HTTP client reaches the sandbox, and the sandbox the product, by WSGI calls."""

import io
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from werkzeug.test import Client, EnvironBuilder, run_wsgi_app

from bot.sandbox.app import IN_PROCESS
from bot.sandbox.gate import HUNG_UP
from bot.sandbox.world import Deliver

Wsgi = Any  # a WSGI application


class WsgiAdapter(BaseAdapter):
    """A requests adapter that calls a WSGI application instead of the network."""

    def __init__(self, wsgi_app: Wsgi) -> None:
        super().__init__()
        self._app = wsgi_app

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Raises: requests.ReadTimeout, requests.ConnectionError: a fault of the sandbox wants it."""
        parts = urlsplit(request.url or "")
        body = request.body or b""
        builder = EnvironBuilder(
            path=parts.path,
            query_string=parts.query,
            method=request.method or "GET",
            headers=list(request.headers.items()),
            data=body.encode() if isinstance(body, str) else body,
            base_url=f"{parts.scheme}://{parts.netloc}",
            environ_base={"REMOTE_ADDR": "127.0.0.1", IN_PROCESS: True},
        )
        chunks, status, headers = run_wsgi_app(self._app, builder.get_environ())
        content = b"".join(chunks)
        if headers.get(HUNG_UP) == "timeout":
            raise requests.ReadTimeout("the sandbox does not answer", request=request)
        if headers.get(HUNG_UP):
            raise requests.ConnectionError("the sandbox hung up", request=request)
        response = requests.Response()
        response.status_code = int(status.split(" ", 1)[0])
        response.headers = CaseInsensitiveDict(headers.items())
        response.encoding = requests.utils.get_encoding_from_headers(response.headers)
        response.raw = io.BytesIO(content)
        response.url = request.url or ""
        response.request = request
        response._content = content
        return response

    def close(self) -> None:
        """Nothing is open."""


def mount(session: requests.Session, base_url: str, wsgi_app: Wsgi) -> None:
    """Send what ``session`` asks of ``base_url`` to the application."""
    session.mount(base_url, WsgiAdapter(wsgi_app))


def deliver_to(wsgi_app: Wsgi) -> Deliver:
    """A platform's ``deliver`` that posts to an application, whatever the host of the address."""
    client = Client(wsgi_app)

    def deliver(url: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        parts = urlsplit(url)
        method = "POST" if content_type else "GET"
        response = client.open(
            path=parts.path,
            query_string=parts.query,
            method=method,
            data=body or None,
            content_type=content_type or None,
            environ_base={"REMOTE_ADDR": "127.0.0.1"},
        )
        return response.status_code, response.get_data()

    return deliver
