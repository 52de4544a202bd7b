"""Settings: environment variables ``QUNFEN_…`` or a ``.env`` file. Read once, frozen, checked together."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

PREFIX = "QUNFEN_"
INSTANCE = Path("instance")
Days = Annotated[int, Field(ge=1, le=36500)]


class SettingsError(Exception):
    """One or more settings are wrong. The text lists every problem, one a line."""


class Config(BaseModel):
    """Every setting, with its default. ``docs/settings.md`` explains each (a test compares the two)."""

    model_config = ConfigDict(frozen=True)

    database_url: str = Field(
        "sqlite:///instance/qunfen.db", description="SQLAlchemy URL of SQLite or PostgreSQL"
    )
    redis_url: str = Field("", description="empty: one process, everything embedded")
    secret_key: SecretStr = Field(
        SecretStr(""), description="signs sessions and links, encrypts account secrets at rest"
    )
    base_url: str = Field("http://127.0.0.1:8000", description="public address of this server")
    wechat_api_base: str = Field(
        "https://api.weixin.qq.com", description="the platform's server API, for real accounts"
    )
    wechat_oauth_base: str = Field(
        "https://open.weixin.qq.com", description="where followers go for web authorisation"
    )
    push_max_age: int = Field(600, ge=1, le=86400, description="seconds a push may be old")
    keep_pushes: Days = Field(180, description="days raw pushes are kept")
    keep_events: Days = Field(1095, description="days behaviour events are kept")
    erase_after_unsubscribe: int = Field(
        30, ge=0, le=3650, description="days until a follower who left is anonymised"
    )
    trusted_proxies: int = Field(0, ge=0, le=10, description="reverse proxies in front")
    log_format: Literal["text", "json"] = Field("text", description="text or json")

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        try:
            backend = make_url(value).get_backend_name()
        except ArgumentError:
            raise ValueError("is not a database URL such as sqlite:///instance/qunfen.db") from None
        if backend not in ("sqlite", "postgresql"):
            raise ValueError(f"names the database '{backend}'; SQLite and PostgreSQL are supported")
        return value

    @field_validator("base_url", "wechat_api_base", "wechat_oauth_base")
    @classmethod
    def _address(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    @field_validator("redis_url")
    @classmethod
    def _redis_address(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must be empty or begin with redis://, rediss:// or unix://")
        return value

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and len(value.get_secret_value()) < 16:
            raise ValueError("must have at least 16 characters")
        return value


def load_config(environ: Mapping[str, str], *, dotenv: Path | None = Path(".env")) -> Config:
    """Read the settings from ``environ``, then from a ``.env`` file; ``NAME_FILE`` names a file that holds it.

    Without ``QUNFEN_SECRET_KEY`` one is generated into ``instance/secret_key`` (mode 0600).

    Raises:
        SettingsError: with every problem at once, by setting name. Values are not repeated.
    """
    merged: dict[str, str] = {}
    if dotenv is not None and dotenv.is_file():
        merged.update({k: v for k, v in dotenv_values(dotenv).items() if v is not None})
    merged.update(environ)
    given: dict[str, str] = {}
    problems: list[str] = []
    for field in Config.model_fields:
        name = PREFIX + field.upper()
        if merged.get(name + "_FILE"):
            try:
                given[field] = Path(merged[name + "_FILE"]).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as problem:
                reason = getattr(problem, "strerror", None) or "not UTF-8"
                problems.append(f"{name}_FILE: cannot be read ({reason})")
        elif merged.get(name, "") != "":
            given[field] = merged[name]
    try:
        config = Config.model_validate(given)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            name = PREFIX + str(item["loc"][0]).upper()
            problems.append(f"{name}: {item['msg'].removeprefix('Value error, ')}")
        raise SettingsError("\n".join(problems)) from None
    if problems:
        raise SettingsError("\n".join(problems))
    if not config.secret_key.get_secret_value():
        config = config.model_copy(update={"secret_key": SecretStr(_kept_secret())})
    return config


def sqlite_path(url: str) -> Path | None:
    """The file behind a SQLite URL; None for another database or one in memory."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    if parsed.database == ":memory:":
        return None
    return Path(parsed.database)


def _kept_secret() -> str:
    path = INSTANCE / "secret_key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # O_EXCL: of two processes that start at once, one writes and the other reads
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    except OSError as problem:
        raise SettingsError(
            f"QUNFEN_SECRET_KEY: not set, and {path} cannot be written ({problem.strerror})"
        ) from None
    with os.fdopen(handle, "w", encoding="ascii") as file:
        secret = secrets.token_urlsafe(48)
        file.write(secret + "\n")
    return secret
