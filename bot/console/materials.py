"""素材库: files handed in, how they look, where they are used, and putting them away."""

from typing import Any

from flask import Response, make_response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as Answer

from bot import db, materials, media
from bot.console.access import Here, confirm, done, missing, page
from bot.console.lists import Column, Filter, Listing, asked, csv_file
from bot.console.telling import beside, told
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.materials import Material, Use
from bot.wechat.media import LIMITS

KINDS = {"image": _l("图片"), "voice": _l("语音"), "video": _l("视频"), "thumb": _l("封面缩略图")}
STATES = {"ready": _l("可以使用"), "waiting": _l("等待上传"), "refused": _l("平台拒绝")}
USES = {
    "campaign": _l("营销活动"),
    "rule": _l("自动回复"),
    "scene": _l("渠道二维码"),
    "article": _l("文章"),
}
COLUMNS = (
    Column("name", _l("名称"), sort=True),
    Column("kind", _l("类型"), sort=True),
    Column("size", _l("大小"), sort=True, number=True),
    Column("state", _l("状态"), sort=True),
    Column("kept", _l("保存期限")),
    Column("created_at", _l("加入时间"), sort=True),
    Column("created_by", _l("加入人"), shown=False),
)
FILTERS = (
    Filter("kind", _l("全部类型"), tuple(KINDS.items())),
    Filter("state", _l("全部状态"), tuple(STATES.items())),
    Filter("archived", _l("使用中"), (("yes", _l("已归档")),)),
)
PAGE = 24
LARGEST = max(LIMITS.values())
TYPES = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG": "image/png",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
}


@page("/materials", "materials.read")
def materials_list(here: Here) -> str | Response:
    """The library: pictures as they look, the rest by name."""
    return _list(here, {})


@page("/materials", "materials.write", methods=("POST",))
def material_upload(here: Here) -> Answer | tuple[str, int]:
    """Keep the files that were handed in; all of them, or none when one cannot be."""
    uploads = [one for one in request.files.getlist("files") if one.filename]
    kind = request.form.get("kind", "")
    temporary = bool(request.form.get("temporary"))
    try:
        if not uploads:
            raise Invalid("files", "choose a file")
        with db.writing(here.rt.engine) as session:
            for upload in uploads:
                data = upload.stream.read(LARGEST + 1)
                made = materials.hand_in(
                    session, here.account.id, kind, upload.filename or "", data, here.now,
                    by=here.operator.name, temporary=temporary,
                )  # fmt: skip
                after = {"name": upload.filename, "kind": kind, "bytes": len(data)}
                here.audit(session, "material.create", f"material:{made}", after=after)
    except (Invalid, Refused) as problem:
        wrong = problem if isinstance(problem, Invalid) else Invalid("files", str(problem))
        shown = _list(here, dict(beside(wrong)))
        return shown if isinstance(shown, Response) else (shown, 422)
    return done(_("已保存，几秒后上传到平台"), "materials_list", slug=here.account.slug)


@page("/materials/<int:material_id>", "materials.read")
def material(here: Here, material_id: int) -> str:
    """One material: how it looks, and where it is used."""
    with db.reading(here.rt.engine) as session:
        found = _found(session, here, material_id)
        uses = materials.used_by(session, here.account.id, found.kind, found.name)
    return render_template(
        "materials/material.html", one=found, uses=uses, kinds=KINDS, states=STATES, use_words=USES, told=told
    )  # fmt: skip


@page("/materials/file/<path:name>", "materials.read")
def material_file(here: Here, name: str) -> Answer:
    """The bytes of a stored file. Only pictures are shown in place."""
    with db.reading(here.rt.engine) as session:
        data = media.bytes_of(session, here.account.id, name)
    if data is None:
        missing()
    kind = next((value for begin, value in TYPES.items() if data.startswith(begin)), "")
    answer = make_response(data)
    answer.headers["Content-Type"] = kind or "application/octet-stream"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Cache-Control"] = "private, max-age=300"
    if not kind:
        answer.headers["Content-Disposition"] = "attachment"
    return answer


