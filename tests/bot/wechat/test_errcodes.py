"""The table of errcodes, row by row as docs/wechat-limits.md 13, 8 and 9 have it."""

from datetime import UTC, datetime

import pytest

from bot.wechat.errcodes import PERMANENT, TABLE, verdict

# fmt: off
ROWS: list[tuple[str, list[int]]] = [
    ("ok", [0, 45065]),
    (
        "retry",
        [-1, 45085, 45169, 45171, 61450, 9500002, 268487001, 268487002, 268488001],
    ),
    ("token", [40001, 40014, 42001]),
    (
        "wait",
        [42010, 45009, 45011, 45028, 45061, 45066, 45501, 53501, 61503, *range(89501, 89508)],
    ),
    (
        "drop",
        [40003, 43004, 43005, 43006, 43019, 43101, 45015, 45047, 45072, 45080, 45081, 48002, 49003,
         50005, 70000],
    ),
    (
        "stop",
        [40013, 40125, 40164, 40243, 40249, 43100, 43104, 43106, 43116, 45029, 45034, 45101, 45062,
         45087, 45094, 45102, 45103, 45113, 48001, 48003, 48004, 48006, 48008, 48009, 48013,
         48014, 48021, 48022, 50002, 50004, 50007, 53500, 53503, 53504, 53505, 61023, 88000,
         200011, 200013, 200100, *range(61003, 61018)],
    ),
    (
        "fix",
        [40002, *range(40004, 40013), *range(40015, 40034), 40035, 40036, 40037, 40038, 40039,
         40048, 40050, 40051, 40052, 40053, 40054, 40055, 40059, 40060, 40062, 40092, 40097,
         40114, 40117, 40118, 40119, 40120, 40121, 40130, 40132, 40137, 40152, 40155, 40163,
         40165, 40166, *range(40200, 40204), 40213, 40214, 40215, 40246, 40247,
         *range(41001, 41010), 41030, 41039, 41040, 42002, 42003, 42007, 43001, 43002, 43003,
         44001, 44002, 44003, 44004, *range(45001, 45009), 45010, 45016, 45017, 45018, 45026,
         45027, *range(45048, 45053), *range(45056, 45061), 45064, 45067, 45082, 45083, 45084,
         45086, 45098, 45099, 45157, 45158, 45159, *range(45162, 45167), 46001, 46002, 46003,
         46004, 47001, 47002, 47003, 48005, 50001, 53404, 53405, 53406, 53502, 53600,
         *range(61451, 61458), 61500, 61501, 63178, 63182, 63183, *range(65301, 65321),
         *range(65400, 65418), *range(76001, 76005), 76021, 76022, 87009, 87014,
         *range(88001, 88011), 200012, *range(200014, 200023), 9410010, 9410011, 9410012],
    ),
]
# fmt: on


@pytest.mark.parametrize(("action", "codes"), ROWS, ids=[row[0] for row in ROWS])
def test_every_code_has_the_action_of_the_page(action: str, codes: list[int]) -> None:
    assert [code for code in codes if verdict(code).action != action] == []


def test_table_holds_these_codes_and_no_others() -> None:
    assert set(TABLE) == {code for _, codes in ROWS for code in codes}


def test_every_code_tells_the_operator_something_in_chinese() -> None:
    for code in TABLE:
        assert any("\u4e00" <= letter <= "\u9fff" for letter in verdict(code).text_zh), code


def test_permanent_is_what_a_repeat_cannot_change() -> None:
    assert frozenset({"fix", "stop", "drop"}) == PERMANENT
    assert verdict(48001).permanent
    assert not verdict(45011).permanent


@pytest.mark.parametrize("code", [1, -2, 99999, 10**15])
def test_unknown_code_stops(code: int) -> None:
    assert verdict(code).action == "stop"


def test_waits_are_longer_than_nothing() -> None:
    for code in TABLE:
        found = verdict(code)
        assert (found.wait_seconds > 0) == (found.action in ("retry", "token", "wait")), code


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        (datetime(2025, 3, 3, 15, 59, 30, tzinfo=UTC), 30 + 60),  # 23:59:30 in Shanghai
        (datetime(2025, 3, 3, 16, 0, tzinfo=UTC), 86400 + 60),
    ],
)
def test_daily_quota_comes_back_at_midnight_in_shanghai(moment: datetime, seconds: int) -> None:
    assert verdict(45009, moment).wait_seconds == seconds
    assert verdict(45009).wait_seconds == 3600


def test_wrong_secret_is_told_apart_from_an_old_token() -> None:
    assert verdict(40001).action == "token"
    assert verdict(40001, token_call=True).action == "stop"
