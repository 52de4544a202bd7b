"""The overlap check of a rulebook, remembered: who looks again at unchanged rules waits for nothing."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from rules.model import Rulebook, load
from rules.overlap import Finding, find

KEPT = 2  # compiled rulebooks, which may be large


def checked(
    body: Mapping[str, Any], known: Mapping[str, Sequence[str]], now: datetime
) -> tuple[Rulebook, Sequence[Finding]]:
    """The rulebook and what is wrong with it from the beginning of this hour on.

    Raises:
        Invalid: the body does not load.
    """
    hour = now.replace(minute=0, second=0, microsecond=0)
    return _checked(json.dumps(body, sort_keys=False), json.dumps(known, sort_keys=True), hour)


@lru_cache(maxsize=KEPT)
def _checked(body: str, known: str, hour: datetime) -> tuple[Rulebook, Sequence[Finding]]:
    book = load(json.loads(body))
    return book, tuple(find(book, now=hour, known=json.loads(known)))
