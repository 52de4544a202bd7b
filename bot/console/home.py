"""The home page 首页: the account's numbers, its campaigns, and the latest pushes with the reason for each answer."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from flask import render_template, request
from flask_babel import gettext as _

from bot import db, health, inbox, jobs, overview
from bot.accounts import Account
from bot.console import why, words
from bot.console.access import Here, page
from bot.db import Session
from bot.runtime import Runtime
from bot.secrets import short
from bot.tables.campaigns import external_mass_sends
from bot.wechat.message import FROM_PLATFORM

LONGEST = 120  # characters of a message or a reply in the list


@page("/", "home.read")
def home(here: Here) -> str:
    """Numbers, what needs attention, campaigns, the latest pushes."""
    account, rt = here.account, here.rt
    with db.reading(rt.engine) as session:
        numbers = overview.numbers(session, account.id, here.now)
        return render_template(
            "home/home.html",
            account=account,
            now=here.now,
            numbers=numbers,
            figures=_figures(numbers),
            bar=_bar(numbers.slots_left),
            live=request.args.get("live") != "0",
            notes=_notes(rt, session, account),
            campaigns=overview.campaign_lines(session, account.id, kept=True),
            pushes=[_line(row) for row in inbox.latest(session, account.id, 30)],
            callback=f"{rt.config.base_url}/callback/{account.slug}",
        )


def _figures(numbers: overview.Numbers) -> list[tuple[str, int, int | None]]:
    """(what, now or today, the whole of yesterday where that can be compared)."""
    before = numbers.yesterday
    return [
        (_("累积关注"), numbers.followers, None),
        (_("今日新增关注"), numbers.new_today, before["subscribe"]),
        (_("今日取消关注"), numbers.left_today, before["unsubscribe"]),
        (_("今日净增关注"), numbers.net_today, before["subscribe"] - before["unsubscribe"]),
        (_("今日消息数"), numbers.messages_today, before["message"]),
        (_("今日扫码"), numbers.scans_today, before["scan"]),
        (_("48 小时内可免费触达"), numbers.reachable_free, None),
        (_("已退订"), numbers.opted_out, None),
    ]


def _notes(rt: Runtime, session: Session, account: Account) -> list[dict[str, str]]:
    notes = []
    if account.stopped:
        notes.append(
            (
                "bad",
                _(
                    "紧急停止中：%(reason)s。恢复请运行 qunfen go %(slug)s",
                    reason=account.stopped_reason or "",
                    slug=account.slug,
                ),
            )
        )
    if not account.opening_stated and account.kind == "service":
        notes.append(
            (
                "warn",
                _(
                    "群发已锁定：请先说明接入前本月已群发几次（qunfen account opening %(slug)s --sent-to-all 次数）。",
                    slug=account.slug,
                ),
            )
        )
    unexplained = session.execute(
        sa.select(sa.func.count()).where(
            external_mass_sends.c.account_id == account.id,
            external_mass_sends.c.audience == "unknown",
        )
    ).scalar_one()
    if unexplained:
        notes.append(
            (
                "warn",
                _(
                    "有 %(count)s 次不是从这里发出的群发，说明发给了谁之前，群发锁定"
                    "（qunfen ledger external %(slug)s --went-to …）。",
                    count=unexplained,
                    slug=account.slug,
                ),
            )
        )
    failed = len(inbox.failed_ids(session, account.id))
    if failed:
        notes.append(
            (
                "bad",
                _(
                    "有 %(count)s 条推送处理失败，可以重放：qunfen replay %(slug)s --failed",
                    count=failed,
                    slug=account.slug,
                ),
            )
        )
    dead = len(jobs.dead(session))
    if dead:
        notes.append(
            (
                "bad",
                _(
                    "有 %(count)s 个后台任务已放弃，查看原因：qunfen jobs list --dead，处理后：qunfen jobs retry ID",
                    count=dead,
                ),
            )
        )
    wrong = overview.troubles(session, account.id, rt.clock())
    if wrong.given_up:
        notes.append(
            (
                "bad",
                _(
                    "24 小时内有 %(count)s 次发送失败，最近一次：%(latest)s",
                    count=wrong.given_up,
                    latest=wrong.latest_given_up,
                ),
            )
        )
    if wrong.waiting:
        notes.append(
            (
                "warn",
                _(
                    "有 %(count)s 次发送等待重试，最近一次：%(latest)s",
                    count=wrong.waiting,
                    latest=wrong.latest_waiting,
                ),
            )
        )
    refused = sorted(name for name, granted in account.rights.items() if granted is False)
    if refused:
        notes.append(
            (
                "bad",
                _(
                    "平台没有给接口权限 (48001)：%(names)s。开通后运行 qunfen account check %(slug)s",
                    names="、".join(refused),
                    slug=account.slug,
                ),
            )
        )
    for name, check in health.checked(rt).items():
        if not check["ok"]:
            told = words.HEALTH[name]
            broken = rt.rulebooks.broken.get(account.id)
            if name != "rulebooks":
                notes.append(("bad", told))
            elif broken:
                notes.append(("bad", f"{told}：{broken}"))
    return [{"level": level, "text": text} for level, text in notes]


def _bar(slots_left: Mapping[int, int]) -> list[dict[str, Any]]:
    """Parts of the bar, most slots first: from where to where, in percent."""
    everybody = sum(slots_left.values()) or 1
    parts, begin = [], 0.0
    for left, people in sorted(slots_left.items(), reverse=True):
        wide = 100 * people / everybody
        parts.append({"left": left, "people": people, "begin": f"{begin:.2f}", "wide": wide})
        begin += wide
    return parts


def _line(row: Any) -> dict[str, Any]:
    message = row.message or {}
    return {
        "received_at": row.received_at,
        "follower": _who(message),
        "kind": row.kind,
        "failed": row.status == "failed",
        "said": _cut(words.said(row.kind, message.get("fields") or {})),
        "rules": row.rules or [],
        "reply": _cut(words.replied(row.reply)),
        **why.told(row.trace, row.error),
    }


def _who(message: Mapping[str, Any]) -> str:
    if not message:
        return str(_("已删除"))
    if message.get("kind") in FROM_PLATFORM:
        return str(_("平台"))
    return short(message.get("open_id"))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
