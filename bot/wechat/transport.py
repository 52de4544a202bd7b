"""One HTTP exchange with the platform: what was answered, or a WeChatError that says nothing secret."""

import json
import logging
import re
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from bot.errors import WeChatError
from bot.logs import clean
from bot.secrets import short

# name -> (file name, content, content type). Bytes, so that a repeat sends the whole file again
Files = Mapping[str, tuple[str | None, bytes, str]]
Http = requests.Session
Timeout = tuple[float, float]  # seconds to connect, seconds between bytes
TIMEOUT: Timeout = (3.05, 10)
KEPT_CONNECTIONS = 32
# characters of the platform's own words that go into an error
_QUOTED = 300
JSON_TYPE = "application/json; charset=utf-8"
# kept: json.dumps and json.loads would make one at each call. Raw control characters occur inside
# titles, hence not strict
_dump = json.JSONEncoder(ensure_ascii=False).encode
_load = json.JSONDecoder(strict=False).decode
# NUL and lone surrogates: PostgreSQL takes neither; and how an answer may spell them
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNSTORABLE_IN_JSON = re.compile(r"\x00|\\u(?:0000|[dD][89a-fA-F])").search


class _NoQueryStrings(logging.Filter):
    """urllib3 logs every address at DEBUG, and ours carry the token."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                part.partition("?")[0] if isinstance(part, str) else part for part in record.args
            )
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_NoQueryStrings())


def new_http() -> requests.Session:
    """A session with kept connections. urllib3 repeats nothing by itself: repeats are decided above."""
    http = requests.Session()
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=KEPT_CONNECTIONS, max_retries=0)
    http.mount("https://", adapter)
    http.mount("http://", adapter)
    return http


def exchange(
    http: requests.Session,
    method: str,
    url: str,
    *,
    params: Mapping[str, str],
    payload: Mapping[str, Any] | None = None,
    fields: Mapping[str, str] | None = None,
    files: Files | None = None,
    timeout: Timeout = TIMEOUT,
) -> requests.Response:
    """Send one request and read the whole answer. ``payload`` goes as JSON, ``fields`` beside ``files``.

    Source: docs/wechat-limits.md, head: JSON must be UTF-8 without ``\\\\uXXXX`` (40033, 47002).

    Raises:
        WeChatError: errcode None. ``action`` is "retry" when nothing was sent, so that a repeat is safe,
            and "unknown" when no usable answer came.
    """
    data: Any = fields
    headers = {}
    if payload is not None:
        data = json_bytes(payload)
        headers["Content-Type"] = JSON_TYPE
    failure: Exception | None = None
    try:
        response = http.request(
            method,
            url,
            params=params,
            data=data,
            files=files,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
        )
    except (OSError, HTTPError) as error:  # requests' own errors are OSErrors
        failure = error
    if failure is not None:
        # raised out here, so that no chain leads to a text with the query string
        raise _no_answer(failure)
    check_status(response.status_code)
    return response


def json_bytes(payload: Mapping[str, Any]) -> bytes:
    """A payload as the platform wants it: UTF-8 without escapes."""
    return _dump(payload).encode("utf-8", "replace")


def check_status(status: int) -> None:
    """Raises: WeChatError: errcode None, "unknown": the server failed, or sends us elsewhere."""
    if status >= 500:
        raise unusable(f"服务器错误 HTTP {status}")
    if 300 <= status < 400:
        raise unusable(f"被转向到别处 HTTP {status}，不跟随")


def never_left() -> WeChatError:
    """No connection, so nothing was sent and a repeat is safe."""
    return WeChatError(
        None, "连接不上微信接口，请求没有发出", permanent=False, wait_seconds=10, action="retry"
    )


def timed_out() -> WeChatError:
    """Sent, and not answered in time."""
    return unusable("微信接口超时没有回答")


def _no_answer(failure: Exception) -> WeChatError:
    if _never_sent(failure):
        return never_left()
    if isinstance(failure, requests.Timeout):
        return timed_out()
    return unusable(f"与微信接口的连接中断（{type(failure).__name__}）")


def unusable(what: str) -> WeChatError:
    """No answer we can use, so nobody knows whether the request was carried out."""
    return WeChatError(None, what, permanent=False, wait_seconds=60, action="unknown")


def _never_sent(failure: Exception) -> bool:
    if isinstance(failure, requests.ConnectTimeout | requests.exceptions.ProxyError):
        return True
    reason = getattr(failure.args[0], "reason", None) if failure.args else None
    if isinstance(reason, NewConnectionError | ConnectTimeoutError):
        return True
    cause = reason.args[0] if isinstance(reason, Exception) and reason.args else None
    return isinstance(cause, ssl.SSLCertVerificationError)


def decode(response: requests.Response) -> dict[str, Any]:
    """The JSON object of an answer.

    Raises:
        WeChatError: errcode None: HTML, nothing, or anything else that is no object.
    """
    return read_json(response.content, response.status_code)


def read_json(content: bytes, status: int) -> dict[str, Any]:
    """``decode`` of an answer's bytes.

    Raises:
        WeChatError: as ``decode``.
    """
    try:
        text = content.decode("utf-8", "replace")
        body = _load(text)
        if _UNSTORABLE_IN_JSON(text):
            body = _storable(body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise unusable(f"微信接口的回答不是 JSON 对象（HTTP {status}）")
    return body


def _storable(value: Any) -> Any:
    """Without the characters that no database takes; names and remarks are written by people."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("", value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value


def errcode_of(body: Mapping[str, Any]) -> int:
    """The errcode of an answer, 0 where there is none.

    Raises:
        WeChatError: errcode None: it is neither a number nor the text of one.
    """
    code = body.get("errcode", 0)
    if isinstance(code, str) and code.strip().removeprefix("-").isdecimal() and len(code) < 20:
        return int(code)
    if isinstance(code, int) and not isinstance(code, bool):
        return code
    raise unusable("微信接口的回答里 errcode 不是数字")


def errmsg_of(body: Mapping[str, Any], hidden: Iterable[str], payload: object) -> str:
    """The platform's own words, without tokens, secrets and whole OpenIDs."""
    text = str(body.get("errmsg") or "")[: 4 * _QUOTED]
    for secret in hidden:
        if secret:
            text = text.replace(secret, "…")
    for open_id in _open_ids(payload):
        if len(open_id) > 8 and open_id in text:
            text = text.replace(open_id, short(open_id))
    return clean(text)[:_QUOTED]


def _open_ids(payload: object) -> Iterable[str]:
    if isinstance(payload, Mapping):
        for key, value in payload.items():
            if key in ("touser", "openid", "openid_list", "user_id", "next_openid"):
                yield from [value] if isinstance(value, str) else _strings(value)
            elif key == "user_list":
                for user in value if isinstance(value, list) else []:
                    yield from _open_ids(user)


def _strings(value: object) -> Iterable[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
