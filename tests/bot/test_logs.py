"""No secret and no whole OpenID reaches a log line."""

import logging

import pytest

from bot import logs
from tests import factories

OPEN_ID = "oAbcdefghijklmnopqrstuvwxyz1"


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("GET /cgi-bin/x?access_token=TOKEN_abc&y=1", "TOKEN_abc"),
        ("appid=wx1&secret=hushhush&grant_type=x", "hushhush"),
        ("?code=081abc&state=s", "081abc"),
        ("?signature=deadbeef&timestamp=1", "deadbeef"),
        ("?msg_signature=deadbeef&nonce=1", "deadbeef"),
        (f"no follower {OPEN_ID} here", OPEN_ID),
        (f"('{factories.open_id(7)}',)", factories.open_id(7)),
    ],
)
def test_a_text_is_cleaned(text: str, gone: str) -> None:
    assert gone not in logs.clean(text)


def test_what_is_harmless_stays_readable() -> None:
    text = "push 17 of account muyan failed: KeyError 'x' at /callback/muyan?timestamp=1700000000"
    assert logs.clean(text) == text


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_line_is_redacted_by_key_and_by_content(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(log_format)
    logs.get().warning(
        "something",
        app_secret="hushhush",
        token="tttttt",
        open_id=OPEN_ID,
        url="https://api/x?access_token=TOKEN_abc",
        account="muyan",
    )
    logging.getLogger("a.library").error("failed for %s with secret=hushhush", OPEN_ID)
    line = capsys.readouterr().err
    for gone in ("hushhush", "tttttt", OPEN_ID, "TOKEN_abc"):
        assert gone not in line
    assert "muyan" in line
    assert "something" in line
    assert "a.library" in line
