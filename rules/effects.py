"""Effects: what a decision wants done. The list is closed and has one interpreter, ``bot/effects.py``."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer inside the callback's response; the second and further ones of a push go to the outbox."""

    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SendLater:
    """A customer-service message after ``seconds``, if a window is open then."""

    content: dict[str, Any]
    seconds: int


@dataclass(frozen=True, slots=True)
class AddTag:
    tag: str


@dataclass(frozen=True, slots=True)
class RemoveTag:
    tag: str


@dataclass(frozen=True, slots=True)
class SetField:
    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class HandOver:
    """Pass the conversation to human service; ``agent`` is a kf account, or empty for whoever is free."""

    agent: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """Write a behaviour event."""

    event: str


Effect = Reply | SendLater | AddTag | RemoveTag | SetField | HandOver | Record
