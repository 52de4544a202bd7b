"""Followers who write, scan, leave and come back all the while, whether anybody answers or not."""

import random
import threading
from collections import Counter
from collections.abc import Callable

import requests

from bot.demo.load import Control
from bot.errors import Refused
from tests import factories
from tests.chaos.setting import Setting

WORDS = ("在吗", "活动", "优惠券", "订阅", "你好")
THREADS = 3
REST_SECONDS = (0.02, 0.3)


def open_windows(setting: Setting, new_control: Callable[[], Control], number: int) -> None:
    """So many write once, so that their 48 hours are open on both sides."""
    step = max(1, len(setting.people) // number)
    writers = setting.people[1::step]
    threads = [
        threading.Thread(target=_write, args=(new_control(), writers[part::THREADS]))
        for part in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _write(control: Control, names: list[str]) -> None:
    for name in names:
        control("act", {"app_id": factories.APP_ID, "act": "say", "open_id": name, "text": "在吗"})


class Crowd:
    """Lives from ``start`` to ``stop``. ``outcomes`` counts what became of the pushes."""

    def __init__(self, setting: Setting, new_control: Callable[[], Control], seed: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self._setting = setting
        self._fickle = sorted(setting.fickle)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(
                target=self._live, args=(new_control(), random.Random(f"{seed}:{part}"), part)
            )
            for part in range(THREADS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(60)

    def _live(self, control: Control, chance: random.Random, part: int) -> None:
        newcomers = 0
        while not self._stopping.wait(chance.uniform(*REST_SECONDS)):
            act = chance.choices(
                ("say", "scan", "tap", "leave", "follow", "opt_out", "new"),
                (50, 15, 10, 6, 8, 3, 8),
            )[0]
            fickle = act in ("leave", "follow", "opt_out")
            who = chance.choice(self._fickle if fickle else self._setting.people)
            words = {"app_id": factories.APP_ID, "open_id": who, "act": act}
            if act == "say":
                words["text"] = chance.choice(WORDS)
            elif act == "opt_out":
                words |= {"act": "say", "text": "退订"}
            elif act == "scan":
                words["scene"] = "store_01"
            elif act == "tap":
                words["key"] = "M_COUPON"
            elif act == "new":
                newcomers += 1
                name = f"o_new_{part}_{newcomers:020d}"
                words |= {"act": "follow", "open_id": name, "scene": "store_01"}
            self._note(control, words)

    def _note(self, control: Control, words: dict[str, str]) -> None:
        try:
            outcome = str(control("act", dict(words))["outcome"])
        except Refused:
            return  # left already, or here already
        except requests.RequestException:
            outcome = "sandbox_away"
        with self._lock:
            self.outcomes[outcome] += 1
