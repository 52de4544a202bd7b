"""Conversations 会话: the inbox of who wrote within 48 hours, one conversation, answers by hand."""

import hashlib
import secrets
from typing import Any

from flask import Response, make_response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from bot import (
    canned_answers,
    conversations,
    db,
    followers,
    media,
    operators,
    received_media,
    scopes,
)
from bot.console import said
from bot.console.access import Here, by_htmx, confirm, done, go, missing, page
from bot.console.lists import Asked, Column, Filter, Listing, asked, csv_file, whole
from bot.console.telling import told
from bot.errors import Invalid, Refused
from bot.followers import Follower
from bot.rights import rights_of

LARGEST_PICTURE = 2 * 1024 * 1024  # bytes, as the platform takes them
CSV_ROWS = 5000
FORM_KEY = 32  # characters of a form's own key
COLUMNS = (
    Column("follower", _l("粉丝")),
    Column("said", _l("最近一条")),
    Column("wrote", _l("发来时间"), sort=True),
    Column("ends", _l("窗口剩余"), sort=True),
    Column("left", _l("可回复"), number=True),
    Column("agent", _l("负责人")),
)
BULK = (("read", _l("标为已读")), ("close", _l("关闭会话")))


@page("/messages", "messages.read")
def messages_list(here: Here) -> str | Response:
    """Who wrote within 48 hours: whose window closes next first, or who wrote last."""
    with db.reading(here.rt.engine) as session:
        counts = conversations.counts(session, here.account.id, here.now, here.operator.name)
        filters = (Filter("view", _("待处理 %(count)s", count=counts["open"]), _views(counts)),)
        wanted = asked(request.args, COLUMNS, filters, sort="ends")
        found = conversations.page(session, here.account.id, here.now, **_question(here, wanted))
    if wanted.format == "csv":
        return csv_file("conversations", [one.label for one in COLUMNS], _csv_rows(here, wanted))
    view = wanted.has("view") or "open"
    listing = Listing(
        wanted,
        COLUMNS,
        filters,
        found.lines,
        None if wanted.q else counts[view],
        found.more,
        unit=_("个会话"),
    )
    return render_template(
        "messages/list.html",
        listing=listing,
        view=view,
        said_in_line=said.in_line,
        remaining=said.remaining,
        bulk=BULK if here.may("messages.reply") else (),
    )


@page("/messages/bulk", "messages.reply", methods=("POST",))
def messages_bulk(here: Here) -> Any:
    """Several conversations: read, or closed."""
    ids = [number for one in request.form.getlist("ids") if (number := whole(one)) is not None]
    action = request.form.get("action", "")
    changed = 0
    with db.writing(here.rt.engine) as session:
        for follower_id in ids[:200]:
            if followers.by_id(session, here.account.id, follower_id) is None:
                continue
            changed += 1
            if action == "close":
                conversations.close(session, here.account.id, follower_id, here.now)
            else:
                conversations.read(session, here.account.id, follower_id)
        if action == "close" and changed:
            here.audit(session, "conversation.close", "conversations", after={"count": changed})
    return done(_("已处理 %(count)s 个会话", count=changed), ".messages_list")


@page("/messages/<int:follower_id>", "messages.read")
def conversation(here: Here, follower_id: int) -> str:
    """One conversation: both sides, and the box to answer in."""
    if here.may("messages.reply"):
        with db.writing(here.rt.engine) as session:
            if followers.by_id(session, here.account.id, follower_id) is None:
                missing()
            conversations.read(session, here.account.id, follower_id)
    prefilled = request.args.get("canned", "")
    return _conversation(here, follower_id, typed=_canned_text(here, prefilled))


@page("/messages/<int:follower_id>/live", "messages.read")
def conversation_live(here: Here, follower_id: int) -> Response:
    """What is new, for a page that asks every five seconds; nothing when nothing is."""
    shown = _shown(here, follower_id)
    if request.args.get("mark") == shown["mark"]:
        return make_response("", 204)
    if here.may("messages.reply"):
        with db.writing(here.rt.engine) as session:
            conversations.read(session, here.account.id, follower_id)
    return make_response(render_template("messages/_talk.html", live=True, **shown))


