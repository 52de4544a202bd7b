"""Importing followers' remarks, tags and fields from a file: a dry look first, then a job."""

import secrets

from flask import render_template, request, url_for
from werkzeug.wrappers import Response as Answer

from bot import db, follower_files
from bot.console.access import Here, go, missing, page
from bot.console.telling import beside, told
from bot.errors import Invalid

MARK_BYTES = 8


@page("/followers/import", "followers.export", methods=("GET", "POST"))
def followers_import(here: Here) -> Answer | str | tuple[str, int]:
    """Upload a file; nothing is changed by it yet."""
    if request.method == "GET":
        return render_template("followers/import.html", errors={})
    given = request.files.get("file")
    try:
        if given is None or not given.filename:
            raise Invalid("file", "choose a file")
        data = given.stream.read(follower_files.LARGEST + 1)
        upload = follower_files.read(given.filename, data)
        mark = secrets.token_hex(MARK_BYTES)
        with db.reading(here.rt.engine) as session:
            found = follower_files.look(session, here.account.id, upload)
        with db.writing(here.rt.engine) as session:
            follower_files.keep(
                session, here.account.id, upload, found, mark, here.rt.secret_key, here.now
            )
    except Invalid as problem:
        return render_template("followers/import.html", errors=beside(problem)), 422
    return go(url_for(".followers_import_look", mark=mark))


@page("/followers/import/<mark>", "followers.export", methods=("GET", "POST"))
def followers_import_look(here: Here, mark: str) -> Answer | str:
    """What the file would do; and, confirmed, doing it."""
    with db.reading(here.rt.engine) as session:
        kept = follower_files.kept_look(session, here.account.id, mark, here.now)
    if kept is None:
        missing()
    found, rows = kept
    if request.method == "GET":
        wrong = [(line, told(sentence)) for line, sentence in found.wrong_lines]
        return render_template(
            "followers/import_look.html", found=found, rows=rows, wrong=wrong, mark=mark
        )
    with db.writing(here.rt.engine) as session:
        job_id = follower_files.begin(
            session, here.account.id, mark, by=here.operator.name, now=here.now
        )
        after = {"people": found.known, "columns": list(found.columns), "tags": found.new_tags}
        here.audit(session, "followers.import", "followers", after=after)
    return go(url_for(".progress", job_id=job_id, then=url_for(".followers_list")))
