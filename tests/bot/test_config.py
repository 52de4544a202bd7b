"""Settings: environment, files and .env; every problem at once."""

import stat
from pathlib import Path

import pytest

from bot.config import Config, SettingsError, load_config, sqlite_path

SECRET = {"QUNFEN_SECRET_KEY": "a-secret-of-enough-length"}


def load(environ: dict[str, str], folder: Path) -> Config:
    return load_config(environ, dotenv=folder / ".env")


def test_without_settings_the_defaults_hold_and_a_secret_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the generated secret lives under the working folder
    first = load({}, tmp_path)
    again = load({}, tmp_path)
    kept = tmp_path / "instance" / "secret_key"
    assert first == again
    assert first.database_url == "sqlite:///instance/qunfen.db"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert len(first.secret_key.get_secret_value()) >= 32


def test_every_problem_is_told_at_once_and_no_value_is_repeated(tmp_path: Path) -> None:
    wrong = {
        "QUNFEN_DATABASE_URL": "mysql://me:hunter2@host/db",
        "QUNFEN_SECRET_KEY": "short",
        "QUNFEN_BASE_URL": "qunfen.example",
        "QUNFEN_PUSH_MAX_AGE": "soon",
        "QUNFEN_KEEP_PUSHES": "0",
        "QUNFEN_LOG_FORMAT": "xml",
        "QUNFEN_REDIS_URL": "localhost",
        "QUNFEN_TRUSTED_PROXIES_FILE": str(tmp_path / "missing"),
    }
    with pytest.raises(SettingsError) as problem:
        load(wrong, tmp_path)
    told = str(problem.value)
    for name in wrong:
        assert name in told
    for value in ("hunter2", "short", "soon", "localhost"):
        assert value not in told


def test_a_file_may_hold_a_secret_and_the_environment_wins_over_dotenv(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a-secret-from-a-file\n", encoding="utf-8")
    (tmp_path / ".env").write_text(
        "QUNFEN_PUSH_MAX_AGE=60\nQUNFEN_KEEP_PUSHES=7\n", encoding="utf-8"
    )
    found = load(
        {"QUNFEN_SECRET_KEY_FILE": str(tmp_path / "key"), "QUNFEN_PUSH_MAX_AGE": "90"}, tmp_path
    )
    assert found.secret_key.get_secret_value() == "a-secret-from-a-file"
    assert (found.push_max_age, found.keep_pushes) == (90, 7)


def test_an_empty_setting_means_its_default(tmp_path: Path) -> None:
    assert load({**SECRET, "QUNFEN_KEEP_PUSHES": ""}, tmp_path).keep_pushes == 180


def test_a_secret_is_not_shown_by_printing_the_settings(tmp_path: Path) -> None:
    assert SECRET["QUNFEN_SECRET_KEY"] not in repr(load(SECRET, tmp_path))


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///instance/qunfen.db", Path("instance/qunfen.db")),
        ("sqlite:////var/lib/qunfen.db", Path("/var/lib/qunfen.db")),
        ("sqlite://", None),
        ("postgresql+psycopg://host/db", None),
    ],
)
def test_the_file_behind_a_database(url: str, path: Path | None) -> None:
    assert sqlite_path(url) == path
