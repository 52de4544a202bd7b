"""What every command uses: words by locale, settings, the database, output, and errors as one line."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import click
import sqlalchemy as sa
from requests import RequestException
from rich.console import Console
from rich.table import Table

from bot import clock, db, migrate
from bot.config import Config, SettingsError, load_config, sqlite_path
from bot.db import Session
from bot.errors import Invalid, Refused, WeChatError
from bot.logs import clean
from bot.registry import TwoMembers
from bot.runtime import Runtime, build, clock_of
from bot.sentences import in_chinese


def t(zh: str, en: str) -> str:
    """Chinese, unless the locale asks for another language: then English."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name, "")
        if value:
            plain = value.split(".")[0].lower()
            return zh if plain in ("c", "posix") or plain.startswith("zh") else en
    return zh


def sentence(english: str) -> str:
    """A sentence of an error in the reader's language."""
    return t(in_chinese(english), english)


def worded(problem: Exception) -> str:
    """What an error says in the reader's language, after the place it is about."""
    if isinstance(problem, Invalid):
        return f"{problem.field}: {sentence(problem.message)}".removeprefix(": ")
    return sentence(str(problem))


class Failure(click.ClickException):
    """One line on standard error, exit code 1."""

    def show(self, file: Any = None) -> None:
        click.echo(t("错误：", "Error: ") + self.message, err=True)


class Tool:
    """The settings and the database of one command, opened when first asked for."""

    @cached_property
    def config(self) -> Config:
        return load_config(os.environ)

    def listens_at(self, address: str) -> None:
        """Where no public address is set, it is this one. To be said before ``runtime`` is asked for."""
        if "base_url" not in self.config.model_fields_set:
            self.config = self.config.model_copy(update={"base_url": address})

    @property
    def secret_key(self) -> str:
        return self.config.secret_key.get_secret_value()

    @cached_property
    def engine(self) -> sa.Engine:
        return db.make_engine(self.config.database_url)

    @cached_property
    def runtime(self) -> Runtime:
        self.check_revision()
        return build(self.config)

    def now(self) -> datetime:
        return self._clock()

    @cached_property
    def _clock(self) -> Callable[[], datetime]:
        return clock_of(self.engine)

    def check_revision(self) -> None:
        """Raises Refused where the database has no tables or is not of this program's revision."""
        path = sqlite_path(self.config.database_url)
        found = None if path is not None and not path.exists() else migrate.current(self.engine)
        if found == migrate.head():
            return
        if found is not None and not migrate.is_known(found):
            raise Refused(
                t(
                    f"数据库版本 {found} 比这个程序新，请升级程序",
                    f"the database has revision {found}, which is newer than this program: upgrade the program",
                )
            )
        raise Refused(
            t(
                "数据库还没有建好或版本较旧，请先运行 qunfen db upgrade",
                "the database is empty or older than this program: run `qunfen db upgrade` first",
            )
        )

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        self.check_revision()
        with db.reading(self.engine) as session:
            yield session

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        self.check_revision()
        with db.writing(self.engine) as session:
            yield session

    def close(self) -> None:
        for name in ("runtime", "engine"):
            if name in self.__dict__:
                (self.__dict__[name].close if name == "runtime" else self.engine.dispose)()


pass_tool = click.make_pass_decorator(Tool, ensure=True)


class Commands(click.Group):
    """A group whose commands end with one clear line instead of a traceback, for every error we raise on purpose."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as problem:
            listed = "\n  ".join(map(_setting, str(problem).splitlines()))
            raise Failure(t("设置有误：", "settings are wrong:") + f"\n  {listed}") from None
        except WeChatError as problem:
            raise Failure(t("微信平台：", "the platform: ") + clean(str(problem))) from None
        except (Invalid, Refused, TwoMembers) as problem:
            raise Failure(clean(worded(problem))) from None
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as problem:
            if not db.is_unavailable(problem):
                raise
            reason = str(getattr(problem, "orig", problem)).strip().splitlines()[0]
            raise Failure(
                t("数据库不可用：", "the database is unavailable: ") + reason[:200]
            ) from None
        except ModuleNotFoundError as problem:
            if problem.name != "psycopg":
                raise
            raise Failure(
                t(
                    f"缺少 {problem.name}，请安装 qunfen[server]",
                    f"{problem.name} is missing: install qunfen[server]",
                )
            ) from None
        except RequestException as problem:
            raise Failure(clean(f"{type(problem).__name__}: {problem}")[:300]) from None


def _setting(line: str) -> str:
    name, colon, said = line.partition(": ")
    return name + colon + sentence(said)


def example(text: str) -> str:
    """The end of a help text: an example that keeps its line breaks."""
    return f"\n\n\b\n{t('例子', 'Example')}:\n  " + "\n  ".join(text.splitlines())


def doc(zh: str, en: str, sample: str) -> str:
    """A command's help."""
    return t(zh, en) + example(sample)


json_option = click.option("--json", "as_json", is_flag=True, help=t("输出 JSON", "print JSON"))


def say(text: str) -> None:
    click.echo(text)


def print_json(value: Any) -> None:
    """JSON on standard output; moments as ISO 8601 in Shanghai time."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=_json))


def _json(value: Any) -> str:
    return clock.local(value).isoformat() if isinstance(value, datetime) else str(value)


def shown(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return t("是", "yes") if value else t("否", "no")
    if isinstance(value, datetime):
        return f"{clock.local(value):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {shown(item)}" for key, item in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(shown(item) for item in value) or "–"
    return str(value)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
    """A table for people, as wide as it needs to be where nobody watches."""
    table = Table(title=title or None, title_justify="left")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(shown(value) for value in row))
    width = None if sys.stdout.isatty() else 200
    Console(width=width, highlight=False, markup=False).print(table)


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], as_json: bool, title: str = ""
) -> None:
    """Rows as JSON objects, or as a table with ``columns``: key -> heading."""
    if as_json:
        print_json([dict(row) for row in rows])
        return
    if not rows:
        say(t("（没有）", "(none)"))
        return
    print_table(list(columns.values()), [[row.get(key) for key in columns] for row in rows], title)
