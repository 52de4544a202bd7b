"""The blueprint every console area puts its pages on, and the static files beside it."""

from functools import cache
from pathlib import Path

from flask import Blueprint, Response, abort, request, send_from_directory, url_for
from werkzeug.security import safe_join

STATIC = Path(__file__).parent / "static"
CACHE_SECONDS = 365 * 86400  # addresses carry the file's age

blueprint = Blueprint("console", __name__, url_prefix="/console", template_folder="templates")


@blueprint.get("/static/<path:filename>")
def static(filename: str) -> Response:
    """A static file, compressed where the build left a compressed one beside it."""
    if safe_join(str(STATIC), filename) is None:
        abort(404)
    packed = f"{filename}.gz"
    if "gzip" in request.headers.get("Accept-Encoding", "") and (STATIC / packed).is_file():
        answer = send_from_directory(
            STATIC, packed, mimetype=_type(filename), max_age=CACHE_SECONDS
        )
        answer.headers["Content-Encoding"] = "gzip"
    else:
        answer = send_from_directory(
            STATIC, filename, mimetype=_type(filename), max_age=CACHE_SECONDS
        )
    answer.headers["Vary"] = "Accept-Encoding"
    return answer


def static_address(filename: str) -> str:
    """The address of a static file, new whenever the file is."""
    return url_for("console.static", filename=filename, v=_age(filename))


@cache
def _age(filename: str) -> str:
    path = STATIC / filename
    return f"{int(path.stat().st_mtime):x}" if path.is_file() else "0"


def _type(filename: str) -> str | None:
    # a machine's own table of types may call scripts text/plain, which browsers then refuse
    known = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    return known.get(Path(filename).suffix)
