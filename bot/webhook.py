"""The platform's door: ``/callback/<account>``. Verifies, hands on, answers; no call leaves from here."""

import secrets
from collections.abc import Callable, Mapping

from flask import Blueprint, Response, request
from sqlalchemy.exc import DBAPIError, TimeoutError

from bot import logs, metrics
from bot.errors import BadPush, Refused
from bot.receive import NotStored, receive
from bot.runtime import Known, Runtime, runtime
from bot.wechat.callback import MAX_BODY, encrypted, open_push, seal_reply, verify_url

blueprint = Blueprint("webhook", __name__)
AGAIN = "the database is busy or away, please repeat the push\n"


@blueprint.get("/callback/<slug>")
def verify(slug: str) -> Response:
    """The check that the platform makes once, when the address is saved in its console."""
    return _answered(slug, lambda rt, known: verify_url(known.credentials, request.args).encode())


@blueprint.post("/callback/<slug>")
def push(slug: str) -> Response:
    """One push. ``success`` or a reply only when it is stored; 503 makes the platform repeat it."""
    return _answered(slug, _push)


def _push(rt: Runtime, known: Known) -> bytes:
    args: Mapping[str, str] = request.args
    started = rt.clock()
    message = open_push(
        known.credentials, args, _body(), now=started, max_age=rt.config.push_max_age
    )
    answer = receive(rt, known.account, message)
    metrics.PUSHES.labels(message.kind, "repeated" if answer.repeated else "new").inc()
    return seal_reply(
        known.credentials,
        message,
        answer.content,
        answer.at,
        secrets.token_hex(5),
        encrypted(known.credentials, args),
    )


def _answered(slug: str, work: Callable[[Runtime, Known], bytes]) -> Response:
    rt = runtime()
    try:
        body = work(rt, rt.known(slug))
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
    xml = request.method == "POST" and body.startswith(b"<")
    kind = "text/xml" if xml else "text/plain"
    return Response(body, content_type=f"{kind}; charset=utf-8")


def _body() -> bytes:
    if (request.content_length or 0) > MAX_BODY:
        raise BadPush("too_large", 413)
    # one byte more than allowed: a body without a length shows itself as too large
    return request.stream.read(MAX_BODY + 1)


def _text(text: str, status: int) -> Response:
    return Response(text, status=status, content_type="text/plain; charset=utf-8")
