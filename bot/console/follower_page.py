"""One follower: who they are, what is known and why, what happened; and what operators may change about it."""

from typing import Any

from flask import Response, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as Answer

from bot import db, erasure, follower_edits, followers, person, tag_families, timeline
from bot.campaigns import opt_outs
from bot.console import follower_words
from bot.console.access import Here, confirm, done, go, missing, page
from bot.console.followers import CHOICES, scene_names, tag_one_by_one
from bot.console.lists import attachment, whole
from bot.console.telling import beside
from bot.db import Session
from bot.errors import Invalid
from bot.person import Profile

ERASE = "删除"  # the word that is typed; of the interface's words, not translated


@page("/followers/<int:follower_id>", "followers.read")
def follower(here: Here, follower_id: int) -> str:
    """Everything about one follower, and what happened, newest first."""
    return _drawn(here, follower_id)


@page("/followers/<int:follower_id>/story", "followers.read")
def follower_story(here: Here, follower_id: int) -> str:
    """The next page of the timeline, put below the last one."""
    with db.reading(here.rt.engine) as session:
        _known(session, here, follower_id)
        scenes = scene_names(session, here.account.id)
        return render_template(
            "followers/_story.html",
            follower_id=follower_id,
            **_story(session, here, follower_id, scenes),
        )


@page("/followers/<int:follower_id>/edit", "followers.write", methods=("POST",))
def follower_edit(here: Here, follower_id: int) -> Answer | tuple[str, int]:
    """Remark and fields."""
    form = request.form
    names, values = form.getlist("field"), form.getlist("value")
    wanted = {
        name.strip(): value for name, value in zip(names, values, strict=False) if name.strip()
    }
    try:
        with db.writing(here.rt.engine) as session:
            row = _alive(session, here, follower_id).row
            before, after = follower_edits.set_fields(session, here.account.id, follower_id, wanted)
            remark = form.get("remark", "").strip()
            if remark != (row.remark or ""):
                follower_edits.set_remark(session, here.account.id, follower_id, remark, here.now)
                before, after = {"remark": row.remark} | before, {"remark": remark} | after
            if after:
                here.audit(
                    session,
                    "follower.edit",
                    timeline.thing(follower_id),
                    before=before,
                    after=after,
                )
    except Invalid as problem:
        return _drawn(here, follower_id, errors=beside(problem), given=form), 422
    return done(_("已保存") if after else _("没有改动"), "follower", follower_id=follower_id)


@page("/followers/<int:follower_id>/tags", "followers.write", methods=("POST",))
def follower_tag(here: Here, follower_id: int) -> Answer:
    """Give or take one tag."""
    remove = request.form.get("remove", "")
    name = remove or request.form.get("tag", "").strip()
    if not name:
        return done(_("请先填一个标签"), "follower", follower_id=follower_id)
    with db.writing(here.rt.engine) as session:
        _alive(session, here, follower_id)
        tag = tag_families.get(session, here.account.id, name)
        tag_one_by_one(session, here, tag, [follower_id], remove=bool(remove))
    told = _("已移除标签「%(tag)s」", tag=name) if remove else _("已添加标签「%(tag)s」", tag=name)
    return done(told, "follower", follower_id=follower_id)


@page("/followers/<int:follower_id>/marketing", "followers.write", methods=("GET", "POST"))
def follower_marketing(here: Here, follower_id: int) -> Answer | str:
    """No campaign for this follower, or campaigns again."""
    with db.reading(here.rt.engine) as session:
        out = _alive(session, here, follower_id).row.opted_out_at is not None
    back = url_for(".follower", follower_id=follower_id)
    if request.method == "GET":
        what = [_("这位粉丝以后不会收到任何营销活动，直到本人发送「订阅」或在这里恢复。")]
        if out:
            what = [
                _("这位粉丝会重新收到营销活动。"),
                _("本人发过退订的，只有得到本人同意才可以恢复。"),
            ]
        title = _("恢复接收营销") if out else _("不再发营销")
        return confirm(
            title,
            [*what, _("影响 1 人。")],
            action=url_for(".follower_marketing", follower_id=follower_id),
            button=title,
            back=back,
            hidden={"out": "0" if out else "1"},
        )
    wanted = request.form.get("out") == "1"
    with db.writing(here.rt.engine) as session:
        _alive(session, here, follower_id)
        if wanted:
            opt_outs.opt_out(session, here.account.id, follower_id, here.now)
        else:
            followers.opt_in(session, follower_id)
        action = "follower.opt_out" if wanted else "follower.opt_in"
        here.audit(session, action, timeline.thing(follower_id))
    return go(back)


