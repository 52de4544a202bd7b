"""The demo brand on its sandbox, in this process, on one clock: what the demo's tests share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import requests
import sqlalchemy as sa
from flask import Flask
from pydantic import SecretStr

from bot import db
from bot.app import create_app
from bot.clock import Clock
from bot.config import Config
from bot.demo import load, play, population
from bot.demo.deeds import Crowd, deeds
from bot.demo.load import Stage
from bot.kept import DatabaseStore
from bot.runtime import Runtime
from bot.sandbox import control, inprocess
from bot.sandbox.app import create_app as sandbox_app
from bot.sandbox.platform import Platform
from tests import factories

SANDBOX = "http://sandbox.test"
MORNING = factories.at("2025-11-14 09:00")
FIRST_WAVE = factories.at("2025-11-14 20:30")
SECOND_WAVE = FIRST_WAVE + timedelta(hours=48, seconds=2)  # a follow-up never takes a run's own key


@dataclass
class DemoWorld:
    """Product and platform share ``clock``, which only the test moves."""

    clock: Clock
    platform: Platform
    rt: Runtime
    product: Flask
    stage: Stage

    def live(self, size: str, until: datetime) -> None:
        """Let the people of the campaign do what is planted, and the program work, until then."""
        count = load.SIZES[size]
        everybody = list(population.people(count, MORNING))
        crowd = Crowd(self.stage, self.platform, self.clock, self.product)
        acts = deeds(crowd, everybody, count, FIRST_WAVE)
        play.live(crowd, acts, until, (FIRST_WAVE, SECOND_WAVE))


@contextmanager
def world(
    folder: Path, database_url: str, engine: sa.Engine, begin: datetime, base_url: str
) -> Iterator[DemoWorld]:
    """An empty product beside an empty platform."""
    clock = Clock(frozen_at=begin)
    platform = Platform(str(folder / "sandbox.db"), clock)

    def http() -> requests.Session:
        session = requests.Session()
        inprocess.mount(session, SANDBOX, sandbox_app(platform))
        return session

    config = Config(
        database_url=database_url, secret_key=SecretStr(factories.SECRET_KEY), base_url=base_url
    )
    writer = db.GroupWriter(engine)
    rt = Runtime(config, engine, writer, clock, DatabaseStore(engine, clock), http=http)
    product = create_app(rt.config, rt)
    platform.deliver = inprocess.deliver_to(product)
    stage = Stage(rt, SANDBOX, lambda name, words: control.handle(platform, name, "POST", words)[1])
    yield DemoWorld(clock, platform, rt, product, stage)
    writer.close()