@page("/messages/<int:follower_id>/send", "messages.reply", methods=("POST",))
def conversation_send(here: Here, follower_id: int) -> Any:
    """A text or a picture to the follower, as a customer-service message; the same form sends once."""
    text = request.form.get("text", "")
    key = request.form.get("key", "")[:FORM_KEY]
    try:
        content = _content(here, follower_id, text)
        with db.writing(here.rt.engine) as session:
            put = conversations.send(
                session,
                here.account.id,
                follower_id,
                content,
                by=here.operator.name,
                key=key or secrets.token_hex(8),
                now=here.now,
            )
            if put is not None:
                kind = "image" if "image" in content else "text"
                here.audit(
                    session, "conversation.send", f"follower:{follower_id}", after={"kind": kind}
                )
    except (Invalid, Refused) as problem:
        sentence = problem.message if isinstance(problem, Invalid) else str(problem)
        return _composer(here, follower_id, typed=text, key=key, problem=told(sentence))
    if not by_htmx():
        return go(url_for("console.conversation", follower_id=follower_id))
    answer: Response = _composer(here, follower_id)
    answer.headers["HX-Trigger"] = "said"
    return answer


@page("/messages/<int:follower_id>/change", "messages.reply", methods=("POST",))
def conversation_change(here: Here, follower_id: int) -> Any:
    """Take over, hand back, give to a colleague, close."""
    action, agent = request.form.get("action", ""), request.form.get("agent", "")
    with db.writing(here.rt.engine) as session:
        if followers.by_id(session, here.account.id, follower_id) is None:
            missing()
        account_id = here.account.id
        was = conversations.state(session, account_id, follower_id, here.now).agent
        if action == "take":
            agent = here.operator.name
            conversations.take(session, account_id, follower_id, agent, here.now)
            message = _("已接手：规则静默 2 小时，每次回复后再延 2 小时。")
        elif action == "assign":
            if agent not in _agents(session, here):
                raise Refused("this person cannot answer in this account")
            conversations.take(session, account_id, follower_id, agent, here.now)
            message = _("已转给 %(name)s。", name=agent)
        elif action == "back":
            agent = ""
            conversations.hand_back(session, account_id, follower_id)
            message = _("已交还：规则恢复自动回复。")
        elif action == "close":
            agent = ""
            conversations.close(session, account_id, follower_id, here.now)
            message = _("会话已关闭，粉丝再发消息会自动回到列表。")
        else:
            missing()
        here.audit(
            session,
            f"conversation.{action}",
            f"follower:{follower_id}",
            before={"agent": was},
            after={"agent": agent or None},
        )
    if action == "close":
        return done(message, ".messages_list")
    return done(message, ".conversation", follower_id=follower_id)


@page("/messages/media/<int:push_id>", "messages.read")
def message_media(here: Here, push_id: int) -> Response:
    """What a follower sent, fetched from the platform the first time somebody looks."""
    with db.reading(here.rt.engine) as session:
        found = received_media.stored(session, here.account.id, push_id)
        if found is None and received_media.media_id(session, here.account.id, push_id) is None:
            missing()
    if found is None:
        wechat = here.rt.wechat(here.account.id)
        found = received_media.fetch(here.rt.engine, wechat, here.account.id, push_id, here.now)
    return _file(found.type, found.data, f"message-{push_id}")


@page("/messages/file/<name>", "messages.read")
def message_file(here: Here, name: str) -> Response:
    """A picture an agent sent."""
    with db.reading(here.rt.engine) as session:
        data = media.bytes_of(session, here.account.id, name)
    if data is None:
        missing()
    assert data is not None
    return _file(received_media.type_of(data), data, "picture")


@page("/messages/canned", "messages.reply")
def canned_list(here: Here) -> str:
    """Canned answers: texts to insert with one click."""
    return _canned_page(here)


