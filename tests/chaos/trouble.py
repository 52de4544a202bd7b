"""What goes wrong on the platform's side while the product is killed: seeded, a little at a time."""

import random
from collections import Counter
from typing import Any

from bot.demo.load import Control
from tests import factories

MASS, PERSONAL = "/cgi-bin/message/mass/send", "/cgi-bin/message/custom/send"
TOKEN, EVENT = "/cgi-bin/stable_token", "MASSSENDJOBFINISH"

# weight, path, kind, more. A slow call is the one most likely to be killed in the middle
TROUBLES: tuple[tuple[int, str, str, dict[str, Any]], ...] = (
    (8, MASS, "slow", {"seconds": 3.0}),
    (3, MASS, "drop", {}),
    (2, MASS, "errcode", {"errcode": -1}),
    (2, MASS, "errcode", {"errcode": -1, "after": True}),
    (2, MASS, "errcode", {"errcode": 45011}),
    (1, MASS, "errcode", {"errcode": 45009}),
    (1, MASS, "http_500", {}),
    (6, PERSONAL, "slow", {"seconds": 2.0, "times": 8}),
    (3, PERSONAL, "drop", {"times": 3}),
    (3, PERSONAL, "errcode", {"errcode": -1, "times": 3}),
    (2, PERSONAL, "errcode", {"errcode": 45011, "times": 3}),
    (1, PERSONAL, "errcode", {"errcode": 45009, "times": 2}),
    (2, PERSONAL, "http_500", {"times": 2}),
    (1, TOKEN, "slow", {"seconds": 1.0}),
    (1, TOKEN, "drop", {}),
    (3, EVENT, "finish_lose", {}),
    (3, EVENT, "finish_duplicate", {}),
    (3, EVENT, "finish_delay", {"seconds": 20.0}),
    (2, EVENT, "mass_errors", {"errcode": 7}),
)


class Trouble:
    """Arms one fault after another. ``armed`` counts them by kind."""

    def __init__(self, control: Control, chance: random.Random) -> None:
        self.armed: Counter[str] = Counter()
        self._control = control
        self._chance = chance

    def arm(self) -> None:
        """One more fault; sometimes every token dies as well."""
        weights = [each[0] for each in TROUBLES]
        _, path, kind, more = self._chance.choices(TROUBLES, weights)[0]
        self._control("faults", {"path": path, "kind": kind, "app_id": factories.APP_ID, **more})
        name = f"{kind} {more['errcode']}" if kind == "errcode" else kind
        self.armed[f"{path.rpartition('/message/')[2]} {name}"] += 1
        if self._chance.random() < 0.1:
            self._control("accounts/kill_tokens", {"app_id": factories.APP_ID})
            self.armed["tokens killed"] += 1

    def end(self) -> None:
        self._control("faults/clear", {})
