"""Sealing, signing and link codes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import secrets, tracking
from bot.errors import Refused
from tests.factories import SECRET_KEY

OTHER_KEY = "another-secret-key-for-tests"


def test_what_is_sealed_opens_with_the_same_key_only() -> None:
    sealed = secrets.seal(SECRET_KEY, "app-secret")
    assert "app-secret" not in sealed
    assert sealed != secrets.seal(SECRET_KEY, "app-secret"), "two seals must not show equal secrets"
    assert secrets.unseal(SECRET_KEY, sealed) == "app-secret"
    with pytest.raises(Refused) as problem:
        secrets.unseal(OTHER_KEY, sealed)
    assert "QUNFEN_SECRET_KEY" in str(problem.value)
    assert sealed not in str(problem.value)


def test_a_hash_of_an_erased_follower_depends_on_key_and_account() -> None:
    hashes = {
        secrets.keyed_hash(key, account, "oX")
        for key in (SECRET_KEY, OTHER_KEY)
        for account in (1, 2)
    }
    assert len(hashes) == 4


@given(st.integers(1, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_a_link_code_names_its_link_and_its_follower(link_id: int, follower_id: int) -> None:
    code = tracking.code_for(SECRET_KEY, link_id, follower_id)
    assert tracking.open_code(SECRET_KEY, code) == (link_id, follower_id)
    assert tracking.open_code(OTHER_KEY, code) is None
    assert len(code) <= 40
    assert code.replace("-", "").replace("_", "").isalnum()


@given(st.text(max_size=60))
def test_no_other_text_is_a_link_code(text: str) -> None:
    assert tracking.open_code(SECRET_KEY, text) is None


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_code_that_was_changed_is_none(place: int, change: int) -> None:
    code = tracking.code_for(SECRET_KEY, 12345, 67890)
    place %= len(code)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = letters[(letters.index(code[place]) + 1 + change % 62) % 64]
    changed = code[:place] + other + code[place + 1 :]
    opened = tracking.open_code(SECRET_KEY, changed)
    # the last letter of a code carries bits that base64 ignores
    assert opened is None or (place == len(code) - 1 and opened == (12345, 67890))


@pytest.mark.parametrize(
    ("open_id", "shown"),
    [("oAbcdefghijklmnopqrstuvwxyz1", "oA…xyz1"), ("oShort", "…"), ("", "-"), (None, "-")],
)
def test_an_open_id_is_shortened(open_id: str | None, shown: str) -> None:
    assert secrets.short(open_id) == shown
