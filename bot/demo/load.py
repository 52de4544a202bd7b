"""Loads 沐颜集 into an installation and onto a sandbox: accounts, rules, followers with their past."""

import secrets
import string
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa

from bot import accounts, db
from bot.as_code import apply as as_code
from bot.campaigns import external_sends
from bot.clock import month_of
from bot.db import Session
from bot.demo import campaigns, history, write
from bot.demo.population import Person, people
from bot.demo.questions import Question, openings, questions
from bot.demo.truth import SLUG, share
from bot.errors import Refused
from bot.runtime import Runtime
from bot.tables.events import events
from bot.tables.followers import follower_tags, followers, tags
from bot.tables.inbox import inbound
from rules.effects import Reply
from rules.engine import decide
from rules.facts import Facts

APP_ID, ORIGINAL_ID = "wxdemo0muyan000001", "gh_demomuyan01"
# the small account beside it, for people who follow both
SECOND_SLUG, SECOND_NAME = "muyan-welfare", "沐颜集门店福利"
SECOND_APP_ID, SECOND_ORIGINAL_ID = "wxdemo0muyan000002", "gh_demomuyan02"
SECOND_FOLLOWERS = 1_200
BRAND = Path(__file__).with_name("brand.yaml")
SIZES = {"small": 2_000, "full": 20_000}
CHUNK = 2_000
# the sandbox knows no window that was opened before it began: nobody wrote more recently than this
QUIET = timedelta(hours=49)

