"""Addresses without a token: ``openapi.json``, and the documentation drawn from it: no JavaScript, no other host."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, render_template
from werkzeug.wrappers import Response

from bot.api import door
from bot.api.document import document
from bot.api.frame import PREFIX
from bot.api.problems import KINDS

blueprint = Blueprint("api", __name__, template_folder="templates")
STYLE = Path(__file__).parent / "static" / "docs.css"
POLICY = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
LIMITS = {
    "minLength": "≥",
    "minimum": "≥",
    "minItems": "≥",
    "maxLength": "≤",
    "maximum": "≤",
    "maxItems": "≤",
}
HUGE = 2**53  # a bound that says no more than that a number fits
Json = Mapping[str, Any]


def install(app: Flask) -> None:
    """Give the app the templates, and the door the addresses."""
    app.register_blueprint(blueprint)
    door.PUBLIC.update(
        {
            f"{PREFIX}/openapi.json": _document,
            f"{PREFIX}/docs": _docs,
            f"{PREFIX}/docs.css": _style,
        }
    )


def _document(_language: str) -> Response:
    text = json.dumps(document(), ensure_ascii=False, separators=(",", ":"))
    return Response(text, content_type="application/json")


def _docs(language: str) -> Response:
    whole = document()
    page = render_template(
        "api/docs.html",
        language=language,
        document=whole,
        areas=_areas(whole),
        kinds=KINDS,
        fields=_fields,
        type_of=_type,
        half=lambda label: _half(label, language),
        words=_words,
    )
    return Response(
        page, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": POLICY}
    )


def _style(_language: str) -> Response:
    return Response(STYLE.read_text(encoding="utf-8"), content_type="text/css; charset=utf-8")


def _areas(whole: Json) -> list[dict[str, Any]]:
    """Operations by area, in the order of the table."""
    areas: dict[str, dict[str, Any]] = {
        tag["name"]: {**tag, "operations": []} for tag in whole["tags"]
    }
    for path, methods in whole["paths"].items():
        for method, operation in methods.items():
            told = {"method": method.upper(), "path": path, **operation}
            areas[operation["tags"][0]]["operations"].append(told)
    return list(areas.values())


def _half(label: str, language: str) -> str:
    """The half of ``English · 中文`` that is asked for."""
    english, _, chinese = label.partition(" · ")
    return chinese if language == "zh" and chinese else english


def _words(text: str) -> list[tuple[str, bool]]:
    """A sentence in pieces: (text, whether it is code)."""
    return [(piece, number % 2 == 1) for number, piece in enumerate(text.split("`"))]


def _fields(schema: Json) -> list[dict[str, Any]]:
    """The properties of a schema, as rows of a table."""
    needed = set(schema.get("required", ()))
    return [
        {
            "name": name,
            "type": _type(one),
            "required": name in needed,
            "about": one.get("description", ""),
        }
        for name, one in schema.get("properties", {}).items()
    ]


def _type(schema: Json) -> list[tuple[str, str]]:
    """A schema in a few words: (text, name of the component it links to or nothing)."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return [(name, name)]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            parts: list[tuple[str, str]] = []
            for number, one in enumerate(schema[key]):
                parts += ([(" | ", "")] if number else []) + _type(one)
            return parts
    if schema.get("type") == "array":
        return [("[ ", ""), *_type(schema.get("items", {})), (" …]", "")]
    if "enum" in schema:
        return [(" | ".join(json.dumps(one, ensure_ascii=False) for one in schema["enum"]), "")]
    if "const" in schema:
        return [(json.dumps(schema["const"], ensure_ascii=False), "")]
    word = schema.get("format") or schema.get("type", "any")
    limits = " ".join(
        f"{sign}{schema[key]}"
        for key, sign in LIMITS.items()
        if key in schema and schema[key] < HUGE
    )
    return [(f"{word} {limits}".strip(), "")]
