"""Facts: everything a rule may look at, frozen. Stored with each push, so the past can be replayed as it was."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at the moment a push is decided.

    ``kind`` is a message kind (text image voice video short_video location link) or subscribe, scan,
    menu_click, menu_view … ``key`` is the menu key or address. ``scene`` is set by a scan, and by a
    follow that came from a QR code. ``tags`` and ``fields`` are as before this push's effects.
    ``fired`` says when a rule with a cooldown last won for this follower.
    """

    push_key: str
    kind: str
    at: datetime
    follower_id: int = 0  # whose facts these are; no rule looks at it
    text: str = ""
    key: str = ""
    scene: str = ""
    first_message: bool = False
    handed_over: bool = False
    tags: frozenset[str] = frozenset()
    fields: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    fired: Mapping[str, datetime] = field(default_factory=lambda: NOTHING)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; what is empty is left out."""
        found: dict[str, Any] = {
            "push_key": self.push_key,
            "kind": self.kind,
            "at": self.at.isoformat(),
        }
        for name in ("follower_id", "text", "key", "scene", "first_message", "handed_over"):
            value = getattr(self, name)
            if value:
                found[name] = value
        if self.tags:
            found["tags"] = sorted(self.tags)
        if self.fields:
            found["fields"] = dict(self.fields)
        if self.fired:
            found["fired"] = {rule: moment.isoformat() for rule, moment in self.fired.items()}
        return found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Facts":
        """The facts ``to_json`` wrote."""
        known = dict(value)
        known["at"] = datetime.fromisoformat(known["at"])
        known["tags"] = frozenset(known.get("tags", ()))
        known["fired"] = {
            rule: datetime.fromisoformat(moment) for rule, moment in known.get("fired", {}).items()
        }
        return cls(**known)
