"""The product and the platform in one process on one stopped clock, used through their doors only.

No sockets: the gateway reaches the sandbox, and the sandbox the callback, by WSGI calls. Time moves
when a scenario says so, and ``work`` does then what scheduler and workers would do.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import sqlalchemy as sa
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from pydantic import SecretStr
from requests.adapters import HTTPAdapter
from werkzeug.test import Client, TestResponse

from bot import accounts, db, scheduler
from bot.app import create_app
from bot.cli import cli
from bot.clock import Clock, month_of, parse_moment
from bot.commands.shared import Tool
from bot.config import Config
from bot.kept import DatabaseStore
from bot.runtime import Runtime
from bot.sandbox.app import create_app as sandbox_app
from bot.sandbox.inprocess import deliver_to, mount
from bot.sandbox.platform import Platform
from bot.tables.outbox import outbox
from bot.workers import run_due
from tests import factories

# nothing listens on port 9 (discard); no socket is opened unless a scenario wants it refused
SANDBOX, PRODUCT = "http://127.0.0.1:9", "http://product.test"
WECHAT = "Mozilla/5.0 (iPhone) MicroMessenger/8.0.50"
BEGIN = "2026-11-02 09:00"  # a Monday
FAST = ("waves", "outbox", "collect", "heartbeat")

Json = dict[str, Any]


class OnStage(Tool):
    """The command line on the scenario's database and clock; other ``environ`` changes nothing there."""

    def __init__(self, rt: Runtime) -> None:
        self._rt = rt

    config = property(lambda self: self._rt.config)  # type: ignore[assignment]
    engine = property(lambda self: self._rt.engine)  # type: ignore[assignment]
    runtime = property(lambda self: self._rt)  # type: ignore[assignment]

    def now(self) -> datetime:
        return self._rt.clock()


