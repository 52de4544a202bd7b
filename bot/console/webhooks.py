"""Outgoing webhooks Webhook: which systems are told of what, what they answered, and trying again."""

from collections.abc import Mapping
from typing import Any

from flask import Response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as Answer

from bot import db, webhooks
from bot.console.access import Here, confirm, done, missing, page
from bot.console.lists import Column, Listing, asked, csv_file, whole
from bot.console.telling import beside, told
from bot.db import Session
from bot.errors import Invalid
from bot.webhooks import Webhook

KINDS = {
    "subscribe": _l("关注"),
    "unsubscribe": _l("取消关注"),
    "message": _l("发来消息"),
    "scan": _l("扫码"),
    "menu_click": _l("点击菜单"),
    "menu_view": _l("打开菜单链接"),
    "click": _l("点击短链"),
    "campaign_sent": _l("收到营销活动"),
    "goal": _l("达成目标"),
    "rulebook.published": _l("规则集已发布"),
    "menu.published": _l("菜单已发布"),
    "follower.erased": _l("粉丝资料已删除"),
    webhooks.PING: _l("测试"),
    webhooks.EVERY: _l("全部事件"),
}
STATUS = {"waiting": _l("等待发送"), "sent": _l("已送达"), "failed": _l("失败")}
COLUMNS = (
    Column("id", "ID"),
    Column("kind", _l("事件")),
    Column("status", _l("状态")),
    Column("answer", _l("回答"), number=True),
    Column("attempts", _l("次数"), number=True),
    Column("created_at", _l("时间")),
    Column("error", _l("原因")),
)
PAGE = 50


@page("/webhooks", "webhooks.write")
def webhooks_list(here: Here) -> str:
    """Every webhook of the account: there are twenty at most."""
    with db.reading(here.rt.engine) as session:
        return render_template(
            "webhooks/list.html", webhooks=webhooks.every(session, here.account.id), kinds=KINDS
        )


@page("/webhooks/new", "webhooks.write")
def webhook_new(here: Here) -> str:
    """The form of a new one."""
    return _form(here, None, {"kinds": ["subscribe", "message"], "active": True}, {})


@page("/webhooks/new", "webhooks.write", methods=("POST",))
def webhook_create(here: Here) -> str | tuple[str, int]:
    """Make it, and show its secret this once."""
    try:
        with db.writing(here.rt.engine) as session:
            webhook_id, secret = webhooks.create(
                session,
                here.account.id,
                request.form.get("url", ""),
                _kinds(),
                here.now,
                by=here.operator.name,
                secret_key=here.rt.secret_key,
                open_id=_open_id(here, None),
            )
            made = _found(session, here, webhook_id)
            here.audit(session, "webhook.create", f"webhook:{webhook_id}", after=_told(made))
    except Invalid as problem:
        return _form(here, None, _given(), beside(problem)), 422
    return render_template("webhooks/secret.html", webhook=made, secret=secret)


@page("/webhooks/<int:webhook_id>", "webhooks.write")
def webhook(here: Here, webhook_id: int) -> str | Response:
    """One webhook and what it was told."""
    before = request.args.get("after", "")
    wanted = asked(request.args, COLUMNS)
    with db.reading(here.rt.engine) as session:
        found = _found(session, here, webhook_id)
        rows = webhooks.deliveries_of(
            session,
            here.account.id,
            webhook_id,
            before=whole(before),
            limit=10_000 if wanted.format == "csv" else PAGE + 1,
        )
        total = webhooks.count(session, here.account.id, webhook_id)
    if wanted.format == "csv":
        header = [column.label for column in COLUMNS]
        return csv_file(
            "deliveries", header, ([getattr(row, c.name) for c in COLUMNS] for row in rows)
        )
    more = str(rows[PAGE - 1].id) if len(rows) > PAGE else None
    listing = Listing(wanted, COLUMNS, (), rows[:PAGE], total, more, unit=_("次"))
    return render_template(
        "webhooks/webhook.html",
        webhook=found,
        listing=listing,
        kinds=KINDS,
        status_words=STATUS,
        told=told,
    )


@page("/webhooks/<int:webhook_id>/edit", "webhooks.write")
def webhook_edit(here: Here, webhook_id: int) -> str:
    """Its form."""
    with db.reading(here.rt.engine) as session:
        found = _found(session, here, webhook_id)
    return _form(here, found, _told(found), {})


@page("/webhooks/<int:webhook_id>/edit", "webhooks.write", methods=("POST",))
def webhook_save(here: Here, webhook_id: int) -> Answer | tuple[str, int]:
    """Change it."""
    try:
        with db.writing(here.rt.engine) as session:
            before = _found(session, here, webhook_id)
            after = webhooks.change(
                session,
                here.account.id,
                webhook_id,
                url=request.form.get("url", ""),
                kinds=_kinds(),
                open_id=_open_id(here, before),
                active=bool(request.form.get("active")),
                now=here.now,
            )
            here.audit(
                session,
                "webhook.change",
                f"webhook:{webhook_id}",
                before=_told(before),
                after=_told(after),
            )
    except Invalid as problem:
        return _form(here, before, _given(), beside(problem)), 422
    return done(_("已保存"), "webhook", webhook_id=webhook_id, slug=here.account.slug)


