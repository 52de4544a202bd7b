"""The OpenAPI 3.1 document, made from the table of endpoints, the models in its signatures, and the registry.

Every condition and action member's ``Params`` is a component of its own, so a plug-in's appears by itself.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from bot.api import problems
from bot.api.frame import AREAS, ENDPOINTS, PREFIX, Endpoint
from bot.api.problems import KINDS, MEDIA_TYPE
from bot.content import Content
from bot.registry import members
from bot.rights import RIGHTS
from rules.model import ACTIONS, CONDITIONS
from rules.rule import Active

REF = "#/components/schemas/{model}"
VERSION = "1"
JSON = "application/json"
Json = dict[str, Any]
# the areas, as the page lists them; one that is not here comes after them
ORDER = (
    "me",
    "account",
    "rules",
    "trials",
    "rulebooks",
    "unmatched",
    "menus",
    "scenes",
    "followers",
    "tags",
    "segments",
    "messages",
    "campaigns",
    "campaign_checks",
    "plans",
    "playbooks",
    "calendar",
    "ledger",
    "allocation",
    "materials",
    "webhooks",
    "outgoing",
    "quotas",
    "audit",
)
ANYWHERE = ("unauthorized", "not-acceptable", "invalid", "too-many", "unavailable")
References = Mapping[str, Json]
WITH_BODY = ("malformed", "too-large", "media-type")
TOLD = """\
Every request carries `Authorization: Bearer qf_…`. Lists are read by `limit` and `cursor`. A POST may carry an
`Idempotency-Key`: repeated, it is answered the same and does nothing twice. Errors are problem+json (RFC 9457),
in Chinese or English by `Accept-Language`."""


def document() -> Json:
    """The whole document. The same for everybody: it holds nothing of this installation but its plug-ins."""
    return _document(tuple(members(CONDITIONS)), tuple(members(ACTIONS)))


@cache
def _document(_conditions: tuple[str, ...], _actions: tuple[str, ...]) -> Json:
    schemas, references = _schemas()
    paths: dict[str, Json] = {}
    for endpoint in ENDPOINTS:
        path = re.sub(r"<(\w+)>", r"{\1}", PREFIX + endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Qunfen 群分", "version": VERSION, "description": TOLD},
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "tags": [
            {"name": name, "description": AREAS[name]}
            for name in dict.fromkeys((*ORDER, *AREAS))
            if name in AREAS
        ],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of the console, or of `qunfen token create`. Scopes: "
                    + ", ".join(f"`{right}` {label['en']}" for right, label in RIGHTS.items()),
                }
            },
            "schemas": {"Problem": problems.SCHEMA} | schemas,
            "responses": {name: _problem(name) for name in KINDS},
        },
    }


def _schemas() -> tuple[dict[str, Json], References]:
    asked: set[type[BaseModel]] = {one.body for one in ENDPOINTS if one.body is not None}
    told = {one.answer for one in ENDPOINTS if not one.files}
    models: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = []
    asked |= {Active, Content}
    models += [(model, "validation") for model in sorted(asked, key=_name)]
    models += [(model, "serialization") for model in sorted(told, key=_name)]
    references, whole = models_json_schema(models, ref_template=REF)
    schemas: dict[str, Json] = dict(whole.get("$defs", {}))
    schemas |= _members(CONDITIONS, "Condition") | _members(ACTIONS, "Action") | _rule()
    asked_for = {_key(*key): dict(value) for key, value in references.items()}
    return _named(_linked(schemas)), _named(asked_for)


def _named(found: dict[str, Json]) -> dict[str, Json]:
    """``Listing_TagTold_``, as pydantic calls it, is ``ListOfTagTold``."""
    text = re.sub(r'\bListing_(\w+?)_(?=")', r"ListOf\1", json.dumps(found, ensure_ascii=False))
    named: dict[str, Json] = json.loads(text)
    return named


def _name(model: type[BaseModel]) -> str:
    return model.__name__


def _key(model: Any, mode: str) -> str:
    return f"{model.__name__}:{mode}"


def _linked(schema: Any) -> Any:
    """References to components that are made here take the place of their marks."""
    if isinstance(schema, list):
        return [_linked(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "x-component" in schema:
        rest = {key: one for key, one in schema.items() if key not in ("x-component", "title")}
        return {"$ref": REF.format(model=schema["x-component"])} | rest
    return {key: _linked(one) for key, one in schema.items()}


def _members(folder: str, kind: str) -> dict[str, Json]:
    """A component a member, and one that is any of them: ``{"text_is": {...}}``."""
    found: dict[str, Json] = {}
    for name, member in sorted(members(folder).items()):
        schema = member.Params.model_json_schema(ref_template=REF, mode="validation")
        found |= schema.pop("$defs", {})
        label = member.LABEL
        found[f"{kind}_{name}"] = schema | {"title": f"{name} {label['zh']} {label['en']}"}
    found[kind] = {
        "description": f"One {kind.lower()}: its name, and its parameters.",
        "oneOf": [
            {
                "type": "object",
                "required": [name],
                "properties": {name: {"$ref": f"#/components/schemas/{kind}_{name}"}},
                "additionalProperties": False,
            }
            for name in sorted(members(folder))
        ],
    }
    return found


def _rule() -> dict[str, Json]:
    def listed(kind: str, least: int = 0) -> Json:
        items = {"$ref": f"#/components/schemas/{kind}"}
        return {"type": "array", "items": items, "maxItems": 50, "minItems": least}

    rule = {
        "type": "object",
        "description": "One rule: all of `when` must hold, then `then` is done.",
        "required": ["name", "then"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 60},
            "when": listed("Condition"),
            "then": listed("Action", 1),
            "active": {"anyOf": [{"$ref": "#/components/schemas/Active"}, {"type": "null"}]},
            "continue": {"type": "boolean", "default": False},
            "enabled": {"type": "boolean", "default": True},
        },
        "additionalProperties": False,
    }
    fallback = {
        "description": "What is done when no rule answers: actions by name.",
        "type": "object",
        "properties": {
            name: {"$ref": f"#/components/schemas/Action_{name}"}
            for name in sorted(members(ACTIONS))
        },
        "additionalProperties": False,
    }
    return {"Rule": rule, "Fallback": fallback}


def _operation(endpoint: Endpoint, references: References) -> Json:
    told: Json = {
        "operationId": endpoint.name,
        "tags": [endpoint.area],
        "summary": endpoint.summary,
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint, references),
    }
    described = endpoint.description
    if endpoint.right is not None:
        described = f"Scope `{endpoint.right}`. {described}".strip()
        told["x-scope"] = endpoint.right
    if described:
        told["description"] = described
    if endpoint.body is not None:
        schema = references[_key(endpoint.body, "validation")]
        told["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    return told


def _parameters(endpoint: Endpoint) -> list[Json]:
    found = []
    if endpoint.of_account:
        schema = {"type": "string", "minLength": 1, "pattern": "^[a-z0-9_-]+$"}
        found.append({"name": "slug", "in": "path", "required": True, "schema": schema})
    for name, adapter in endpoint.parameters.items():
        schema = adapter.json_schema(ref_template=REF)
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    if endpoint.query is not None:
        found += _query(endpoint.query)
    if endpoint.method == "POST":
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "repeated within a day, the request is answered the same",
                "schema": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 200,
                    "pattern": "^[!-~]+$",
                },
            }
        )
    return found


def _query(model: type[BaseModel]) -> Iterable[Json]:
    for name, field in model.model_fields.items():
        schema = TypeAdapter(field.rebuild_annotation()).json_schema(ref_template=REF)
        # a query has no null: what is not given is not there
        if "anyOf" in schema:
            given = [one for one in schema.pop("anyOf") if one.get("type") != "null"]
            schema = schema | given[0] if len(given) == 1 else schema | {"anyOf": given}
        described = schema.pop("description", field.description)
        told: Json = {
            "name": field.alias or name,
            "in": "query",
            "required": False,
            "schema": schema,
        }
        told["required"] = field.is_required()
        if described:
            told["description"] = described
        yield told


def _responses(endpoint: Endpoint, references: References) -> dict[str, Json]:
    if endpoint.files:
        content: Json = {kind: {"schema": {}} for kind in endpoint.files}
    else:
        content = {JSON: {"schema": references[_key(endpoint.answer, "serialization")]}}
    done: Json = {"description": "done", "content": content}
    if endpoint.method == "POST":
        done["headers"] = {
            "Idempotency-Replayed": {
                "description": "`true` where the answer is that of an earlier request",
                "schema": {"type": "string"},
            }
        }
    kinds = [*ANYWHERE]
    if endpoint.right is not None:
        kinds.append("forbidden")
    if endpoint.of_account or endpoint.parameters:
        kinds.append("not-found")
    if endpoint.body is not None:
        kinds += WITH_BODY
    if not endpoint.reads:
        kinds.append("conflict")
    if endpoint.calls_platform:
        kinds.append("platform")
    listed = {str(KINDS[kind].status): {"$ref": f"#/components/responses/{kind}"} for kind in kinds}
    return {str(endpoint.status): done} | dict(sorted(listed.items()))


def _problem(name: str) -> Json:
    kind = KINDS[name]
    told: Json = {
        "description": f"{kind.zh} · {kind.en}",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if name == "too-many" or name == "unavailable":
        told["headers"] = {
            "Retry-After": {"description": "seconds to wait", "schema": {"type": "integer"}}
        }
    if name in ("unauthorized", "forbidden"):
        told["headers"] = {
            "WWW-Authenticate": {"description": "RFC 6750", "schema": {"type": "string"}}
        }
    return told
