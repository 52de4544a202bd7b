"""The platform's door: ``/callback/<account>``. Verifies, hands on, answers; no call leaves from here.

It stands in front of Flask as plain WSGI: routing, request, session and response objects cost as
much as all the rest of a push (docs/decisions/0003). Everything else passes on to Flask.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from sqlalchemy.exc import DBAPIError, TimeoutError

from bot import logs, metrics
from bot.errors import BadPush, Refused
from bot.receive import NotStored, receive
from bot.runtime import Known, Runtime
from bot.wechat.callback import MAX_BODY, encrypted, open_push, seal_reply, verify_url

PREFIX = "/callback/"
AGAIN = "the database is busy or away, please repeat the push\n"
MAX_ARGUMENTS = 32
MAX_QUERY = 2048  # characters
Environ = dict[str, Any]
Wsgi = Callable[[Environ, Any], Iterable[bytes]]


def in_front_of(rest: Wsgi, rt: Runtime) -> Wsgi:
    """A WSGI application that answers pushes and hands everything else to ``rest``."""

    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if not path.startswith(PREFIX):
            return rest(environ, start_response)
        status, kind, body = answer(rt, path[len(PREFIX) :], environ)
        headers = [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body)))]
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", "GET, POST"))
        start_response(_STATUS[status], headers)
        return [body]

    return application


def answer(rt: Runtime, slug: str, environ: Environ) -> tuple[int, str, bytes]:
    """(HTTP status, content type, body) for one request of the platform, or of a stranger.

    GET is the check that the platform makes once, when the address is saved in its console. POST is
    a push: ``success`` or a reply only when it is stored; 503 makes the platform repeat it.
    """
    try:
        method = environ["REQUEST_METHOD"]
        if method not in ("GET", "POST"):
            return _text("only GET and POST\n", 405)
        known = rt.known(slug)
        args = _arguments(environ)
        if method == "GET":
            return 200, "text/plain", verify_url(known.credentials, args).encode()
        body = _push(rt, known, args, _body(environ))
        return 200, "text/xml" if body.startswith(b"<") else "text/plain", body
    except Refused as problem:
        return _text(f"{problem}\n", 404)
    except BadPush as problem:
        metrics.REFUSED.labels(problem.reason).inc()
        logs.get().warning("push_refused", account=slug[:64], reason=problem.reason)
        return _text(f"{problem.reason}\n", problem.status)
    except (NotStored, DBAPIError, TimeoutError) as problem:
        metrics.NOT_STORED.inc()
        logs.get().error("push_not_stored", account=slug[:64], problem=type(problem).__name__)
        return _text(AGAIN, 503)


def _push(rt: Runtime, known: Known, args: Mapping[str, str], body: bytes) -> bytes:
    credentials = known.credentials
    message = open_push(credentials, args, body, now=rt.clock(), max_age=rt.config.push_max_age)
    answered = receive(rt, known.account, message)
    metrics.PUSHES.labels(message.kind, "repeated" if answered.repeated else "new").inc()
    return seal_reply(
        credentials,
        message,
        answered.content,
        answered.at,
        secrets.token_hex(5),
        encrypted(credentials, args),
    )


def _arguments(environ: Environ) -> dict[str, str]:
    query: str = environ.get("QUERY_STRING", "")
    if len(query) <= MAX_QUERY and "%" not in query and "+" not in query:
        # the platform's own arguments are letters and digits: nothing to decode
        return dict(part.split("=", 1) for part in query.split("&") if "=" in part)
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_ARGUMENTS)
    except ValueError:
        raise BadPush("unsigned", 403) from None
    return dict(pairs)


def _body(environ: Environ) -> bytes:
    length = environ.get("CONTENT_LENGTH") or ""
    if length:
        if not (length.isascii() and length.isdigit()):
            raise BadPush("bad_xml", 400)
        if int(length[:20]) > MAX_BODY:
            raise BadPush("too_large", 413)
        body: bytes = environ["wsgi.input"].read(int(length))
        return body
    if not environ.get("wsgi.input_terminated"):
        return b""  # without a length and an end, reading could wait for ever
    # one byte more than allowed: a body without a length shows itself as too large
    read: bytes = environ["wsgi.input"].read(MAX_BODY + 1)
    return read


def _text(text: str, status: int) -> tuple[int, str, bytes]:
    return status, "text/plain", text.encode()


_STATUS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