@page("/webhooks/<int:webhook_id>/ping", "webhooks.write", methods=("POST",))
def webhook_ping(here: Here, webhook_id: int) -> Answer:
    """Owe a delivery that only tries the way."""
    with db.writing(here.rt.engine) as session:
        _found(session, here, webhook_id)
        webhooks.ping(session, here.account.id, webhook_id, here.now)
    return done(
        _("测试消息几秒后发出，刷新可看结果"),
        "webhook",
        webhook_id=webhook_id,
        slug=here.account.slug,
    )


@page("/webhooks/<int:webhook_id>/retry/<int:delivery_id>", "webhooks.write", methods=("POST",))
def webhook_retry(here: Here, webhook_id: int, delivery_id: int) -> Answer:
    """Try one delivery again."""
    with db.writing(here.rt.engine) as session:
        _found(session, here, webhook_id)
        webhooks.retry(session, here.account.id, delivery_id, here.now)
        here.audit(session, "webhook.retry", f"delivery:{delivery_id}")
    return done(_("几秒后再发一次"), "webhook", webhook_id=webhook_id, slug=here.account.slug)


@page("/webhooks/<int:webhook_id>/rotate", "webhooks.write")
def webhook_ask_rotate(here: Here, webhook_id: int) -> str:
    """What a new secret means."""
    with db.reading(here.rt.engine) as session:
        _found(session, here, webhook_id)
    return confirm(
        _("更换签名密钥"),
        [_("新密钥只显示一次。旧密钥立即失效：接收方换上新密钥之前，会认为签名不对。")],
        action=url_for("console.webhook_rotate", slug=here.account.slug, webhook_id=webhook_id),
        button=_("更换"),
        back=url_for("console.webhook", slug=here.account.slug, webhook_id=webhook_id),
    )


@page("/webhooks/<int:webhook_id>/rotate", "webhooks.write", methods=("POST",))
def webhook_rotate(here: Here, webhook_id: int) -> str:
    """A new secret, shown this once."""
    with db.writing(here.rt.engine) as session:
        found = _found(session, here, webhook_id)
        secret = webhooks.rotate(session, here.account.id, webhook_id, here.rt.secret_key)
        here.audit(session, "webhook.rotate", f"webhook:{webhook_id}")
    return render_template("webhooks/secret.html", webhook=found, secret=secret)


@page("/webhooks/<int:webhook_id>/delete", "webhooks.write")
def webhook_ask_delete(here: Here, webhook_id: int) -> str:
    """What deleting does, and to how many."""
    with db.reading(here.rt.engine) as session:
        found = _found(session, here, webhook_id)
        waiting = webhooks.count(session, here.account.id, webhook_id, "waiting")
    return confirm(
        _("删除 Webhook"),
        [
            _("%(url)s 不再收到任何事件。", url=found.url),
            _("还在等待发送的 %(count)s 次会作废。", count=waiting),
        ],
        action=url_for("console.webhook_delete", slug=here.account.slug, webhook_id=webhook_id),
        button=_("删除"),
        back=url_for("console.webhook", slug=here.account.slug, webhook_id=webhook_id),
    )


@page("/webhooks/<int:webhook_id>/delete", "webhooks.write", methods=("POST",))
def webhook_delete(here: Here, webhook_id: int) -> Answer:
    """Take it away."""
    with db.writing(here.rt.engine) as session:
        found = _found(session, here, webhook_id)
        webhooks.archive(session, here.account.id, webhook_id, here.now)
        here.audit(session, "webhook.delete", f"webhook:{webhook_id}", before=_told(found))
    return done(_("已删除"), "webhooks_list", slug=here.account.slug)


def _found(session: Session, here: Here, webhook_id: int) -> Webhook:
    return webhooks.get(session, here.account.id, webhook_id) or missing()


def _kinds() -> list[str]:
    named = request.form.get("more", "").replace("，", ",").split(",")
    return [*request.form.getlist("kinds"), *named]


def _open_id(here: Here, before: Webhook | None) -> bool:
    """Whether it may have whole OpenIDs: only somebody who sees them says so, and to which address."""
    wanted = bool(request.form.get("open_id"))
    same = before and before.open_id and before.url == request.form.get("url", "").strip()
    if wanted and not same and not here.may("followers.open_id"):
        raise Invalid("open_id", "you do not have the right 'followers.open_id' yourself")
    return wanted


def _given() -> dict[str, Any]:
    form = request.form
    return {
        "url": form.get("url", ""),
        "kinds": form.getlist("kinds"),
        "more": form.get("more", ""),
        "open_id": bool(form.get("open_id")),
        "active": bool(form.get("active")),
    }


def _told(found: Webhook) -> dict[str, Any]:
    return {
        "url": found.url,
        "kinds": list(found.kinds),
        "open_id": found.open_id,
        "active": found.active,
    }


def _form(
    here: Here, found: Webhook | None, given: Mapping[str, Any], problems: Mapping[str, str]
) -> str:
    own = [kind for kind in given["kinds"] if kind not in KINDS]
    return render_template(
        "webhooks/form.html",
        webhook=found,
        given={**given, "more": given.get("more") or ", ".join(own)},
        problems=problems,
        kinds={kind: label for kind, label in KINDS.items() if kind != webhooks.PING},
        may_open_id=here.may("followers.open_id") or bool(found and found.open_id),
    )
