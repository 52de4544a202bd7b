"""What every request under ``/api/v1`` goes through, from its first byte to a JSON answer or a problem.

It stands before Flask's own routing: whatever is asked there, also what does not exist, is answered as
docs/api.md says. No cookies are read or set.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from flask import Flask, request
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import DBAPIError, TimeoutError
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import (
    ClientDisconnected,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
)
from werkzeug.routing import Map, RequestRedirect, Rule
from werkzeug.wrappers import Response

from bot import accounts, db, idempotency, tokens
from bot.api import problems
from bot.api.frame import ENDPOINTS, PREFIX, Call, Endpoint, File
from bot.api.problems import Problem
from bot.errors import Invalid, Refused, WeChatError
from bot.idempotency import Answer
from bot.kept import StoreError
from bot.logs import clean
from bot.runtime import Runtime, runtime
from bot.secrets import seal, unseal
from bot.sentences import in_chinese
from bot.tokens import Bearer

LARGEST = 1_000_000  # bytes of a body
RATE, RATE_SECONDS = 600, 60.0  # requests of one token in so many seconds
WAIT_SECONDS = "5"  # told with 503
DEEPEST = 50  # nesting of a body
JSON = "application/json"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Language, Authorization",
}
Public = Callable[[str], Response]
PUBLIC: dict[str, Public] = {}  # addresses without a token: the document and its page


def install(app: Flask) -> None:
    """Answer everything under ``/api/v1``."""
    app.before_request(_first)


def _first() -> Response | None:
    path = request.path
    if path != PREFIX and not path.startswith(PREFIX + "/"):
        return None
    language = request.accept_languages.best_match(["zh", "en"], default="zh")
    response = _answer(path, language)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _answer(path: str, language: str) -> Response:
    try:
        return _known(path, language)
    except Problem as problem:
        return _refusal(problem, language)
    except Invalid as problem:
        return _refusal(Problem("invalid", errors=[(problem.field, problem.message)]), language)
    except Refused as problem:
        return _refusal(Problem("conflict", clean(str(problem))), language)
    except WeChatError as problem:
        return _refusal(Problem("platform", clean(str(problem))), language)
    except (StoreError, DBAPIError, TimeoutError) as problem:
        if isinstance(problem, DBAPIError) and not db.is_unavailable(problem):
            raise
        return _refusal(Problem("unavailable", headers={"Retry-After": WAIT_SECONDS}), language)


def _known(path: str, language: str) -> Response:
    """1. Find the endpoint. 2. Know the token, and what it may. 3. Read what is asked. 4. Do it, at most once."""
    if path in PUBLIC:
        if request.method not in ("GET", "HEAD"):
            raise Problem("method", headers={"Allow": "GET, HEAD"})
        return PUBLIC[path](language)
    endpoint, values = _matched(path)
    rt = runtime()
    call = _allowed(rt, endpoint, values, language)
    _acceptable(endpoint)
    asked = _read(endpoint, values)
    key = request.headers.get("Idempotency-Key")
    if key is None or request.method != "POST":
        done = _do(call, endpoint, asked)
        return _file(done) if isinstance(done, File) else _json(done)
    return _once(call, endpoint, asked, idempotency.checked(key))


def _matched(path: str) -> tuple[Endpoint, dict[str, str]]:
    try:
        number, values = _map().bind("").match(path, request.method)
    except MethodNotAllowed as problem:
        allowed = ", ".join(sorted(problem.valid_methods or ()))
        raise Problem("method", headers={"Allow": allowed}) from None
    except (NotFound, RequestRedirect):
        raise Problem("not-found") from None
    return ENDPOINTS[number], dict(values)


@cache
def _map() -> Map:
    rules = [
        Rule(PREFIX + endpoint.path, methods=[endpoint.method], endpoint=number)
        for number, endpoint in enumerate(ENDPOINTS)
    ]
    return Map(rules, strict_slashes=False, merge_slashes=False)


def _allowed(rt: Runtime, endpoint: Endpoint, values: dict[str, str], language: str) -> Call:
    now = rt.clock()
    with db.reading(rt.engine) as session:
        bearer = tokens.bearer(session, _presented(), now)
        slug = values.pop("slug", None) if endpoint.of_account else None
        account = _account(session, slug) if slug is not None and bearer is not None else None
    if bearer is None:
        raise _unknown("invalid_token")
    if not rt.store.count(f"api:{bearer.token.id}", RATE_SECONDS, RATE):
        raise Problem("too-many", headers={"Retry-After": str(round(RATE_SECONDS))})
    if tokens.stale(bearer.token, now):
        with db.writing(rt.engine) as session:
            tokens.used(session, bearer.token, now)
    if endpoint.of_account and (account is None or not bearer.sees(account.id)):
        raise Problem("not-found")
    if endpoint.right is not None and endpoint.right not in bearer.scopes:
        raise _missing(endpoint.right)
    return Call(rt, bearer, now, language, path=request.path, found=account)


def _account(session: db.Session, slug: str) -> accounts.Account | None:
    if unstorable(slug):
        return None
    try:
        return accounts.get(session, slug)
    except Refused:
        return None


def _presented() -> str:
    kind, _, plain = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not plain:
        raise _unknown(None)
    return plain.strip()


def _unknown(error: str | None) -> Problem:
    challenge = 'Bearer realm="qunfen"' + (f', error="{error}"' if error else "")
    return Problem("unauthorized", headers={"WWW-Authenticate": challenge})


def _missing(right: str) -> Problem:
    challenge = f'Bearer realm="qunfen", error="insufficient_scope", scope="{right}"'
    return Problem("forbidden", more={"scope": right}, headers={"WWW-Authenticate": challenge})


def needs(bearer: Bearer, right: str) -> None:
    """For endpoints that take a further right with some parameters.

    Raises:
        Problem: the token does not have it.
    """
    if right not in bearer.scopes:
        raise _missing(right)


def _acceptable(endpoint: Endpoint) -> None:
    offered = list(endpoint.files) or [JSON]
    if request.accept_mimetypes and not request.accept_mimetypes.best_match(offered):
        raise Problem("not-acceptable")


def _read(endpoint: Endpoint, values: Mapping[str, str]) -> dict[str, Any]:
    """Everything the endpoint's function takes, checked."""
    asked: dict[str, Any] = {}
    for name, adapter in endpoint.parameters.items():
        try:
            asked[name] = adapter.validate_python(values[name])
        except ValidationError:
            raise Problem("not-found") from None
        if isinstance(asked[name], str) and unstorable(asked[name]):
            raise Problem("not-found")
    if endpoint.query is not None:
        asked["query"] = _checked(endpoint.query, _query(endpoint.query, request.args))
    if endpoint.body is not None:
        asked["body"] = _checked(endpoint.body, _body())
    return asked


