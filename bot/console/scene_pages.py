"""QR channels 渠道二维码: one code, what it brought by day, and its picture."""

from datetime import timedelta

from flask import Response, render_template, request
from flask_babel import gettext as _

from bot import db, scene_files, scene_reports
from bot.clock import day_of
from bot.console.access import Here, missing, page
from bot.console.lists import attachment, csv_file
from bot.console.scenes import SPANS, STATUS, known_scene, span_of
from bot.console.telling import told
from bot.errors import Refused


@page("/scenes/code/<key>", "scenes.read")
def scene_report(here: Here, key: str) -> str | Response:
    """What one code brought, by day and in total."""
    span = span_of(request.args.get("days", ""))
    last = day_of(here.now)
    with db.reading(here.rt.engine) as session:
        scene = known_scene(session, here, key)
        first = last - timedelta(days=span - 1)
        total, days = scene_reports.one(session, here.account.id, scene, first, last, here.now)
        noticed = scene_reports.warnings(session, here.account.id, here.now, keys=[key])
    if request.args.get("format") == "csv":
        header = [
            _("日期"), _("扫码人数"), _("扫码次数"), _("新关注"), _("再次扫码"), _("取关"),
            _("7 日留存"), _("30 日留存"),
        ]  # fmt: skip
        rows = (
            (
                day.day, day.people, day.follows + day.rescans, day.follows, day.rescans, day.left,
                _kept(day, 7), _kept(day, 30),
            )
            for day in days
        )  # fmt: skip
        return csv_file(f"{key}-{span}", header, rows)
    return render_template(
        "scenes/report.html",
        scene=scene,
        status=scene.status(here.now),
        status_words=STATUS,
        total=total,
        days=days,
        chart=_chart(days),
        span=span,
        spans=SPANS,
        notices=noticed,
        told=told,
    )


@page("/scenes/code/<key>/picture.<form>", "scenes.read")
def scene_download(here: Here, key: str, form: str) -> Response:
    """The picture of one code; ``?show=1`` for a page, else to keep."""
    if form not in scene_files.FORMS:
        missing()
    with db.reading(here.rt.engine) as session:
        scene = known_scene(session, here, key)
        logo = scene_files.logo_of(session, here.account.id)
    try:
        data = scene_files.picture(scene, form, logo)
    except Refused:
        missing()
    (name,) = scene_files.file_names([scene])
    kind = "image/png" if form == "png" else "image/svg+xml"
    shown = {} if request.args.get("show") else attachment(f"{name.rpartition('/')[2]}.{form}")
    return Response(data, mimetype=kind, headers=shown)


def _kept(day: scene_reports.DayFigures, days: int) -> str:
    found = day.kept.get(days)
    return "" if found is None or found.rate is None else f"{found.rate:.4f}"


def _chart(days: list[scene_reports.DayFigures]) -> dict[str, list[object]]:
    """The oldest first, as the script draws it."""
    listed = list(reversed(days))
    return {
        "days": [f"{day.day:%m-%d}" for day in listed],
        "follows": [day.follows for day in listed],
        "rescans": [day.rescans for day in listed],
        "left": [day.left for day in listed],
    }