@page("/materials/<int:material_id>/archive", "materials.write")
def material_ask_archive(here: Here, material_id: int) -> str:
    """What putting it away means, and what uses it."""
    with db.reading(here.rt.engine) as session:
        found = _found(session, here, material_id)
        uses = materials.used_by(session, here.account.id, found.kind, found.name)
    what = [_("归档后不再出现在选择列表里，已经用到它的地方照常发送，以后可以恢复。")]
    if uses:
        what.append(_("有 %(count)s 处在用：%(where)s", count=len(uses), where=said(uses)))
    return confirm(
        _("归档“%(name)s”", name=found.name),
        what,
        action=url_for("console.material_archive", material_id=material_id),
        button=_("归档"),
        back=url_for("console.material", material_id=material_id),
    )


@page("/materials/<int:material_id>/archive", "materials.write", methods=("POST",))
def material_archive(here: Here, material_id: int) -> Answer:
    """Put it away."""
    with db.writing(here.rt.engine) as session:
        before = _found(session, here, material_id)
        materials.archive(session, here.account.id, material_id, here.now)
        here.audit(
            session, "material.archive", f"material:{material_id}", before={"name": before.name}
        )
    return done(_("已归档"), "materials_list", slug=here.account.slug)


@page("/materials/<int:material_id>/restore", "materials.write", methods=("POST",))
def material_restore(here: Here, material_id: int) -> Answer:
    """Offer it again."""
    with db.writing(here.rt.engine) as session:
        _found(session, here, material_id)
        materials.restore(session, here.account.id, material_id)
        here.audit(session, "material.restore", f"material:{material_id}")
    return done(_("已恢复"), "material", material_id=material_id, slug=here.account.slug)


@page("/materials/<int:material_id>/retry", "materials.write", methods=("POST",))
def material_retry(here: Here, material_id: int) -> Answer:
    """Try a refused upload once more."""
    with db.writing(here.rt.engine) as session:
        _found(session, here, material_id)
        materials.retry(session, here.account.id, material_id)
        here.audit(session, "material.retry", f"material:{material_id}")
    return done(_("几秒后再上传一次"), "material", material_id=material_id, slug=here.account.slug)


def said(uses: list[Use]) -> str:
    """Uses in a line."""
    return str(_("、")).join(f"{USES[use.thing]}“{use.name}”" for use in uses[:10])


def _list(here: Here, problems: dict[str, str]) -> str | Response:
    wanted = asked(request.args, COLUMNS, FILTERS, sort="-created_at")
    with db.reading(here.rt.engine) as session:
        every = materials.every(session, here.account.id, archived=wanted.has("archived") == "yes")
    rows = [one for one in every if _fits(one, wanted.q.casefold(), wanted)]
    if wanted.sort != "created_at":
        rows.sort(key=lambda one: getattr(one, wanted.sort), reverse=wanted.down)
    elif not wanted.down:
        rows.reverse()
    if wanted.format == "csv":
        header = [column.label for column in COLUMNS]
        return csv_file("materials", header, (_line(one) for one in rows))
    begin = (wanted.page - 1) * PAGE
    more = wanted.page + 1 if len(rows) > begin + PAGE else None
    listing = Listing(
        wanted, COLUMNS, FILTERS, rows[begin : begin + PAGE], len(rows), more, unit=_("个素材")
    )
    return render_template(
        "materials/list.html",
        listing=listing,
        any=bool(every),
        kinds=KINDS,
        states=STATES,
        limits=LIMITS,
        problems=problems,
        told=told,
    )


def _fits(one: Material, q: str, wanted: Any) -> bool:
    return (
        q in one.name.casefold()
        and wanted.has("kind") in ("", one.kind)
        and wanted.has("state") in ("", one.state)
    )


def _line(one: Material) -> list[Any]:
    kept = one.expires_at if one.expires_at is not None else _("永久")
    return [
        one.name,
        KINDS[one.kind],
        one.size,
        STATES[one.state],
        kept,
        one.created_at,
        one.created_by,
    ]


def _found(session: Session, here: Here, material_id: int) -> Material:
    found = materials.get(session, here.account.id, material_id)
    if found is None:
        missing()
    return found
