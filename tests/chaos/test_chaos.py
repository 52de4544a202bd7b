"""The short form of ``make chaos`` as a test; continuous integration runs it apart from the suite."""

import secrets
from pathlib import Path

import pytest

from tests.chaos.__main__ import FORMS, one


@pytest.mark.chaos  # processes are started and killed, and WeChat's waits are real
@pytest.mark.sqlite
@pytest.mark.parametrize("form", FORMS)
def test_killed_at_any_moment_nobody_gets_a_campaign_twice_and_nobody_is_forgotten(
    tmp_path: Path, form: str
) -> None:
    seed = secrets.randbelow(1_000_000)
    print(f"make chaos SHORT=1 ARGS='--only {form} --seed {seed}'")  # shown where it fails
    found = one(form, True, seed, tmp_path)
    for name, number in found.counts:
        print(f"{name}: {number}")
    assert found.problems == []