@page("/messages/canned", "messages.reply", methods=("POST",))
def canned_save(here: Here) -> Any:
    """A new canned answer, or a changed one where ``id`` is given."""
    title, text = request.form.get("title", ""), request.form.get("text", "")
    given = request.form.get("id", "")
    canned_id = whole(given)
    try:
        with db.writing(here.rt.engine) as session:
            listed = canned_answers.every(session, here.account.id)
            old = next((row for row in listed if row.id == canned_id), None)
            canned_answers.save(session, here.account.id, title, text, canned_id)
            here.audit(
                session,
                "canned.change" if old is not None else "canned.add",
                title.strip(),
                before={"title": old.title, "text": old.text} if old is not None else None,
                after={"title": title.strip(), "text": text.strip()},
            )
    except (Invalid, Refused) as problem:
        place = problem.field if isinstance(problem, Invalid) else "title"
        sentence = problem.message if isinstance(problem, Invalid) else str(problem)
        errors = {place: told(sentence)}
        return make_response(_canned_page(here, title, text, canned_id, errors), 422)
    return done(_("已保存快捷回复。"), ".canned_list")


@page("/messages/canned/<int:canned_id>/delete", "messages.reply", methods=("GET", "POST"))
def canned_delete(here: Here, canned_id: int) -> Any:
    """Asks, then removes a canned answer."""
    with db.reading(here.rt.engine) as session:
        rows = {row.id: row for row in canned_answers.every(session, here.account.id)}
    if canned_id not in rows:
        missing()
    if request.method == "GET":
        return confirm(
            _("删除快捷回复"),
            [
                _(
                    "「%(title)s」会从所有同事的快捷回复里消失。已经发出的消息不受影响。",
                    title=rows[canned_id].title,
                )
            ],
            action=url_for("console.canned_delete", canned_id=canned_id),
            button=_("删除"),
            back=url_for("console.canned_list"),
        )
    with db.writing(here.rt.engine) as session:
        title = canned_answers.drop(session, here.account.id, canned_id)
        if title is not None:
            here.audit(session, "canned.delete", title, before={"text": rows[canned_id].text})
    return done(_("已删除。"), ".canned_list")


def _views(counts: dict[str, int]) -> list[tuple[str, str]]:
    return [
        ("unread", _("未读 %(count)s", count=counts["unread"])),
        ("mine", _("我负责的 %(count)s", count=counts["mine"])),
        ("closed", _("已关闭 %(count)s", count=counts["closed"])),
    ]


def _question(here: Here, wanted: Asked) -> dict[str, Any]:
    return {
        "view": wanted.has("view") or "open",
        "order": "newest" if wanted.sort == "wrote" or wanted.down else "ending",
        "query": wanted.q,
        "agent": here.operator.name,
        "after": wanted.after,
    }


def _csv_rows(here: Here, wanted: Asked) -> list[list[Any]]:
    with db.reading(here.rt.engine) as session:
        question = {**_question(here, wanted), "after": "", "limit": CSV_ROWS}
        found = conversations.page(session, here.account.id, here.now, **question)
    return [
        [
            line.remark or here.open_id(line.open_id),
            said.in_line(line.kind, line.said),
            line.wrote_at,
            line.ends_at,
            line.left,
            line.agent,
        ]
        for line in found.lines
    ]


def _shown(here: Here, follower_id: int) -> dict[str, Any]:
    before = request.args.get("before", "")
    with db.reading(here.rt.engine) as session:
        follower = followers.by_id(session, here.account.id, follower_id)
        if follower is None:
            missing()
        assert follower is not None
        state = conversations.state(session, here.account.id, follower_id, here.now)
        bubbles, older = conversations.bubbles(
            session,
            here.account.id,
            follower_id,
            before=whole(before) or 0,
        )
    drawn = [said.drawn(bubble, here.now) for bubble in bubbles]
    lock = _lock(here, follower, state)
    room = said.remaining(state.ends_at, here.now)
    told_by = repr((drawn, state.left, state.agent, state.closed, state.silent_until, lock, room))
    return {
        "follower": follower,
        "state": state,
        "bubbles": drawn,
        "older": older,
        "before": before,
        "lock": lock,
        "room": room,
        "allowance": conversations.ALLOWANCE,
        "mark": hashlib.sha256(told_by.encode()).hexdigest()[:16],
    }