def _query(model: type[BaseModel], given: MultiDict[str, str]) -> dict[str, Any]:
    """Lists where a field is one, else one value a name. Named twice is an error, not a silent choice."""
    found: dict[str, Any] = {}
    for name, values in given.lists():
        if unstorable(name) or any(unstorable(value) for value in values):
            raise Invalid("query", "has characters that cannot be stored")
        field = model.model_fields.get(name)
        listed = field is not None and "list[" in str(field.annotation)
        if not listed and len(values) > 1:
            raise Invalid(name, "is given more than once")
        found[name] = values if listed else values[0]
    return found


def _checked(model: type[BaseModel], value: Any) -> BaseModel:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        listed = error.errors(include_url=False, include_input=False, include_context=False)
        raise Problem(
            "invalid",
            errors=[
                (".".join(map(str, item["loc"])), item["msg"].removeprefix("Value error, "))
                for item in listed[:50]
            ],
        ) from None


def _body() -> Any:
    request.max_content_length = LARGEST
    try:
        raw = request.get_data(cache=True)
    except RequestEntityTooLarge:
        raise Problem("too-large") from None
    except ClientDisconnected:
        raise Problem("malformed") from None
    if request.mimetype != JSON:
        raise Problem("media-type")
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Problem("malformed") from None
    for place, wrong in _unusable(value):
        raise Invalid(place, wrong)
    return value


def _no_number(word: str) -> Any:
    raise ValueError(word)


