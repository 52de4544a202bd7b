"""QR channels 渠道二维码: making one, changing one, making many from a list, and the logo in their middle."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flask import Response, render_template, request
from flask_babel import gettext as _
from werkzeug.wrappers import Response as Answer

from bot import db, scene_files, scene_lists, scenes
from bot.console import forms
from bot.console.access import Here, done, missing, page
from bot.console.lists import csv_file
from bot.console.scenes import known_scene, tag_choices, values_of
from bot.console.telling import beside, told
from bot.content import Content
from bot.errors import Invalid, Refused
from bot.params import Params
from bot.scene_lists import Checked, Row
from bot.scenes import Scene
from bot.wechat.qrcodes import MAX_SECONDS

LONGEST_LIST = 300_000  # characters of a pasted list
DAY = 86_400


class SceneReply(Params):
    reply: Content | None = None


@page("/scenes/new", "scenes.write", methods=("GET", "POST"))
def scene_new(here: Here) -> Answer | str | tuple[str, int]:
    """One new code."""
    return _edit(here, None)


@page("/scenes/code/<key>/edit", "scenes.write", methods=("GET", "POST"))
def scene_edit(here: Here, key: str) -> Answer | str | tuple[str, int]:
    """Name, group, tags, reply and cost of a code. Its key stands in the printed picture and stays."""
    with db.reading(here.rt.engine) as session:
        return _edit(here, known_scene(session, here, key))


@page("/scenes/code/<key>/make", "scenes.write", methods=("POST",))
def scene_make(here: Here, key: str) -> Answer:
    """Make a code now: again after a refusal, or anew when it ended."""
    with db.reading(here.rt.engine) as session:
        known_scene(session, here, key)
    made = scenes.make(
        here.rt.engine, here.rt.wechat(here.account.id), here.account.id, key, here.now
    )
    if made.error:
        raise Refused(made.error)
    with db.writing(here.rt.engine) as session:
        here.audit(session, "scene.make", f"scene:{key}")
    return done(_("二维码已生成"), "scene_report", key=key)


@page("/scenes/batch", "scenes.write", methods=("GET", "POST"))
def scene_batch(here: Here) -> Answer | str | tuple[str, int]:
    """Many codes from a pasted list or a file; every problem is told with its line, and nothing half done."""
    form = request.form
    given = {name: form.get(name, "").strip() for name in ("prefix", "group")}
    given["list"] = form.get("list", "")
    tags = form.getlist("tags")
    errors: Mapping[str, str] = {}
    checked = Checked()
    rows: list[Row] = []
    if request.method == "POST":
        try:
            rows = _rows_given(given["list"])
            with db.writing(here.rt.engine) as session:
                checked = scene_lists.check(
                    session,
                    here.account.id,
                    rows,
                    prefix=given["prefix"],
                    group=given["group"],
                    tags=tags,
                )
                if not checked.problems and form.get("step") == "make":
                    job_id = scene_lists.create(session, here.account.id, checked.new, here.now)
                    here.audit(
                        session,
                        "scene.batch",
                        f"{len(checked.new)} scenes",
                        after={"keys": [one.key for one in checked.new]},
                    )
                    return _made(len(checked.new), job_id)
        except Invalid as problem:
            errors = beside(problem)
    shown = render_template(
        "scenes/batch.html",
        given=given,
        chosen=tags,
        tags=_tags(here),
        errors=errors,
        checked=checked,
        columns=scene_lists.COLUMNS,
        problems=[(one.line, one.field, told(one.message)) for one in checked.problems],
        most=scene_lists.MOST,
        text=_as_list(rows) if request.files.get("file") else given["list"],
    )
    return (shown, 422) if errors or checked.problems else shown


@page("/scenes/batch.csv", "scenes.write")
def scene_batch_example(here: Here) -> Response:
    """A list to fill in."""
    rows = [
        (_("人民广场店"), "store_01", _("门店"), "", _("欢迎来到人民广场店"), 200),
        (_("徐家汇店"), "store_02", _("门店"), "", "", ""),
    ]
    return csv_file(_("二维码清单"), _headings(), rows)


@page("/scenes/making/<int:job_id>", "scenes.write")
def scene_making(here: Here, job_id: int) -> str:
    """The bar of the job that makes codes on the platform."""
    return render_template("scenes/making.html", job_id=job_id)


@page("/scenes/make", "scenes.write", methods=("POST",))
def scenes_make(here: Here) -> Answer:
    """Make whatever was never made."""
    with db.writing(here.rt.engine) as session:
        count = scenes.unmade(session, here.account.id)
        job_id = scene_lists.make_soon(session, here.account.id, here.now)
        here.audit(session, "scene.make", f"{count} scenes")
    return _made(count, job_id)


@page("/scenes/logo", "scenes.write", methods=("GET", "POST"))
def scene_logo(here: Here) -> Answer | str | tuple[str, int]:
    """The picture in the middle of every code."""
    errors: Mapping[str, str] = {}
    if request.method == "POST":
        with db.writing(here.rt.engine) as session:
            if request.form.get("remove"):
                scene_files.remove_logo(session, here.account.id)
                here.audit(session, "scene.logo", "logo", after={"removed": True})
                return done(_("已去掉 Logo"), "scene_logo")
            data = _uploaded("logo", scene_files.LOGO_BYTES)
            try:
                scene_files.save_logo(session, here.account.id, data)
                here.audit(session, "scene.logo", "logo", after={"bytes": len(data)})
                return done(_("Logo 已保存，之后下载的二维码都带上它"), "scene_logo")
            except Invalid as problem:
                errors = beside(problem)
    with db.reading(here.rt.engine) as session:
        logo = scene_files.logo_of(session, here.account.id)
    shown = render_template("scenes/logo.html", logo=logo, errors=errors)
    return (shown, 422) if errors else shown


@page("/scenes/logo.img", "scenes.read")
def scene_logo_picture(here: Here) -> Response:
    """The logo itself."""
    with db.reading(here.rt.engine) as session:
        logo = scene_files.logo_of(session, here.account.id)
    if logo is None:
        missing()
    return Response(logo.data, mimetype=logo.type)


def _edit(here: Here, old: Scene | None) -> Answer | str | tuple[str, int]:
    given = _given(old)
    errors: Mapping[str, str] = {}
    problems: list[tuple[str, str]] = []
    if request.method == "POST":
        given = _typed(old)
        try:
            return _saved(here, old, given)
        except Refused as problem:
            problems = [("", told(str(problem)))]
        except Invalid as problem:
            errors = beside(problem)
            problems = [(problem.field, told(problem.message))]
    with db.reading(here.rt.engine) as session:
        groups = scenes.groups(session, here.account.id)
        tags = tag_choices(session, here)
    of_reply = [one for one in problems if one[0].partition(".")[0] == "reply"]
    shown = render_template(
        "scenes/edit.html",
        old=old,
        given=given,
        errors=errors,
        problem=next((text for field, text in problems if not field), ""),
        fields=forms.draw(SceneReply, {"reply": given["reply"]}, of_reply),
        groups=groups,
        tags=tags,
    )
    return (shown, 422 if errors else 409) if problems else shown


def _saved(here: Here, old: Scene | None, given: Mapping[str, Any]) -> Answer:
    key = old.key if old else given["key"]
    with db.writing(here.rt.engine) as session:
        if old is None and scenes.exists(session, here.account.id, key):
            raise Invalid("key", f"the key '{key}' is taken already")
        known = dict(tag_choices(session, here))
        unknown = [name for name in given["tags"] if name not in known]
        if unknown:
            raise Invalid("tags", f"there is no tag '{unknown[0][:60]}'")
        scenes.save(
            session,
            here.account.id,
            key=key,
            name=given["name"],
            group=given["group"],
            permanent=given["permanent"],
            expire_seconds=None if given["permanent"] else _seconds(given["days"]),
            tags=given["tags"],
            reply=given["reply"],
            cost=_cost(given["cost"]),
            now=here.now,
        )
        new = scenes.get(session, here.account.id, key)
        before = values_of(old) if old else None
        here.audit(session, "scene.save", f"scene:{key}", before=before, after=values_of(new))
        if new.url is None:
            scene_lists.make_soon(session, here.account.id, here.now)
    return done(_("已保存二维码「%(name)s」", name=given["name"]), "scene_report", key=key)


def _given(old: Scene | None) -> dict[str, Any]:
    if old is None:
        empty = {"key": "", "name": "", "group": request.args.get("group", ""), "days": 30}
        return empty | {"permanent": True, "tags": [], "reply": None, "cost": ""}
    found = asdict(old)
    days = (old.expire_seconds or MAX_SECONDS) / DAY
    cost = "" if old.cost is None else f"{old.cost:g}"
    return found | {"days": f"{days:g}", "cost": cost, "tags": list(old.tags)}


def _typed(old: Scene | None) -> dict[str, Any]:
    form = request.form
    return {
        "key": old.key if old else form.get("key", "").strip(),
        "name": form.get("name", "").strip(),
        "group": form.get("group", "").strip(),
        "permanent": form.get("permanent", "1") == "1",
        "days": form.get("days", "").strip(),
        "tags": form.getlist("tags"),
        "reply": forms.read(SceneReply, form).get("reply"),
        "cost": form.get("cost", "").strip(),
    }


def _seconds(text: str) -> int:
    try:
        seconds = round(float(text or 30) * DAY)
    except (ValueError, OverflowError):
        raise Invalid("expire_seconds", "must be a number of days from 1 to 30") from None
    if not DAY <= seconds <= MAX_SECONDS:
        raise Invalid("expire_seconds", "must be a number of days from 1 to 30")
    return seconds


def _cost(text: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise Invalid("cost", "must be a number from 0 up") from None


def _uploaded(name: str, most: int) -> bytes:
    """What was uploaded, one byte more than allowed at most; empty without a file."""
    upload = request.files.get(name)
    if upload is None:
        return b""
    with upload.stream as file:
        return file.read(most + 1)


def _rows_given(text: str) -> list[Row]:
    upload = request.files.get("file")
    if upload is not None and upload.filename:
        return scene_lists.read_file(upload.filename, _uploaded("file", scene_lists.MOST_BYTES))
    if len(text) > LONGEST_LIST:
        raise Invalid("list", "the list is too long")
    return scene_lists.read_text(text)


def _headings() -> list[str]:
    """The columns of a list, as its reader knows them too."""
    return [_("名称"), _("场景值"), _("分组"), _("标签"), _("回复"), _("成本")]


def _as_list(rows: Sequence[Row]) -> str:
    """What was uploaded as a list to go on with: a browser does not send a file twice."""
    if not rows:
        return ""
    lines = ["\t".join(_headings())]
    for row in rows:
        cells = (row.values.get(column, "") for column in scene_lists.COLUMNS)
        lines.append("\t".join(scene_lists.quoted(cell) for cell in cells))
    return "\n".join(lines)


def _made(count: int, job_id: int | None) -> Answer:
    message = _("正在平台上生成 %(count)s 个二维码", count=count)
    if job_id is None:
        return done(message, "scenes_list")
    return done(message, "scene_making", job_id=job_id)


def _tags(here: Here) -> list[tuple[str, str]]:
    with db.reading(here.rt.engine) as session:
        return tag_choices(session, here)
