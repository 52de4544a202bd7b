"""Errors as RFC 9457 problem+json, in Chinese or English. No error tells a secret."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

MEDIA_TYPE = "application/problem+json"
ABOUT = "/api/v1/docs#problem-"
Found = TypeVar("Found")


@dataclass(frozen=True)
class Kind:
    """One kind of problem: its status, and its title in both languages."""

    status: int
    zh: str
    en: str


KINDS: Mapping[str, Kind] = {
    "malformed": Kind(400, "请求不是可以读懂的 JSON", "The request is not readable JSON"),
    "unauthorized": Kind(401, "缺少有效的 API 密钥", "A valid API token is missing"),
    "forbidden": Kind(403, "密钥没有所需的权限", "The token lacks a scope"),
    "not-found": Kind(404, "没有这个对象", "There is no such thing"),
    "method": Kind(405, "这个地址不支持这个方法", "The address does not take this method"),
    "not-acceptable": Kind(406, "只能以 JSON 回答", "Answers are JSON only"),
    "conflict": Kind(409, "现在不能这样做", "Not possible now"),
    "too-large": Kind(413, "请求超过 1 MB", "The request is larger than 1 MB"),
    "media-type": Kind(415, "请求体必须是 application/json", "The body must be application/json"),
    "invalid": Kind(422, "请求的内容有误", "The request is not valid"),
    "too-many": Kind(429, "请求太频繁", "Too many requests"),
    "platform": Kind(502, "微信平台拒绝或没有回答", "The platform refused or did not answer"),
    "unavailable": Kind(503, "暂时不可用，请稍后再试", "Not available now, try again later"),
}


@dataclass
class Problem(Exception):
    """An answer that is an error. ``errors`` are (place, sentence); ``more`` are further members."""

    kind: str
    detail: str = ""
    errors: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> int:
        return KINDS[self.kind].status

    def body(self, language: str) -> dict[str, Any]:
        """The JSON of RFC 9457, with our members ``errors`` and ``scope``."""
        kind = KINDS[self.kind]
        told: dict[str, Any] = {
            "type": f"{ABOUT}{self.kind}",
            "title": kind.zh if language == "zh" else kind.en,
            "status": kind.status,
        }
        if self.detail:
            told["detail"] = self.detail
        if self.errors:
            told["errors"] = [
                {"place": place, "message": message} for place, message in self.errors
            ]
        return told | dict(self.more)


def found(value: Found | None) -> Found:
    """The value, which is there.

    Raises:
        Problem: there is none.
    """
    if value is None:
        raise Problem("not-found")
    return value


SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "An error as RFC 9457 describes it.",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "description": "which kind of problem, as an address"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what is wrong this time"},
        "current": {"type": "object", "description": "what somebody else saved meanwhile (409)"},
        "scope": {"type": "string", "description": "the scope that is missing (403)"},
        "errors": {
            "type": "array",
            "description": "what is wrong where (422)",
            "items": {
                "type": "object",
                "required": ["place", "message"],
                "properties": {"place": {"type": "string"}, "message": {"type": "string"}},
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