Control = Callable[[str, dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Stage:
    """An installation and the sandbox it lives on. ``control`` is the sandbox's control API."""

    rt: Runtime
    sandbox_url: str
    control: Control


def http_control(sandbox_url: str) -> Control:
    """The control API of a sandbox in another process."""
    http = requests.Session()
    http.trust_env = False  # it is on this machine, never behind a proxy

    def control(name: str, words: dict[str, Any]) -> dict[str, Any]:
        answer = http.post(f"{sandbox_url}/sandbox/{name}", json=words, timeout=120)
        told: dict[str, Any] = answer.json()
        if answer.status_code != 200:
            raise Refused(f"the sandbox refused {name}: {told.get('error')}")
        return told

    return control


def is_loaded(session: Session) -> bool:
    """Whether the demo brand is here."""
    return any(account.slug == SLUG for account in accounts.every(session))


def load(stage: Stage, size: str, now: datetime) -> int:
    """Load the brand; the number of followers. Nothing happens where it is loaded already.

    1. The account, with fresh secrets, on the sandbox and here.
    2. Rules, tags, codes, segments and menus from ``brand.yaml``, like any account file.
    3. Followers on the sandbox, and what the installation would know of their past 90 days.
    4. Campaigns of the last months with their results, this month's slots, and what is planned next.
    5. What some of them asked that no rule answered.
    6. The second account, which shares some of its people.

    Raises:
        Refused: the sandbox or the file refuses.
    """
    with db.reading(stage.rt.engine) as session:
        if is_loaded(session):
            return 0
    everybody = list(people(SIZES[size], now))
    given = _on_sandbox(stage, SLUG, APP_ID, ORIGINAL_ID)
    month = month_of(now)
    for chunk in _chunks(everybody):
        told = [_on_platform(person, month) for person in chunk]
        stage.control("followers", {"app_id": APP_ID, "people": told})
    for person in everybody:
        if person.role.way == "consent" and not person.role.fails:
            stage.control(
                "followers/accept",
                {"app_id": APP_ID, "open_id": person.open_id, "template_id": write.TEMPLATE},
            )
    with db.writing(stage.rt.engine) as session:
        account_id = _here(session, stage, SLUG, SLUG, APP_ID, ORIGINAL_ID, given, now)
        apply_file(session, stage.rt, BRAND.read_bytes(), now)
        asked = list(questions(everybody, SIZES[size], now, QUIET))
        asked += openings(everybody)
        ids = _write_people(session, account_id, everybody, asked, now)
        _write_questions(session, stage.rt, account_id, asked, ids)
        _write_past(session, account_id, everybody, ids, SIZES[size], now)
        apply_file(session, stage.rt, campaigns.planned(now, SIZES[size]), now)
    _second_account(stage, everybody, SIZES[size], now)
    return len(everybody)


def _write_past(
    session: Session,
    account_id: int,
    everybody: list[Person],
    ids: dict[str, int],
    size: int,
    now: datetime,
) -> None:
    account = accounts.get(session, SLUG)
    left = history.leavers(size, now)
    gone = [*left, *history.stopped_leavers(size, now)]
    known = ids | write.leavers(session, account_id, gone)
    write.windows(session, account_id, everybody, ids)
    write.notices(session, account_id, everybody, ids, now)
    write.past(session, account, list(history.past(everybody, left, size, now)), known, now)


def _second_account(stage: Stage, everybody: list[Person], size: int, now: datetime) -> None:
    """Followers of the welfare account; the shared ones have the same UnionID on both."""
    shared = [person for person in everybody if person.union_id]
    given = _on_sandbox(stage, SECOND_SLUG, SECOND_APP_ID, SECOND_ORIGINAL_ID)
    rows: list[dict[str, Any]] = []
    for number in range(1, share(SECOND_FOLLOWERS, size) + 1):
        both = shared[number - 1] if number <= len(shared) else None
        rows.append(
            {
                "open_id": f"o_demo_2_{number:019d}",
                "union_id": both.union_id if both else f"u_demo_2_{number:019d}",
                "at": now - timedelta(days=5 + number % 80),
            }
        )
    on_platform = [
        {
            "open_id": row["open_id"],
            "unionid": row["union_id"],
            "subscribe_time": row["at"].timestamp(),
        }
        for row in rows
    ]
    stage.control("followers", {"app_id": SECOND_APP_ID, "people": on_platform})
    with db.writing(stage.rt.engine) as session:
        account_id = _here(
            session, stage, SECOND_SLUG, SECOND_NAME, SECOND_APP_ID, SECOND_ORIGINAL_ID, given, now
        )
        external_sends.opening(session, account_id, 0, None, now, by="demo")
        session.execute(
            sa.insert(followers),
            [
                {
                    "account_id": account_id,
                    "open_id": row["open_id"],
                    "union_id": row["union_id"],
                    "subscribed": True,
                    "subscribed_at": row["at"],
                    "first_seen_at": row["at"],
                    "last_active_at": row["at"],
                    "first_source": "ADD_SCENE_SEARCH",
                    "fields": {},
                    "messages": 0,
                    "tester": False,
                }
                for row in rows
            ],
        )


def _on_sandbox(stage: Stage, slug: str, app_id: str, original_id: str) -> dict[str, Any]:
    """Make the account on the platform; its secrets."""
    given = _secrets()
    stage.control(
        "accounts",
        {
            "app_id": app_id,
            "original_id": original_id,
            "mode": "safe",
            "callback_url": f"{stage.rt.config.base_url}/callback/{slug}",
            **given,
        },
    )
    return given


def _here(
    session: Session,
    stage: Stage,
    slug: str,
    name: str,
    app_id: str,
    original_id: str,
    given: dict[str, Any],
    now: datetime,
) -> int:
    return accounts.add(
        session,
        slug=slug,
        name=name,
        kind="service",
        verified=True,
        mode="safe",
        app_id=app_id,
        original_id=original_id,
        secret_key=stage.rt.secret_key,
        sandbox_url=stage.sandbox_url,
        now=now,
        **given,
    )


def meet(stage: Stage) -> None:
    """Tell the brand and its sandbox where the other one is: either may have been started on another port.

    Raises:
        Refused: this sandbox does not know the brand.
    """
    with db.reading(stage.rt.engine) as session:
        here = {account.app_id: account for account in accounts.every(session)}
    for app_id in (APP_ID, SECOND_APP_ID):
        if app_id not in here:  # a brand that was loaded before it had a second account
            continue
        callback = f"{stage.rt.config.base_url}/callback/{here[app_id].slug}"
        stage.control("accounts/change", {"app_id": app_id, "callback_url": callback})
        with db.writing(stage.rt.engine) as session:
            accounts.move_sandbox(session, here[app_id].id, stage.sandbox_url)


def apply_file(session: Session, rt: Runtime, raw: bytes, now: datetime) -> None:
    """Apply an account file of the demo.

    Raises:
        Refused: it has problems; the first is told.
    """
    prepared = as_code.prepare(session, raw, BRAND.parent, {}, rt.secret_key, now)
    if prepared.problems:
        raise Refused(f"the demo's account file: {prepared.problems[0]}")
    as_code.apply(session, prepared, rt.secret_key, now, by="demo")


def _secrets() -> dict[str, Any]:
    letters = string.ascii_letters + string.digits
    return {
        "app_secret": secrets.token_hex(16),
        "token": secrets.token_hex(12),
        "aes_key": "".join(secrets.choice(letters) for _ in range(43)),
    }


def _on_platform(person: Person, month: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "open_id": person.open_id,
        "subscribe_time": person.followed_at.timestamp(),
        "scene": person.scene,
        "unionid": person.union_id,
        "refuses": person.refuses,
        "counts": {month: len(person.sends)} if person.sends else {},
    }
    # a window the platform closed or somebody used up in the meantime is planted: nothing here can know of it
    if person.open and person.wrote_at and (person.role.used_up or not person.role.fails):
        told["wrote_at"] = person.wrote_at.timestamp()
        told["used"] = write.MESSAGES if person.role.used_up else 0
    return told


def _write_people(
    session: Session,
    account_id: int,
    everybody: list[Person],
    asked: list[Question],
    now: datetime,
) -> dict[str, int]:
    """Followers with their tags and events; their ids by OpenID."""
    wrote: dict[str, list[datetime]] = defaultdict(list)
    for question in asked:
        wrote[question.open_id].append(question.at)
    session.execute(
        sa.insert(followers),
        [_follower(account_id, person, wrote[person.open_id], now) for person in everybody],
    )
    found = session.execute(
        sa.select(followers.c.open_id, followers.c.id).where(followers.c.account_id == account_id)
    )
    ids = {row.open_id: row.id for row in found}
    named = session.execute(
        sa.select(tags.c.name, tags.c.id).where(tags.c.account_id == account_id)
    )
    tag_ids = {row.name: row.id for row in named}
    given = [
        {
            "account_id": account_id,
            "follower_id": ids[person.open_id],
            "tag_id": tag_ids[name],
            "origin": f"scene:{person.scene}" if name.endswith(("顾客", "来源")) else "import",
            "added_at": person.followed_at,
        }
        for person in everybody
        for name in person.tags
    ]
    session.execute(sa.insert(follower_tags), given)
    past = [_event(account_id, ids[person.open_id], person) for person in everybody]
    past += [
        _event(account_id, ids[person.open_id], person, wrote=True)
        for person in everybody
        if _wrote(person, now)
    ]
    session.execute(sa.insert(events), past)
    return ids


def _write_questions(
    session: Session, rt: Runtime, account_id: int, asked: list[Question], ids: dict[str, int]
) -> None:
    """Pushes that the brand's rules decided as they would have at the time; all of them fell to the fallback."""
    rulebook = rt.rulebooks.current(session, account_id)
    rows = []
    for number, question in enumerate(sorted(asked, key=lambda question: question.at)):
        key = f"{account_id}:demo:{number}"
        facts = Facts(key, "text", question.at, ids[question.open_id], text=question.text)
        decision = decide(rulebook, facts)
        rows.append(
            {
                "account_id": account_id,
                "dedupe_key": key,
                "follower_id": facts.follower_id,
                "kind": "text",
                "message": {
                    "kind": "text",
                    "open_id": question.open_id,
                    "to": ORIGINAL_ID,
                    "sent_at": question.at.isoformat(),
                    "fields": {"Content": question.text},
                },
                "sent_at": question.at,
                "received_at": question.at,
                "status": "done",
                "facts": facts.to_json(),
                "rulebook_number": rulebook.number,
                "rules": list(decision.rules),
                "trace": dict(decision.trace),
                "reply": decision.effects[0].content
                if decision.effects and isinstance(decision.effects[0], Reply)
                else None,
                "milliseconds": 1.0,
                "unmatched": not decision.rules or None,
            }
        )
    session.execute(sa.insert(inbound), rows)
    session.execute(
        sa.insert(events),
        [
            {
                "account_id": account_id,
                "follower_id": ids[question.open_id],
                "kind": "message",
                "key": "text",
                "at": question.at,
            }
            for question in asked
        ],
    )


def _wrote(person: Person, now: datetime) -> bool:
    """Whether the last message is an event of its own; one that opened a window is stored as a push."""
    return person.wrote_at is not None and person.wrote_at < now - QUIET


def _follower(
    account_id: int, person: Person, asked: list[datetime], now: datetime
) -> dict[str, Any]:
    written = [*asked, *([person.wrote_at] if _wrote(person, now) and person.wrote_at else [])]
    source = person.scene or "ADD_SCENE_SEARCH"
    return {
        "account_id": account_id,
        "open_id": person.open_id,
        "union_id": person.union_id,
        "subscribed": True,
        "subscribed_at": person.followed_at,
        "first_seen_at": person.followed_at,
        "last_active_at": max(written, default=person.followed_at),
        "first_source": source,
        "first_scene": person.scene or None,
        "last_scene": person.scene or None,
        "fields": {},
        "messages": len(written),
        "tester": False,
    }


def _event(
    account_id: int, follower_id: int, person: Person, *, wrote: bool = False
) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "follower_id": follower_id,
        "kind": "message" if wrote else "subscribe",
        "key": "text" if wrote else person.scene or None,
        "at": person.wrote_at if wrote else person.followed_at,
    }


def _chunks(everybody: list[Person]) -> Iterator[list[Person]]:
    left: Iterable[Person] = iter(everybody)
    while chunk := list(islice(left, CHUNK)):
        yield chunk
