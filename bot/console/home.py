"""The home page 首页: the account's numbers, its campaigns, and the latest pushes with the reason for each answer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask import render_template, request, url_for
from flask_babel import gettext as _

from bot import db, health, inbox, jobs, overview
from bot.console import why, words
from bot.console.access import Here, page
from bot.db import Session
from bot.facts import MESSAGE_KINDS
from bot.secrets import short
from bot.tables.campaigns import external_mass_sends
from bot.tables.tracking import scenes
from bot.wechat.message import FROM_PLATFORM

LONGEST = 120  # characters of a message or a reply in the list


@dataclass(frozen=True, slots=True)
class Note:
    """Something wrong, and the page where it is mended; ``url`` is empty where there is none."""

    level: str
    text: str
    url: str = ""
    page: str = ""


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
            notes=list(_notes(here, session)),
            campaigns=overview.campaign_lines(session, account.id, kept=True),
            pushes=_lines(session, here),
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


def _notes(here: Here, session: Session) -> Iterator[Note]:
    """What is wrong, each with the page that mends it for those whose role may open it."""
    rt, account = here.rt, here.account
    settings = here.may("account.write")
    if account.stopped:
        text = _(
            "紧急停止中：%(reason)s。解除之前什么都不会发出。", reason=account.stopped_reason or ""
        )
        yield Note("bad", text, url_for(".account_settings") if settings else "", _("公众号设置"))
    if not account.opening_stated and account.kind == "service":
        text = _("群发已锁定：请先说明接入前本月已群发几次。")
        yield Note("warn", text, url_for(".account_opening") if settings else "", _("去说明"))
    unexplained = session.execute(
        sa.select(sa.func.count()).where(
            external_mass_sends.c.account_id == account.id,
            external_mass_sends.c.audience == "unknown",
        )
    ).scalar_one()
    if unexplained:
        yield Note(
            "warn",
            _(
                "有 %(count)s 次不是从这里发出的群发，说明发给了谁之前，群发锁定。",
                count=unexplained,
            ),
            url_for(".ledger_page") if here.may("ledger.read") else "",
            _("去说明"),
        )
    failed = len(inbox.failed_ids(session, account.id))
    if failed:
        text = _("有 %(count)s 条推送处理失败，修好原因后可以重新处理。", count=failed)
        url = url_for("console.pushes_replay") if here.may("rules.publish") else ""
        yield Note("bad", text, url, _("重新处理") if url else "")
    dead = len(jobs.dead(session))
    if dead:
        text = _("有 %(count)s 个后台任务已放弃，看看原因，处理后可以再试。", count=dead)
        yield Note("bad", text, _jobs_page(here), _("后台任务"))
    wrong = overview.troubles(session, account.id, rt.clock())
    if wrong.given_up:
        yield Note(
            "bad",
            _(
                "24 小时内有 %(count)s 次发送失败，最近一次：%(latest)s",
                count=wrong.given_up,
                latest=wrong.latest_given_up,
            ),
        )
    if wrong.waiting:
        yield Note(
            "warn",
            _(
                "有 %(count)s 次发送等待重试，最近一次：%(latest)s",
                count=wrong.waiting,
                latest=wrong.latest_waiting,
            ),
        )
    refused = sorted(name for name, granted in account.rights.items() if granted is False)
    if refused:
        text = _(
            "平台没有给接口权限 (48001)：%(names)s。开通后再检查一次。", names=_("、").join(refused)
        )
        yield Note("bad", text, url_for(".account_live") if settings else "", _("实际检查"))
    for name, check in health.checked(rt).items():
        if check["ok"]:
            continue
        broken = rt.rulebooks.broken.get(account.id)
        if name != "rulebooks":
            yield Note("bad", str(words.HEALTH[name]))
        elif broken:
            yield Note("bad", f"{words.HEALTH[name]}{_('：')}{broken}")


def _jobs_page(here: Here) -> str:
    """The jobs that were given up, of every account for who may see those; empty without the right."""
    if here.may("operators.write"):
        return url_for("console.system_jobs", state="dead")
    return url_for(".jobs_list", state="dead") if here.may("jobs.read") else ""


def _bar(slots_left: Mapping[int, int]) -> list[dict[str, Any]]:
    """Parts of the bar, most slots first: from where to where, in percent."""
    everybody = sum(slots_left.values()) or 1
    parts, begin = [], 0.0
    for left, people in sorted(slots_left.items(), reverse=True):
        wide = 100 * people / everybody
        parts.append({"left": left, "people": people, "begin": f"{begin:.2f}", "wide": wide})
        begin += wide
    return parts


def _lines(session: Session, here: Here) -> list[dict[str, Any]]:
    """The latest pushes; QR codes by their names."""
    account_id, reads = here.account.id, here.may("messages.read")
    rows = inbox.latest(session, account_id, 30)
    keys = {_scene(row.message or {}) for row in rows} - {""}
    found = sa.select(scenes.c.key, scenes.c.name).where(
        scenes.c.account_id == account_id, scenes.c.key.in_(keys)
    )
    names = {row.key: row.name for row in session.execute(found)}
    return [_line(row, names, reads=reads) for row in rows]


def _line(row: Any, names: Mapping[str, str], *, reads: bool) -> dict[str, Any]:
    message = row.message or {}
    # what somebody wrote is for those who may read conversations
    fields = (message.get("fields") or {}) if reads or row.kind not in MESSAGE_KINDS else {}
    return {
        "received_at": row.received_at,
        "follower": _who(message),
        "follower_id": row.follower_id,
        "kind": row.kind,
        "failed": row.status == "failed",
        "said": names.get(_scene(message)) or _cut(words.said(row.kind, fields)),
        "rules": row.rules or [],
        "reply": _cut(words.replied(row.reply)),
        **why.told(row.trace, row.error),
    }


def _scene(message: Mapping[str, Any]) -> str:
    """The key of the QR code a follow or a scan came from; "" otherwise."""
    if message.get("kind") not in ("subscribe", "scan"):
        return ""
    return str((message.get("fields") or {}).get("EventKey") or "").removeprefix("qrscene_")


def _who(message: Mapping[str, Any]) -> str:
    if not message:
        return str(_("已删除"))
    if message.get("kind") in FROM_PLATFORM:
        return str(_("平台"))
    return short(message.get("open_id"))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
