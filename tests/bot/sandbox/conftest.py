"""One platform in memory for each test."""

from collections.abc import Iterator

import pytest

from tests.bot.sandbox.api import Api


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()
    yield made
    made.platform.store.close()
