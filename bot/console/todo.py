"""What waits for somebody (待办): each line leads to the page where it is done, for those whose role may do it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from flask import render_template, url_for
from flask_babel import gettext as _

from bot import conversations, db, rulebook, scene_reports, unmatched, webhooks
from bot.campaigns import reviews
from bot.console.access import Here, page
from bot.db import Session
from bot.tables.inbox import inbound
from bot.tables.rulebooks import rulebooks, rules

UNMATCHED_DAYS = 7
MOST = 10_000  # counted no further


@dataclass(frozen=True, slots=True)
class Todo:
    text: str
    url: str
    level: str = ""


@page("/todo", "home.read")
def home_todo(here: Here) -> str:
    """The list, as a fragment: the home page does not wait for it."""
    with db.reading(here.rt.engine) as session:
        found = [todo for right, ask in ASKS if here.may(right) for todo in ask(here, session)]
    return render_template("home/todo.html", todos=found)


def _unpublished(here: Here, session: Session) -> Iterator[Todo]:
    number = rulebook.head(session, here.account.id)
    published = sa.select(rulebooks.c.published_at).where(
        rulebooks.c.account_id == here.account.id, rulebooks.c.number == number
    )
    changed = session.execute(
        sa.select(sa.func.count()).where(
            rules.c.account_id == here.account.id, rules.c.changed_at > published.scalar_subquery()
        )
    ).scalar_one()
    if changed:
        text = _("%(count)s 条规则改过还没有发布", count=changed)
        yield Todo(text, url_for(".rules_list"), "warn")


def _unread(here: Here, session: Session) -> Iterator[Todo]:
    unread = conversations.counts(session, here.account.id, here.now, here.operator.name)["unread"]
    if unread:
        yield Todo(
            _("%(count)s 个会话等待回复", count=f"{unread:,}"),
            url_for(".messages_list", view="unread"),
        )


def _unmatched(here: Here, session: Session) -> Iterator[Todo]:
    since = here.now - timedelta(days=UNMATCHED_DAYS)
    newest = (
        sa.select(inbound.c.received_at)
        .where(inbound.c.account_id == here.account.id, unmatched.IS_UNMATCHED)
        .order_by(inbound.c.id.desc())
        .limit(MOST)
        .subquery()
    )
    found = session.execute(
        sa.select(sa.func.count()).where(newest.c.received_at >= since)
    ).scalar_one()
    if found:
        text = _(
            "%(count)s 条消息 %(days)s 天内没有规则回答",
            count=f"{found:,}" if found < MOST else f"{MOST:,}+",
            days=UNMATCHED_DAYS,
        )
        yield Todo(text, url_for(".unmatched"))


def _codes(here: Here, session: Session) -> Iterator[Todo]:
    told = {
        "expired": _("%(count)s 个渠道二维码已过期"),
        "silent": _("%(count)s 个渠道二维码突然没有人扫，可能失效了"),
        "failed": _("%(count)s 个渠道二维码没有生成"),
        "expires": _("%(count)s 个渠道二维码一周内到期"),
    }
    notices = scene_reports.warnings(session, here.account.id, here.now, here.scenes)
    for why, sentence in told.items():
        count = sum(1 for notice in notices if notice.why == why)
        if count:
            level = "" if why == "expires" else "bad"
            yield Todo(sentence % {"count": count}, url_for(".scenes_list"), level)


def _webhooks(here: Here, session: Session) -> Iterator[Todo]:
    for webhook in webhooks.every(session, here.account.id):
        if webhook.off:
            text = _("一个 Webhook 已自动停用：对方一直没有收下")
            yield Todo(text, url_for(".webhook", webhook_id=webhook.id), "bad")


def _reviews(here: Here, session: Session) -> Iterator[Todo]:
    count = reviews.waiting(session, here.account.id)
    if count:
        yield Todo(
            _("%(count)s 个活动等待审核", count=count),
            url_for(".campaigns_list", status="review"),
            "warn",
        )


ASKS: tuple[tuple[str, Callable[[Here, Session], Iterator[Todo]]], ...] = (
    ("campaigns.approve", _reviews),
    ("rules.read", _unpublished),
    ("messages.read", _unread),
    ("rules.read", _unmatched),
    ("scenes.read", _codes),
    ("webhooks.write", _webhooks),
)