def _lock(here: Here, follower: Follower, state: conversations.State) -> str | None:
    """Why nothing can be sent now; None when it can."""
    if not follower.subscribed:
        return str(_("粉丝已取消关注，不能再发消息。"))
    if here.account.stopped:
        return str(_("公众号在紧急停止中，恢复之前不会发出任何消息。"))
    if state.left == 0:
        return str(_("没有打开的客服窗口：等粉丝再发来消息，就能在 48 小时内回复最多 5 条。"))
    return None


def _conversation(here: Here, follower_id: int, **composer: Any) -> str:
    with db.reading(here.rt.engine) as session:
        canned = canned_answers.every(session, here.account.id)
        agents = _agents(session, here)
    return render_template(
        "messages/conversation.html",
        canned=canned,
        agents=[name for name in agents if name != here.operator.name],
        active="messages_list",
        live=False,
        **_box(**composer),
        **_shown(here, follower_id),
    )


def _composer(here: Here, follower_id: int, **composer: Any) -> Response:
    status = 422 if composer.get("problem") else 200
    if not by_htmx():
        return make_response(_conversation(here, follower_id, **composer), status)
    shown = _shown(here, follower_id)
    return make_response(
        render_template("messages/_composer.html", **_box(**composer), **shown), status
    )


def _box(typed: str = "", key: str = "", problem: str | None = None) -> dict[str, Any]:
    return {"typed": typed, "key": key or secrets.token_hex(8), "problem": problem}


def _content(here: Here, follower_id: int, text: str) -> dict[str, Any]:
    upload = request.files.get("image")
    if upload is None or not upload.filename:
        return {"text": text.replace("\r\n", "\n").strip()}
    data = upload.stream.read(LARGEST_PICTURE + 1)
    if len(data) > LARGEST_PICTURE:
        raise Invalid("image", "a picture may have 2 MB at most")
    if text.strip():
        raise Invalid("text", "a picture and a text are two messages: send one after the other")
    with db.writing(here.rt.engine) as session:
        if followers.by_id(session, here.account.id, follower_id) is None:
            missing()
        name = media.keep(session, here.account.id, "image", data)
    media.upload_now(here.rt.engine, here.rt.wechat, here.account.id, name, here.now)
    return {"image": {"file": name}}


def _agents(session: db.Session, here: Here) -> list[str]:
    """Who may answer in this account."""
    return [
        one.name
        for one in operators.every(session)
        if one.active
        and "messages.reply" in rights_of(one.role)
        and (
            scopes.sees_all(one)
            or here.account.id in {seen.account.id for seen in scopes.accounts_of(session, one)}
        )
    ]


def _canned_text(here: Here, wanted: str) -> str:
    if whole(wanted) is None:
        return ""
    with db.reading(here.rt.engine) as session:
        rows = canned_answers.every(session, here.account.id)
    return next((str(row.text) for row in rows if row.id == whole(wanted)), "")


def _canned_page(
    here: Here,
    title: str = "",
    text: str = "",
    canned_id: int | None = None,
    errors: dict[str, str] | None = None,
) -> str:
    with db.reading(here.rt.engine) as session:
        rows = canned_answers.every(session, here.account.id)
    wanted = request.args.get("edit", "")
    chosen = next((row for row in rows if str(row.id) == wanted), None)
    if chosen is not None and errors is None:
        title, text, canned_id = chosen.title, chosen.text, chosen.id
    return render_template(
        "messages/canned.html",
        rows=rows,
        title_typed=title,
        text_typed=text,
        canned_id=canned_id,
        errors=errors or {},
        active="messages_list",
    )


def _file(kind: str, data: bytes, name: str) -> Response:
    answer = make_response(data)
    answer.headers["Content-Type"] = kind
    if kind == received_media.UNKNOWN_TYPE or kind == "audio/amr":
        answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer
