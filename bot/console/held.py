"""What was typed into a form whose login had ended: held sealed through the login, then offered to be sent again.

Nothing is sent by itself: somebody else's page may have made the form, so its owner looks and presses the button.
Passwords, secrets and files are never held.
"""

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import request

from bot.console.access import by_htmx
from bot.errors import Refused
from bot.runtime import runtime
from bot.secrets import seal, unseal

LARGEST = 200_000  # characters
# what must not travel through a page once more, and what belongs to the old session
_LEFT_OUT = ("csrf", "password", "secret", "token", "aes_key", "code", "old", "new")


@dataclass(frozen=True, slots=True)
class Held:
    """A form that was not sent. ``path`` is one of ours."""

    path: str
    fields: list[tuple[str, str]]


def hold() -> str:
    """This request's form, sealed; empty where there is none worth keeping."""
    if request.method != "POST" or by_htmx() or not _own_page() or request.path in _doors():
        return ""
    fields = [
        (name, value)
        for name, values in request.form.lists()
        for value in values
        if not name.startswith(_LEFT_OUT)
    ]
    if not fields:
        return ""
    said = json.dumps([request.full_path.rstrip("?"), fields], ensure_ascii=False)
    return seal(runtime().secret_key, said) if len(said) <= LARGEST else ""


def opened(sealed: str) -> Held | None:
    """What ``hold`` sealed; None where it is not ours."""
    if not sealed or len(sealed) > 2 * LARGEST:
        return None
    try:
        path, fields = json.loads(unseal(runtime().secret_key, sealed))
    except (Refused, ValueError):
        return None
    return Held(path, [(name, value) for name, value in fields])


def _own_page() -> bool:
    """Whether a page of ours sent the form, as the browser says."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    sender = request.headers.get("Origin") or request.headers.get("Referer") or ""
    return urlsplit(sender).netloc == request.host


def _doors() -> tuple[str, ...]:
    return ("/console/login", "/console/login/code", "/console/logout")
