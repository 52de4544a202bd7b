"""The platform's server API for one account: token, timeouts, one repeat after a token error, WeChatError."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from wechatpy.client import WeChatClient

from bot import clock
from bot.errors import WeChatError
from bot.wechat import transport
from bot.wechat.errcodes import OK, TOKEN, verdict
from bot.wechat.token import AccessToken, TokenStore, as_is, pause
from bot.wechat.transport import TIMEOUT, Files, Timeout

PLATFORM = "https://api.weixin.qq.com"


def ignored(_path: str, _errcode: int) -> None:
    """Nobody counts calls."""


def nobody(_message: bytes, _seal: str) -> bool:
    """A gateway that was not told how approvals are sealed believes none."""
    return False


class WeChat(WeChatClient):  # type: ignore[misc]
    """One account at the platform. Safe to share between threads.

    wechatpy's own method groups work through ``_request`` with the same care; ``call`` is what we use.
    It mends wechatpy 1.8.18: no timeout, endless repeats, parts of the calls that ignore the API's
    address, the AppSecret in exception texts.
    """

    def __init__(
        self,
        app_id: str,
        app_secret: str,
        *,
        api_base: str,
        store: TokenStore,
        timeout: Timeout = TIMEOUT,
        http: requests.Session | None = None,
        now: Callable[[], datetime] = clock.now,
        wait: Callable[[float], None] = pause,
        seal: Callable[[str], str] = as_is,
        unseal: Callable[[str], str] = as_is,
        called: Callable[[str, int], None] = ignored,
        vouches: Callable[[bytes, str], bool] = nobody,
    ) -> None:
        """``timeout`` is (seconds to connect, seconds between bytes); ``seal`` encrypts what ``store`` keeps.

        ``vouches`` says whether the seal of an approval is ours; without it no send to everybody leaves.
        """
        super().__init__(app_id, app_secret, timeout=timeout, auto_retry=False)
        self.app_id = app_id
        self.vouches = vouches
        self.api_base = api_base.rstrip("/")
        self._http = http or transport.new_http()
        self._now = now
        self._called = called
        # the address is in the key, so that a sandbox's token never reaches the real platform
        place = hashlib.sha256(self.api_base.encode()).hexdigest()[:8]
        self._tokens = AccessToken(
            f"access_token:{app_id}:{place}",
            store,
            self._fetch_token,
            wait=wait,
            seal=seal,
            unseal=unseal,
        )

    def __repr__(self) -> str:
        return f"WeChat({self.app_id})"

    def call(
        self,
        path: str,
        payload: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        files: Files | None = None,
        fields: Mapping[str, str] | None = None,
        method: str | None = None,
        timeout: Timeout | None = None,
        with_token: bool = True,
        counted: bool = True,
    ) -> dict[str, Any]:
        """One API call. POST with a payload or files, else GET. ``fields`` are form fields beside ``files``.

        ``counted``: tell ``called`` of it; who sends many at once counts for itself.

        Raises:
            WeChatError: the platform said no (``errcode``), or did not answer (None: ``action`` "retry"
                means nothing was sent, "unknown" that it may have been carried out).
        """

        def once(token: str | None) -> dict[str, Any]:
            response = self._exchange(path, payload, params, files, fields, method, timeout, token)
            return transport.decode(response)

        if not with_token:
            return self._checked(once(None), path, payload, params, None)
        return self._with_token(once, path, payload, params, counted=counted)

    def download(
        self, path: str, params: Mapping[str, str], payload: Mapping[str, Any] | None = None
    ) -> bytes:
        """The bytes of a file. An answer in JSON that carries no errcode is returned as it is.

        Source: docs/wechat-limits.md 8: bytes, or JSON for videos and errors; the content type tells.

        Raises:
            WeChatError: as ``call``.
        """
        content = b""

        def once(token: str | None) -> dict[str, Any]:
            nonlocal content
            response = self._exchange(path, payload, params, None, None, None, None, token)
            content = response.content
            kind = response.headers.get("Content-Type", "").lower()
            if content.lstrip()[:1] == b"{" and ("json" in kind or "text/plain" in kind):
                return transport.decode(response)
            if "text/html" in kind or response.status_code >= 400:
                raise transport.unusable(f"微信接口没有给出文件（HTTP {response.status_code}）")
            return {}

        self._with_token(once, path, payload, params)
        return content

    def fetch(self, address: str) -> bytes:
        """The bytes at an address the platform named, without a token and without following it elsewhere.

        Raises:
            WeChatError: no answer, or none with a file.
        """
        response = transport.exchange(self._http, "GET", address, params={}, timeout=self.timeout)
        if response.status_code != 200:
            raise transport.unusable(f"视频没有取到（HTTP {response.status_code}）")
        return bytes(response.content)

    @property
    def access_token(self) -> str:
        """The token in force, renewed where needed."""
        return self._tokens.current()

    def fetch_access_token(self) -> dict[str, Any]:
        """wechatpy's name for renewing the token; never more than one at a time."""
        return {"access_token": self._tokens.current()}

    @property
    def is_networked(self) -> bool:
        """Whether calls go over sockets; a sandbox in this process is called directly."""
        return isinstance(self._http.get_adapter(self.api_base), HTTPAdapter)

    def network(self) -> tuple[str, str | bool]:
        """(proxy or nothing, file with trusted certificates or whether to verify), from the environment."""
        found = self._http.merge_environment_settings(self.api_base, {}, None, None, None)
        proxy = select_proxy(self.api_base, found["proxies"])
        trusted = found["verify"]
        return proxy or "", True if trusted is None else trusted

    def token_after(self, failed: str | None) -> str:
        """The token in force; after the platform refused one, another.

        Raises:
            WeChatError: the platform gives none.
        """
        return self._tokens.current() if failed is None else self._tokens.replace(failed)

    def checked(
        self, body: dict[str, Any], path: str, payload: Mapping[str, Any], token: str
    ) -> dict[str, Any]:
        """An answer that says yes.

        Raises:
            WeChatError: it says no.
        """
        return self._checked(body, path, payload, None, token)

    def _with_token(
        self,
        once: Callable[[str | None], dict[str, Any]],
        path: str,
        payload: Mapping[str, Any] | None,
        params: Mapping[str, str] | None,
        *,
        counted: bool = True,
    ) -> dict[str, Any]:
        token = self._tokens.current()
        body = once(token)
        if verdict(transport.errcode_of(body)).action == TOKEN:
            token = self._tokens.replace(token)
            body = once(token)
        if counted:
            self._called(path, transport.errcode_of(body))
        return self._checked(body, path, payload, params, token)

    def _exchange(
        self,
        path: str,
        payload: Mapping[str, Any] | None,
        params: Mapping[str, str] | None,
        files: Files | None,
        fields: Mapping[str, str] | None,
        method: str | None,
        timeout: Timeout | None,
        token: str | None,
    ) -> requests.Response:
        query = dict(params or {})
        if token is not None:
            query["access_token"] = token
        return transport.exchange(
            self._http,
            method or ("GET" if payload is None and not files else "POST"),
            self.api_base + path,
            params=query,
            payload=payload,
            fields=fields,
            files=files,
            timeout=timeout or self.timeout,
        )

    def _checked(
        self,
        body: dict[str, Any],
        path: str,
        payload: Mapping[str, Any] | None,
        params: Mapping[str, str] | None,
        token: str | None,
        *,
        token_call: bool = False,
    ) -> dict[str, Any]:
        code = transport.errcode_of(body)
        if code == 0:
            return body
        found = verdict(code, self._now(), token_call=token_call)
        said = transport.errmsg_of(
            body, (token or "", self.secret), {**(payload or {}), **(params or {})}
        )
        raise WeChatError(
            code,
            f"{found.text_zh}（{path}: {said}）",
            permanent=found.permanent,
            wait_seconds=found.wait_seconds,
            # ok with an errcode (45065) is for the caller to understand
            action=found.action if found.action != OK else OK,
            body=body,
        )

    def _fetch_token(self) -> tuple[str, int]:
        path = "/cgi-bin/stable_token"
        payload = {
            "grant_type": "client_credential",
            "appid": self.app_id,
            "secret": self.secret,
            "force_refresh": False,
        }
        failure: WeChatError | None = None
        body: dict[str, Any] = {}
        try:
            response = self._exchange(path, payload, None, None, None, None, None, None)
            body = transport.decode(response)
            body = self._checked(body, path, None, None, None, token_call=True)
        except WeChatError as error:
            failure = error
        token = body.get("access_token")
        seconds = body.get("expires_in", 7200)
        if failure is None and not (isinstance(token, str) and token and isinstance(seconds, int)):
            failure = transport.unusable("微信接口的回答里没有 access_token")
        if failure is not None and failure.errcode is None:
            # whatever happened to the token, the call it was for has not been sent
            raise WeChatError(
                None,
                f"取不到 access_token：{failure.message}",
                permanent=False,
                wait_seconds=10,
                action="retry",
            )
        if failure is not None:
            raise failure
        return str(token), max(1, min(int(seconds), 7200))

    def _request(self, method: str, url_or_endpoint: str, **kwargs: Any) -> Any:
        """What wechatpy's method groups call. Everything goes to our API address, through ``call``."""
        path = self._path(url_or_endpoint)
        data = kwargs.get("data")
        files = kwargs.get("files")
        body = self.call(
            path,
            data if isinstance(data, Mapping) and not files else None,
            params={
                name: str(value)
                for name, value in (kwargs.get("params") or {}).items()
                if name != "access_token"
            },
            files={name: _as_bytes(name, file) for name, file in files.items()} if files else None,
            fields=data if isinstance(data, Mapping) and files else None,
            method=method.upper(),
            timeout=kwargs.get("timeout"),
        )
        process = kwargs.get("result_processor")
        return process(body) if process else body

    def _path(self, url_or_endpoint: str) -> str:
        if not url_or_endpoint.startswith(("http://", "https://")):
            return f"/cgi-bin/{url_or_endpoint.lstrip('/')}"
        address = urlsplit(url_or_endpoint)
        if f"https://{address.netloc}" != PLATFORM:
            # the token must not travel to another host
            raise WeChatError(
                None, f"不向 {address.netloc} 发送 access_token", permanent=True, action="fix"
            )
        return address.path


def _as_bytes(name: str, file: Any) -> tuple[str, bytes, str]:
    if isinstance(file, tuple):
        file_name, content = str(file[0]), file[1]
    else:
        file_name, content = str(getattr(file, "name", name)), file
    return (
        file_name,
        content if isinstance(content, bytes) else content.read(),
        "application/octet-stream",
    )