@dataclass
class Lost:
    """The wire to the callback: the next ``answers`` are lost after the push was handled."""

    app: Any
    answers: int = 0
    requests: int = 0  # the next so many never arrive
    pushed: list[str] = field(default_factory=list)

    def __call__(self, url: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        self.pushed.append(urlsplit(url).path)
        if self.requests:
            self.requests -= 1
            raise ConnectionError("nobody listens")
        answer = deliver_to(self.app)(url, body, content_type)
        if self.answers:
            self.answers -= 1
            raise ConnectionError("the answer was lost")
        return answer


class World:
    def __init__(self, engine: sa.Engine, url: str, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock(frozen_at=parse_moment(BEGIN))
        self.platform = Platform(":memory:", self.clock)
        self.sandbox = sandbox_app(self.platform)
        self.http = requests.Session()
        self.http.trust_env = False
        self.platform_up()
        self.rt = self.runtime(engine, url)
        self.product = create_app(self.rt.config, self.rt)
        self.wire = Lost(self.product)
        self.platform.deliver = self.wire
        self.bell = scheduler.Bell(self.rt)

    def runtime(self, engine: sa.Engine, url: str) -> Runtime:
        """A product on a database, on this clock, beside this platform."""
        config = Config(
            database_url=url,
            secret_key=SecretStr(factories.SECRET_KEY),
            base_url=PRODUCT,
            wechat_oauth_base=SANDBOX,
        )
        return Runtime(
            config,
            engine,
            db.GroupWriter(engine),
            self.clock,
            DatabaseStore(engine, self.clock),
            http=lambda: self.http,
        )

    def move_to(self, rt: Runtime) -> None:
        """From now on the scenario plays on another installation."""
        self.rt.writer.close()
        self.rt = rt
        self.product = create_app(rt.config, rt)
        self.wire = Lost(self.product)
        self.platform.deliver = self.wire
        self.bell = scheduler.Bell(rt)
        self.__dict__.pop("client", None)

    def platform_down(self) -> None:
        """Nobody listens at the platform's address: real connections, really refused."""
        self.http.mount(SANDBOX, HTTPAdapter())

    def platform_up(self) -> None:
        mount(self.http, SANDBOX, self.sandbox)

    # the command line

    def cli(self, *arguments: str, text: str | None = None, **environ: str) -> Result:
        """``qunfen …`` on this installation, in English unless ``LC_ALL`` says otherwise."""
        environ = {"LC_ALL": "en_US.UTF-8", **environ}
        return CliRunner().invoke(cli, arguments, input=text, env=environ, obj=OnStage(self.rt))

    def ok(self, *arguments: str, text: str | None = None, **environ: str) -> str:
        result = self.cli(*arguments, text=text, **environ)
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        return result.stdout

    def told(self, *arguments: str) -> Any:
        """What a command prints as JSON."""
        return json.loads(self.ok(*arguments, "--json"))

    def fails(self, *arguments: str, **environ: str) -> str:
        result = self.cli(*arguments, **environ)
        assert result.exit_code == 1, (arguments, result.output)
        assert isinstance(result.exception, SystemExit), result.exception
        return result.stderr

    # accounts

    def connect(
        self,
        slug: str = "muyan",
        *,
        app_id: str = factories.APP_ID,
        kind: str = "service",
        verified: bool = True,
        mode: str = "safe",
        opening: bool = True,
        token: str = factories.TOKEN,
        **options: Any,
    ) -> None:
        """An account on the platform and, by the command line, here."""
        original_id = f"gh_{slug}0000"[:15].replace("_", "0").replace("gh0", "gh_", 1)
        self.platform.add_account(
            app_id,
            factories.APP_SECRET,
            token,
            factories.AES_KEY,
            original_id,
            kind=kind,
            verified=verified,
            callback_url=f"{PRODUCT}/callback/{slug}",
            mode=mode,
            options=options,
        )
        self.ok(
            "account", "add", slug, "--name", slug, "--app-id", app_id, "--kind", kind,
            "--verified" if verified else "--unverified", "--mode", mode,
            "--original-id", original_id, "--app-secret", "env:S", "--token", "env:T",
            "--aes-key", "env:K", "--sandbox", SANDBOX,
            S=factories.APP_SECRET, T=token, K=factories.AES_KEY,
        )  # fmt: skip
        if opening:
            self.ok("account", "opening", slug, "--sent-to-all", "0")

    def apply(self, slug: str = "muyan", **parts: Any) -> str:
        """Apply an account file of these parts."""
        return self.ok("apply", str(self.file(slug, **parts)))

    def file(self, slug: str = "muyan", **parts: Any) -> Path:
        path = self.folder / f"{slug}.yaml"
        account = {"slug": slug, **parts.pop("account", {})}
        # JSON is YAML
        document = {"version": 1, "account": account, **parts}
        path.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
        return path

    # time

    def work(self) -> None:
        """What scheduler and workers would do now, until nothing is left to do."""
        for _ in range(200):
            self.bell.ring()
            for name in FAST:
                scheduler.tick(self.rt, name, self.clock())
            if run_due(self.rt) + self.platform.run_due() == 0:
                return
        raise AssertionError("the work never ends")

    def go_to(self, moment: str | datetime) -> None:
        self.clock.frozen_at = parse_moment(moment)
        self.work()

    def pass_time(self, steps: int = 5, **step: float) -> None:
        """Let time pass in steps, of a minute unless said otherwise, working at each."""
        for _ in range(steps):
            self.go_to(self.clock() + timedelta(**(step or {"minutes": 1})))

    # followers

    def crowd(self, count: int, *, slug: str = "muyan", first: int = 1, **values: Any) -> list[str]:
        """Followers who were there before, brought here by ``qunfen followers sync``."""
        people = [factories.open_id(number) for number in range(first, first + count)]
        app_id = self.app_id(slug)
        long_ago = self.clock().timestamp() - 40 * 86_400
        self.platform.add_followers(
            app_id, [{"open_id": one, "subscribe_time": long_ago, **values} for one in people]
        )
        self.ok("followers", "sync", slug)
        return people

    def say(self, who: int | str, text: str, slug: str = "muyan") -> str:
        """Write a text; what the follower reads at once."""
        return self.reply(self.platform.say(self.app_id(slug), named(who), text))

    def follow(self, who: int | str, scene: str | None = None, slug: str = "muyan") -> str:
        return self.reply(self.platform.follow(self.app_id(slug), named(who), scene))

    def scan(self, who: int | str, scene: str, slug: str = "muyan") -> str:
        return self.reply(self.platform.scan(self.app_id(slug), named(who), scene))

    def tap(self, who: int | str, key: str, slug: str = "muyan") -> str:
        return self.reply(self.platform.tap(self.app_id(slug), named(who), key))

    def leave(self, who: int | str, slug: str = "muyan") -> None:
        assert self.platform.leave(self.app_id(slug), named(who))["outcome"] == "empty"

    def reply(self, came: Json) -> str:
        assert came["outcome"] in ("answered", "empty"), came
        reply = came["reply"] or {}
        return str(reply.get("text", reply.get("type", "")))

    def received(self, who: int | str, way: str | None = None, slug: str = "muyan") -> list[str]:
        """Texts (or kinds) in a follower's chat, by way if one is given."""
        return [
            str(item["content"].get("text", item["content"]["type"]))
            for item in self.platform.received(self.app_id(slug), named(who))
            if way in (None, item["way"])
        ]

    def counts(self, slug: str = "muyan", month: str | None = None) -> dict[str, int]:
        """The platform's own count of the mass messages of a month."""
        return self.platform.mass_counts(self.app_id(slug), month or month_of(self.clock()))

    # looking

    def app_id(self, slug: str = "muyan") -> str:
        with db.reading(self.rt.engine) as session:
            return accounts.get(session, slug).app_id

    def account_id(self, slug: str = "muyan") -> int:
        with db.reading(self.rt.engine) as session:
            return accounts.get(session, slug).id

    def rows(self, query: Any) -> list[Any]:
        with db.reading(self.rt.engine) as session:
            return list(session.execute(query).all())

    def runs(self, name: str, slug: str = "muyan") -> list[Json]:
        """The runs of a campaign as the command line shows them, newest first."""
        return list(self.told("campaigns", "show", slug, name)["runs"])

    def run(self, name: str, slug: str = "muyan") -> Json:
        return self.runs(name, slug)[0]

    def outbox(self, channel: str | None = None) -> list[Any]:
        query = sa.select(outbox).order_by(outbox.c.id)
        return self.rows(query if channel is None else query.where(outbox.c.channel == channel))

    def check_ledger(self, slug: str = "muyan", month: str | None = None) -> None:
        """Platform ≤ charged ≤ 4 for everybody, and the counters agree with the deliveries."""
        month = month or month_of(self.clock())
        assert "agrees" in self.ok("ledger", "check", slug, "--month", month)
        charged = self.charged(slug, month)
        for who, got in self.counts(slug, month).items():
            assert got <= charged.get(who, 0) <= 4, who
        assert max(charged.values(), default=0) <= 4

    def charged(self, slug: str = "muyan", month: str | None = None) -> dict[str, int]:
        rows = self.rows(
            sa.text(
                "SELECT f.open_id, l.reserved + l.spent AS n FROM mass_ledger l"
                " JOIN followers f ON f.id = l.follower_id"
                " WHERE l.account_id = :account AND l.month = :month"
            ).bindparams(account=self.account_id(slug), month=month or month_of(self.clock()))
        )
        return {row.open_id: row.n for row in rows}

    # the web

    @cached_property
    def client(self) -> FlaskClient:
        return self.product.test_client()

    def home(self, slug: str = "muyan") -> str:
        """The home page of the console, by an operator who logs in."""
        if "Ann" not in {one["name"] for one in self.told("operator", "list")}:
            self.ok(
                "operator", "add", "Ann", "--role", "lead", "--password-stdin",
                text="correct horse battery\n",
            )  # fmt: skip
        form = self.client.get("/console/login").get_data(as_text=True)
        mark = form.split('name="csrf_token" value="')[1].split('"')[0]
        given = {"name": "Ann", "password": "correct horse battery", "csrf_token": mark}
        assert self.client.post("/console/login", data=given).status_code == 302
        page = self.client.get(f"/console/{slug}/")
        assert page.status_code == 200
        return page.get_data(as_text=True)

    def browser(self) -> "Browser":
        return Browser(self)


class Browser:
    """A browser with its own cookies, on the product and on the platform's authorisation page."""

    def __init__(self, world: World, agent: str = WECHAT) -> None:
        self.agent = agent
        self._clients = {
            urlsplit(PRODUCT).netloc: Client(world.product),
            urlsplit(SANDBOX).netloc: Client(world.sandbox),
        }

    def open(self, url: str, who: str = "", **more: Any) -> TestResponse:
        """One request, redirects not followed; ``who`` is logged in to this WeChat."""
        parts = urlsplit(url)
        query = parts.query
        if who and parts.netloc == urlsplit(SANDBOX).netloc:
            query += f"&persona={who}"
        headers = {"User-Agent": self.agent} | more.pop("headers", {})
        return self._clients[parts.netloc].open(
            parts.path,
            query_string=query + more.pop("query", ""),
            headers=headers,
            base_url=f"{parts.scheme}://{parts.netloc}",
            **more,
        )

    def follow(self, url: str, who: str = "", query: str = "") -> str:
        """Where a link ends; ``query`` is added on the platform's page, such as ``&snapshot=1``."""
        for _ in range(6):
            netloc = urlsplit(url).netloc
            if netloc not in self._clients:
                return url
            on_platform = netloc == urlsplit(SANDBOX).netloc
            answer = self.open(url, who, query=query if on_platform else "")
            if answer.status_code != 302:
                return f"{answer.status_code}"
            url = answer.headers["Location"]
        raise AssertionError("the link goes round in circles")


def named(who: int | str) -> str:
    return factories.open_id(who) if isinstance(who, int) else who