@page("/followers/<int:follower_id>/erase", "followers.erase", methods=("GET", "POST"))
def follower_erase(here: Here, follower_id: int) -> Answer | str | tuple[str, int]:
    """Erase one person, after saying what goes and what stays, and a word typed."""
    with db.reading(here.rt.engine) as session:
        row = _alive(session, here, follower_id).row
    right = request.form.get("typed", "").strip() == ERASE
    if request.method == "GET" or not right:
        problem = None if request.method == "GET" else _("输入的字不对，没有删除。")
        shown = _ask_erase(here, follower_id, row, problem)
        return shown if problem is None else (shown, 422)
    with db.writing(here.rt.engine) as session:
        _alive(session, here, follower_id)
        erasure.forget(session, here.account.id, follower_id, here.rt.secret_key, here.now)
        here.audit(session, "follower.erase", timeline.thing(follower_id))
    return done(_("已删除 1 个人的资料，统计数字不变。"), "followers_list")


@page("/followers/<int:follower_id>/export", "followers.export", methods=("POST",))
def follower_export(here: Here, follower_id: int) -> Response:
    """Everything kept about one person, to give to that person."""
    with db.writing(here.rt.engine) as session:
        _alive(session, here, follower_id)
        whole = here.may("followers.open_id")
        data = person.file(session, here.account.id, follower_id, whole_ids=whole)
        here.audit(session, "follower.export", timeline.thing(follower_id))
    name = f"{here.account.slug}-{follower_id}.zip"
    return Response(data, mimetype="application/zip", headers=attachment(name))


def _ask_erase(here: Here, follower_id: int, row: Any, problem: str | None) -> str:
    what = [
        _("将永久删除 1 个人（%(who)s）的资料，不能恢复：", who=here.open_id(row.open_id)),
        _("OpenID、备注、字段、标签、发来和收到的每一条消息、图片和语音。"),
        _("统计数字不变；本月群发名额和退订以加密的标记保留，重新关注也不会多收一条。"),
    ]
    if row.subscribed:
        what.append(_("此人还在关注：下一次同步或互动后，会作为没有任何资料的新粉丝出现。"))
    return confirm(
        _("删除个人资料"),
        what,
        action=url_for(".follower_erase", follower_id=follower_id),
        button=_("永久删除"),
        back=url_for(".follower", follower_id=follower_id),
        typed=ERASE,
        problem=problem,
    )


def _drawn(here: Here, follower_id: int, *, errors: Any = None, given: Any = None) -> str:
    with db.reading(here.rt.engine) as session:
        found = _known(session, here, follower_id)
        scenes = scene_names(session, here.account.id)
        shown = None
        push_id = whole(request.args.get("push", ""))
        if push_id is not None:
            shown = timeline.push(session, here.account.id, follower_id, push_id)
        return render_template(
            "followers/follower.html",
            found=found,
            row=found.row,
            follower_id=follower_id,
            tags=[tag.name for tag in tag_families.every(session, here.account.id)][:CHOICES],
            source=lambda key: follower_words.source(key, scenes),
            origin=lambda text: follower_words.origin(text, scenes),
            opened_by=follower_words.OPENED_BY,
            remaining=lambda end: _remaining(here, end),
            asked_push="push" in request.args,
            cause=_entry(here, shown, scenes) if shown is not None else None,
            errors=errors or {},
            remark=given.get("remark", "") if given is not None else found.row.remark,
            fields=_typed(given) if given is not None else list(found.row.fields.items()),
            tag_key=lambda tag: timeline.key_of_tag(tag.added_at, tag.id),
            **_story(session, here, follower_id, scenes),
        )


def _typed(given: Any) -> list[tuple[str, str]]:
    names, values = given.getlist("field"), given.getlist("value")
    return [(name, value) for name, value in zip(names, values, strict=False) if name.strip()]


def _story(
    session: Session, here: Here, follower_id: int, scenes: dict[str, str]
) -> dict[str, Any]:
    after = request.args.get("after", "")[:200]
    found = timeline.page(session, here.account.id, follower_id, after=after or None)
    return {
        "entries": [_entry(here, one, scenes) for one in found.entries],
        "more": found.after,
    }


def _entry(here: Here, one: timeline.Entry, scenes: dict[str, str]) -> follower_words.Told:
    """One entry in words; what was said only for those who may read conversations."""
    seen = one if here.may("messages.read") else timeline.wordless(one)
    return follower_words.entry(seen, scenes)


def _remaining(here: Here, end: Any) -> str:
    minutes = max(int((end - here.now).total_seconds()) // 60, 0)
    if minutes < 1:
        return str(_("不到 1 分钟"))
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return str(_("%(minutes)s 分钟", minutes=minutes))
    return str(_("%(hours)s 小时 %(minutes)s 分", hours=hours, minutes=minutes))


def _known(session: Session, here: Here, follower_id: int) -> Profile:
    found = person.profile(session, here.account.id, follower_id, here.now)
    return found if found is not None else missing()


def _alive(session: Session, here: Here, follower_id: int) -> Profile:
    """The same of somebody who was not erased: nothing can be changed about nobody."""
    found = _known(session, here, follower_id)
    return found if found.row.erased_at is None else missing()
