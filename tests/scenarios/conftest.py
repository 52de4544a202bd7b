"""A world a scenario: product and platform in one process, one stopped clock, databases of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.scenarios.world import World


@pytest.fixture
def world(
    engine: sa.Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    # commands read .env and instance/ beside the process
    monkeypatch.chdir(tmp_path)
    made = World(engine, database_url, tmp_path)
    yield made
    made.rt.writer.close()