def _unusable(value: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """What JSON allows and a database does not: NUL, lone surrogates, numbers beyond 64 bits."""
    if depth > DEEPEST:
        yield place, "is nested too deeply"
    elif isinstance(value, str) and unstorable(value):
        yield place, "has characters that cannot be stored"
    elif isinstance(value, int | float) and not -(2**63) < value < 2**63:
        yield place, "is too large a number"
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _unusable(item, _inside(place, str(number)), depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if unstorable(key):
                yield place, "has characters that cannot be stored"
            yield from _unusable(item, _inside(place, key), depth + 1)


def _inside(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def unstorable(text: str) -> bool:
    """Whether a text has a NUL or half a character: no database takes it."""
    return "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text)


def _do(call: Call, endpoint: Endpoint, asked: Mapping[str, Any]) -> Answer | File:
    if not endpoint.session:
        return _told(endpoint, endpoint.function(call, **asked))
    opened = db.reading if endpoint.reads else db.writing
    with opened(call.rt.engine) as session:
        return _told(endpoint, endpoint.function(call, session=session, **asked))


def _once(call: Call, endpoint: Endpoint, asked: Mapping[str, Any], key: str) -> Response:
    """The same, but a repetition of the request is answered from what is stored."""
    token_id, engine = call.bearer.token.id, call.rt.engine
    mark = idempotency.fingerprint(request.method, request.full_path, request.get_data())
    with db.writing(engine) as session:
        known = idempotency.claim(session, token_id, key, mark, call.now)
    if known is not None:
        return _json(_opened(call, known), {"Idempotency-Replayed": "true"})
    stored = False
    try:
        done = _do(call, _storing(endpoint, token_id, key), asked)
        assert isinstance(done, Answer)
        if not endpoint.session:
            with db.writing(engine) as session:
                idempotency.store(session, token_id, key, _closed(call, done))
        stored = True
    finally:
        if not stored:  # nothing was done, so that a repetition may try again
            with db.writing(engine) as session:
                idempotency.release(session, token_id, key)
    return _json(done)


def _storing(endpoint: Endpoint, token_id: int, key: str) -> Endpoint:
    """The endpoint, storing its answer in its own transaction: change and answer are kept together or not at all."""
    if not endpoint.session:
        return endpoint

    def function(call: Call, *, session: db.Session, **asked: Any) -> Any:
        result = endpoint.function(call, session=session, **asked)
        answer = _told(endpoint, result)
        assert isinstance(answer, Answer)
        idempotency.store(session, token_id, key, _closed(call, answer))
        return result

    return replace(endpoint, function=function)


def _closed(call: Call, answer: Answer) -> Answer:
    """An answer as it is stored, sealed: it may hold a secret, or what is known of a person."""
    return Answer(answer.status, {"sealed": seal(call.rt.secret_key, json.dumps(answer.body))})


def _opened(call: Call, answer: Answer) -> Answer:
    return Answer(answer.status, json.loads(unseal(call.rt.secret_key, answer.body["sealed"])))


def _told(endpoint: Endpoint, result: Any) -> Answer | File:
    if isinstance(result, File):
        return result
    return Answer(endpoint.status, result.model_dump(mode="json", by_alias=True))


def _json(answer: Answer | File, headers: Mapping[str, str] | None = None) -> Response:
    assert isinstance(answer, Answer)
    return _response(answer.body, answer.status, JSON, headers)


def _file(found: File) -> Response:
    return Response(found.data, content_type=found.content_type)


def _refusal(problem: Problem, language: str) -> Response:
    body = problem.body(language)
    if language == "zh":
        if "detail" in body:
            body["detail"] = in_chinese(body["detail"])
        for one in body.get("errors", ()):
            one["message"] = in_chinese(one["message"])
    return _response(body, problem.status, problems.MEDIA_TYPE, problem.headers)


def _response(
    body: Any, status: int, content_type: str, headers: Mapping[str, str] | None
) -> Response:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    # what was typed may come back in an error: half a character has no UTF-8
    data = text.encode("utf-8", "replace")
    return Response(data, status, dict(headers or {}), content_type=content_type)
