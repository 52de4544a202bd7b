"""The live check of an account: our own callback, the access token, and each interface a brand needs.

Asks the real platform (or the sandbox) with harmless calls; what it refuses with 48001 is remembered. Says what it
found in words of its own (``code``); doors put them into sentences.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.engine import Engine

from bot import accounts, db, kept
from bot.accounts import Account
from bot.db import Session
from bot.errors import Refused, WeChatError
from bot.wechat.client import WeChat
from bot.wechat.transport import Http, exchange

# a cheap call for each interface a brand needs: feature -> (path, payload)
PROBES: dict[str, tuple[str, dict[str, Any] | None]] = {
    "menu": ("/cgi-bin/menu/get", None),
    "tags": ("/cgi-bin/tags/get", None),
    "users": ("/cgi-bin/user/get", None),
    "mass": ("/cgi-bin/message/mass/speed/get", {}),
    "material": ("/cgi-bin/material/get_materialcount", None),
}
STEPS = ("callback", "token", *PROBES)
NOT_GRANTED = 48001
EMPTY_ANSWERS = {46003}  # "there is no menu" says that the interface is granted
KEPT_FOR = timedelta(days=7)
JOB = "account_check"


@dataclass(frozen=True, slots=True)
class Finding:
    """``what`` is one of STEPS. ``code``: works, granted, not_granted, unreachable, no_echo, refused, skipped.

    ``detail`` is the address, an HTTP status, or the platform's own words.
    """

    what: str
    ok: bool
    code: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found so far. ``at``: when it was asked for."""

    at: datetime
    running: bool
    findings: tuple[Finding, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.running and all(finding.ok for finding in self.findings)


def check(
    engine: Engine,
    wechat: WeChat,
    account: Account,
    token: str,
    address: str,
    http: Http,
    now: datetime,
    seen: Callable[[Sequence[Finding]], None] = lambda found: None,
) -> list[Finding]:
    """Every finding; ``seen`` is told after each. Without a token the interfaces are not asked."""
    found = [callback(address, token, http, now)]
    seen(found)
    try:
        wechat.call("/cgi-bin/getcallbackip")
        found.append(Finding("token", True, "works"))
    except WeChatError as problem:
        found.append(Finding("token", False, "refused", str(problem)))
        return [*found, *(Finding(feature, False, "skipped") for feature in PROBES)]
    seen(found)
    with db.writing(engine) as session:
        accounts.forget_refusals(session, account.id)  # what still is not granted is learnt again
    for feature in PROBES:
        found.append(_probe(engine, wechat, account, feature))
        seen(found)
    return found


def callback(address: str, token: str, http: Http, now: datetime) -> Finding:
    """Verifies our own address as the platform does: a signed GET must echo."""
    echo, nonce = secrets.token_hex(8), secrets.token_hex(4)
    timestamp = str(int(now.timestamp()))
    signed = "".join(sorted((token, timestamp, nonce)))
    signature = hashlib.sha1(signed.encode(), usedforsecurity=False).hexdigest()
    given = {"signature": signature, "timestamp": timestamp, "nonce": nonce, "echostr": echo}
    try:
        answer = exchange(http, "GET", address, params=given)
    except WeChatError as problem:
        why = "no connection" if problem.action == "retry" else "no usable answer"
        return Finding("callback", False, "unreachable", why)
    if answer.status_code == 200 and answer.text == echo:
        return Finding("callback", True, "works", address)
    return Finding("callback", False, "no_echo", str(answer.status_code))


def begin(session: Session, account_id: int, now: datetime) -> None:
    """A check was asked for: what an earlier one found is no longer shown."""
    _keep(session, account_id, Report(now, running=True), now)


def run(
    engine: Engine,
    wechat: WeChat,
    account_id: int,
    secret_key: str,
    base_url: str,
    http: Http,
    now: datetime,
) -> None:
    """The check as a job: its report grows finding by finding, for a page that asks for it."""
    with db.reading(engine) as session:
        account = accounts.by_id(session, account_id)
        token = accounts.secrets_of(session, account_id, secret_key).token
        earlier = report(session, account_id, now)
    at = earlier.at if earlier is not None else now

    def seen(found: Sequence[Finding], *, running: bool = True) -> None:
        with db.writing(engine) as session:
            _keep(session, account_id, Report(at, running, tuple(found)), now)

    address = f"{base_url}/callback/{account.slug}"
    seen(check(engine, wechat, account, token, address, http, now, seen), running=False)


def report(session: Session, account_id: int, now: datetime) -> Report | None:
    """What the last check found; None when there was none within seven days."""
    stored = kept.read(session, _key(account_id), now)
    if stored is None:
        return None
    value: Mapping[str, Any] = json.loads(stored)
    return Report(
        datetime.fromisoformat(value["at"]),
        value["running"],
        tuple(Finding(**one) for one in value["findings"]),
    )


def _keep(session: Session, account_id: int, found: Report, now: datetime) -> None:
    value = {
        "at": found.at.isoformat(),
        "running": found.running,
        "findings": [asdict(one) for one in found.findings],
    }
    kept.write(session, _key(account_id), json.dumps(value, ensure_ascii=False), now + KEPT_FOR)


def _key(account_id: int) -> str:
    return f"account_check:{account_id}"


def _probe(engine: Engine, wechat: WeChat, account: Account, feature: str) -> Finding:
    path, payload = PROBES[feature]
    try:
        wechat.call(path, payload)
    except WeChatError as problem:
        if problem.errcode in EMPTY_ANSWERS:
            return Finding(feature, True, "granted")
        if problem.errcode == NOT_GRANTED:
            with db.writing(engine) as session:
                accounts.forbid(session, account.id, feature)
            return Finding(feature, False, "not_granted")
        return Finding(feature, False, "refused", str(problem))
    except Refused as problem:
        return Finding(feature, False, "refused", str(problem))
    return Finding(feature, True, "granted")
