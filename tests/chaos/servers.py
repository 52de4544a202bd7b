"""A PostgreSQL cluster and a Redis of this run's own, each in its folder on its port: nobody else's is ever touched."""

import os
import pwd
import random
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import redis

from tests.chaos.processes import free_port, until

USER, DATABASE = "qunfen", "qunfen"
START_SECONDS = 60.0
STOP_SECONDS = 20.0
UNPRIVILEGED = ("postgres", "nobody")  # PostgreSQL refuses to be root's


class Missing(RuntimeError):
    """A program this run needs is not on this machine."""


def postgres_folder() -> Path:
    """Where the newest ``initdb`` is.

    Raises:
        Missing: nowhere.
    """
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    named = shutil.which("initdb")
    if not found and named is None:
        raise Missing("initdb: install postgresql")
    return found[-1].parent if found else Path(str(named)).parent


def need_redis() -> str:
    """The program.

    Raises:
        Missing: it is not installed.
    """
    named = shutil.which("redis-server")
    if named is None:
        raise Missing("redis-server: install redis-server")
    return named


class Server:
    """One process that is killed and started again."""

    def __init__(self, name: str, folder: Path, port: int) -> None:
        self.name, self.folder, self.port = name, folder, port
        self._log = (folder / f"{name}.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def owner(self) -> str | None:
        """The user it runs as; None is ours."""
        return None

    def start(self) -> None:
        """Start it and wait until it answers."""
        assert self._process is None
        self._process = subprocess.Popen(
            self.command(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            user=self.owner(),
        )
        if not until(self.answers, START_SECONDS):
            self.stop(signal.SIGKILL)
            raise RuntimeError(f"{self.name} did not start; {self.folder / self.name}.log says why")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal and wait for its end; one that does not end is killed."""
        if self._process is None:
            return
        self._process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._process = None

    def close(self) -> None:
        """The end of the run."""
        self.stop(self.last_signal())
        self._log.close()

    def last_signal(self) -> int:
        return signal.SIGTERM


class Postgres(Server):
    """A cluster made by ``initdb``. ``url`` is what SQLAlchemy takes."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        super().__init__("postgresql", folder, free_port(chance))
        self._bin = postgres_folder()
        self._data = folder / "postgresql"
        self.url = f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{DATABASE}"
        self._data.mkdir()
        owner = self.owner()
        if owner is not None:
            shutil.chown(self._data, owner)
            for above in (folder, *folder.parents):  # made by us for root alone
                if above.stat().st_uid == 0 and not above.stat().st_mode & 0o001:
                    above.chmod(above.stat().st_mode | 0o011)
        self._as_owner(
            [
                *(str(self._bin / "initdb"), "--pgdata", str(self._data), "--username", USER),
                *("--auth", "trust", "--encoding", "UTF8", "--no-sync"),
            ]
        )
        self.start()
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}")

    def owner(self) -> str | None:
        if os.geteuid() != 0:
            return None
        known = {each.pw_name for each in pwd.getpwall()}
        return next(name for name in UNPRIVILEGED if name in known)

    def command(self) -> list[str]:
        # processes are killed here, never the machine: what the kernel holds is as good as on disk
        return [
            str(self._bin / "postgres"),
            *("-D", str(self._data), "-p", str(self.port)),
            *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self._data}"),
            *("-c", "fsync=off", "-c", "max_connections=200", "-c", "timezone=UTC"),
        ]

    def answers(self) -> bool:
        try:
            psycopg.connect(self._address("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def restart(self, crash: bool) -> None:
        """As an administrator would; ``crash`` leaves no time to finish, and it recovers from its log."""
        self.stop(signal.SIGQUIT if crash else signal.SIGINT)
        self.start()

    def last_signal(self) -> int:
        return signal.SIGINT  # its children end with it

    def _address(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def _as_owner(self, command: list[str]) -> None:
        done = subprocess.run(
            command, cwd="/", user=self.owner(), stdout=self._log, stderr=self._log, check=False
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed; {self.folder / self.name}.log says why")


class Redis(Server):
    """A Redis that keeps nothing over its end."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        super().__init__("redis", folder, free_port(chance))
        self._program = need_redis()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def command(self) -> list[str]:
        keep_nothing = ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        return [self._program, "--bind", "127.0.0.1", "--port", str(self.port), *keep_nothing]

    def answers(self) -> bool:
        return self._ask(lambda client: bool(client.ping()))

    def flush(self) -> None:
        """FLUSHALL."""
        self._ask(lambda client: bool(client.flushall()))

    def _ask(self, ask: Callable[[redis.Redis], bool]) -> bool:
        try:
            with redis.Redis(port=self.port, socket_timeout=2) as client:
                return ask(client)
        except redis.RedisError:
            return False
