"""The platform as a Flask application: translation between HTTP and calls, nothing else."""

import json
from typing import Any

import flask

# imported for what they register
from bot.sandbox import (  # noqa: F401  # noqa: F401
    api_drafts,
    api_mass,
    api_media,
    api_menu,
    api_messages,
    api_notices,
    api_qr,
    api_tags,
    api_token,
    api_users,
    control,
    gate,
    oauth,
)
from bot.sandbox.calls import Call, File, Json, Raw
from bot.sandbox.platform import Platform

MAX_BODY = 24 << 20  # a video of 10 MB in multipart, with room
IN_PROCESS = "qunfen.in_process"  # set by the adapter: hang-ups are told by a header


def _call(request: flask.Request) -> Call:
    files = {
        name: File(each.filename or "", each.stream.read()) for name, each in request.files.items()
    }
    return Call(
        path=request.path,
        method=request.method,
        args=request.args.to_dict(),
        body=b"" if files else request.get_data(),
        form=request.form.to_dict() if files else {},
        files=files,
        cookies=request.cookies,
        account=None,
        answer_lost=False,
    )


def _json(answer: Json, status: int = 200) -> flask.Response:
    return flask.Response(
        json.dumps(answer, ensure_ascii=False),
        status,
        content_type="application/json; charset=utf-8",
    )


def _hang_up() -> None:
    """Cut the connection under a threaded werkzeug server, so that the caller gets no answer at all."""
    socket = flask.request.environ.get("werkzeug.socket")
    if socket is not None:
        socket.shutdown(2)


def _response(answer: Json | Raw) -> flask.Response:
    if not isinstance(answer, Raw):
        return _json(answer)
    response = flask.Response(answer.body, answer.status, content_type=answer.content_type)
    for name, value in answer.headers:
        if name == gate.HUNG_UP and not flask.request.environ.get(IN_PROCESS):
            _hang_up()
        response.headers.add(name, value)
    return response


def create_app(platform: Platform) -> flask.Flask:
    """The WSGI application of a platform: its API at the real paths, its controls under /sandbox/."""
    app = flask.Flask("qunfen-sandbox", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.json.sort_keys = False  # type: ignore[attr-defined]

    @app.route("/sandbox/<path:name>", methods=["GET", "POST"])
    def controls(name: str) -> flask.Response:
        remote = flask.request.remote_addr
        if remote not in ("127.0.0.1", "::1", None):
            return _json({"error": "only from this machine"}, 403)
        words: dict[str, Any] = flask.request.args.to_dict()
        if flask.request.method == "POST" and flask.request.get_data():
            given = flask.request.get_json(force=True, silent=True)
            if not isinstance(given, dict):
                return _json({"error": "the body is not a JSON object"}, 400)
            words |= given
        status, answer = control.handle(platform, name, flask.request.method, words)
        return _json(answer, status)

    @app.route("/<path:name>", methods=["GET", "POST"])
    def calls(name: str) -> flask.Response:
        return _response(gate.handle(platform, _call(flask.request)))

    @app.get("/")
    def home() -> flask.Response:
        return _json({"platform": "sandbox", "now": platform.moment().isoformat()})

    return app
