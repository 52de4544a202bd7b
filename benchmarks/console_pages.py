"""Every page of the console with a million followers and two million pushes: time, HTML, script and style.

    python benchmarks/console_pages.py [--database URL] [--followers 1000000] [--keep FILE] [--only WORD] [--why]

Without a URL: SQLite (``--keep`` names a file that is filled once and used again; a filled PostgreSQL database is
used again too, ``--fill`` starts afresh). Asks every GET page of the url map by the Flask test client, logged in as
administrator and as lead: as it opens, and, of a list, its search, its filters, its orders and its next page.
Limits: p95 200 ms (PostgreSQL) or 400 ms (SQLite), 60 KB of HTML, 250 KB of compressed script and style without
charts. Exit 1 when one is broken. ``--why`` prints the slowest statement of each slow page. At the end stands the
table by group of pages, as docs/performance.md has it.
"""

import argparse
import gzip
import math
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.routing import BuildError, Rule

from benchmarks import _million
from bot import db, operators
from bot.app import create_app, settled
from bot.clock import now
from bot.config import Config
from bot.console.blueprint import STATIC
from bot.runtime import build
from bot.scheduler import tick
from bot.tables import metadata
from bot.tables.operators import operators as operators_table
from bot.workers import run_due

SECRET_KEY = "a-secret-key-for-benchmarks"
LIMIT_MS = {"postgresql": 200.0, "sqlite": 400.0}
HTML_KB, ASSETS_KB = 60.0, 250.0
WORDS = ("优惠", "张伟1", "zw", "shop-12")  # what is searched for
CHARTS = ("vendor/echarts.js",)
TIMES = 20
COUNTING = (
    "rollup",
    "rule_hits",
    "figures",
    "tag_counts",
    "optimize",
)  # jobs a running product has run
SHOWN = 500  # characters of a statement
ALL_OF = 3  # a filter with so few values is asked for each
GROUPS = {  # the first word of a page's address inside an account, to its row of the table
    "": "home",
    "todo": "home",
    "followers": "followers",
    "tags": "tags",
    "messages": "conversations",
    "scenes": "QR channels",
    "rules": "rules",
    "rulebooks": "rules",
    "unmatched": "unmatched messages",
    "menus": "menus",
    "audit": "audit log",
}
OTHER = "settings, jobs, people, keys"


@dataclass
class Measured:
    address: str
    role: str
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(
        default_factory=list
    )  # of this process: what a busy machine does not blur
    html: int = 0
    assets: int = 0
    status: int = 0
    kind: str = ""
    slowest: str = ""

    def quantile(self, share: float) -> float:
        found = sorted(self.seconds)
        return 1000 * found[max(0, math.ceil(share * len(found)) - 1)]  # nearest rank


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--followers", type=int, default=1_000_000)
    parser.add_argument("--database", default="")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--fill", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--times", type=int, default=TIMES)
    parser.add_argument("--why", action="store_true")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = wanted.keep or Path(folder) / "million.db"
        url = wanted.database or f"sqlite:///{path}"
        engine = db.make_engine(url)
        if wanted.fill or not sa.inspect(engine).has_table("followers"):
            started = time.perf_counter()
            size = _million.Size(wanted.followers, 2 * wanted.followers)
            _million.fill(engine, size, now(), SECRET_KEY)
            print(f"filled in {time.perf_counter() - started:.0f} s", file=sys.stderr)
        found = list(measure(url, engine, wanted.only, wanted.times))
        engine.dispose()
    return report(found, LIMIT_MS[engine.dialect.name], why=wanted.why)


def measure(url: str, engine: sa.Engine, only: str, times: int) -> Iterator[Measured]:
    """Every page as the administrator and, as it opens, as a lead."""
    rt = build(Config(database_url=url, secret_key=SecretStr(SECRET_KEY)))
    app = settled(create_app(rt.config, rt))
    for job in COUNTING:
        tick(rt, job, rt.clock())
    while run_due(rt):
        pass
    told: list[tuple[float, str]] = []
    _listen(rt.engine, told)
    samples = _samples(engine)
    for role in ("admin", "lead"):
        client = _browser(app, engine, role)
        for address in _pages(app, samples):
            if only and only not in address:
                continue
            opened = _ask(client, address, role, times, told)
            yield opened
            if role == "admin" and opened.kind == "text/html":
                text = client.get(address).get_data(as_text=True)
                for variant in _variants(address, text):
                    yield _ask(client, variant, role, times, told)
    rt.close()


def _ask(
    client: FlaskClient, address: str, role: str, times: int, told: list[tuple[float, str]]
) -> Measured:
    found = Measured(address, role)
    for number in range(times + 1):
        told.clear()
        started, cpu = time.perf_counter(), time.process_time()
        answer = client.get(address)
        body = answer.get_data()
        if number:  # the first compiles templates and statements
            found.seconds.append(time.perf_counter() - started)
            found.cpu.append(time.process_time() - cpu)
        found.status, found.kind = answer.status_code, answer.mimetype
        if told:
            seconds, statement = max(told)
            found.slowest = (
                f"{len(told)} statements, the slowest {1000 * seconds:.0f} ms: {statement}"
            )
        if answer.status_code != 200 or found.kind != "text/html" or sum(found.seconds) > 15:
            break
    found.html = len(body) if found.kind == "text/html" else 0
    found.assets = _assets(body.decode()) if found.html else 0
    return found


def _listen(engine: sa.Engine, told: list[tuple[float, str]]) -> None:
    @sa.event.listens_for(engine, "before_cursor_execute")
    def before(connection: Any, *_: Any) -> None:
        connection.info["began"] = time.perf_counter()

    @sa.event.listens_for(engine, "after_cursor_execute")
    def after(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        spent = time.perf_counter() - connection.info["began"]
        told.append((spent, re.sub(r"\s+", " ", statement)))


def _browser(app: Flask, engine: sa.Engine, role: str) -> FlaskClient:
    name = f"bench-{role}"
    with db.writing(engine) as session:
        session.execute(sa.delete(operators_table).where(operators_table.c.name == name))
        password = operators.add(session, name, role, now())
    client = app.test_client()
    page = client.get("/console/login").get_data(as_text=True)
    mark = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert mark, "the login page has no form"
    sent = {"name": name, "password": password, "csrf_token": mark[1]}
    assert client.post("/console/login", data=sent).status_code == 302
    return client


def _pages(app: Flask, samples: dict[str, Any]) -> list[str]:
    """The address of every GET page of the console, with sample ids."""
    found = []
    builder = app.url_map.bind("localhost")
    for rule in sorted(app.url_map.iter_rules(), key=lambda one: one.rule):
        if not _is_page(rule):
            continue
        values = {name: samples.get(name) for name in rule.arguments}
        missing = [name for name, value in values.items() if value is None]
        if missing:
            print(f"not asked, no sample of {missing}: {rule.rule}", file=sys.stderr)
            continue
        try:
            found.append(builder.build(rule.endpoint, values))
        except BuildError as problem:
            print(f"not asked: {rule.rule}: {problem}", file=sys.stderr)
    return found


def _is_page(rule: Rule) -> bool:
    return (
        rule.endpoint.startswith("console.")
        and "GET" in (rule.methods or ())
        and rule.endpoint not in ("console.static", "console.login", "console.logout")
    )


def _samples(engine: sa.Engine) -> dict[str, Any]:
    """A value for each name in an address: ``rule_id`` is a row of ``rules``, and so on."""
    found: dict[str, Any] = {"slug": _million.SLUG, "number": 11, "other": 12, "form": "png"}
    with db.reading(engine) as session:
        for table in metadata.sorted_tables:
            if "id" not in table.c:
                continue
            # an id from the middle: neither the newest nor the emptiest
            most = session.execute(sa.select(sa.func.max(table.c.id))).scalar()
            row = session.execute(
                sa.select(table).where(table.c.id >= (most or 0) // 2).order_by(table.c.id).limit(1)
            ).one_or_none()
            if row is not None:
                found[f"{_single(table.name)}_id"] = row.id
                for name in ("key", "name"):
                    if name in table.c:
                        found.setdefault(f"{_single(table.name)}_{name}", getattr(row, name))
    for alias, name in (
        ("push_id", "inbound_id"), ("id", "follower_id"), ("key", "scene_key"), ("name", "rule_name"),
        ("operator_id", "operator_id"), ("first", "number"), ("second", "other"), ("old", "number"),
        ("new", "other"), ("canned_id", "canned_answer_id"), ("token_id", "api_token_id"),
    ):  # fmt: skip
        found.setdefault(alias, found.get(name))
    return found


def _single(table: str) -> str:
    return table.removesuffix("s")


def _variants(address: str, html: str) -> Iterator[str]:
    """What a list offers: its search, each of its filters, its orders, its next page."""
    path = urlsplit(address).path
    forms = re.findall(r"<form[^>]*method=\"get\".*?</form>", html, re.S | re.I)
    for form in forms:
        if re.search(r'name="q"', form):
            yield from (f"{path}?{urlencode({'q': word})}" for word in WORDS)
        for name, options in re.findall(
            r'<select[^>]*name="([^"]+)".*?>(.*?)</select>', form, re.S
        ):
            values = [unescape(one) for one in re.findall(r'value="([^"]+)"', options)]
            some = values if len(values) <= ALL_OF else values[len(values) // 2 :][:1]
            yield from (f"{path}?{urlencode({name: value})}" for value in some)
    links = {unescape(one) for one in re.findall(r'href="([^"]+)"', html)}
    seen = set()
    for link in sorted(links):
        parts = urlsplit(link)
        names = tuple(sorted(dict(parse_qsl(parts.query))))
        asked = parse_qsl(parts.query)
        if parts.path not in ("", path) or not asked or any(name == "format" for name, _ in asked):
            continue
        kind = tuple(pair for pair in asked if pair[0] == "sort") or names
        if kind not in seen and any(name in ("sort", "after", "page") for name, _ in asked):
            seen.add(kind)
            yield f"{path}?{parts.query}"


def _assets(html: str) -> int:
    """Bytes of script and style of a page as they travel, without charts."""
    named = re.findall(r'<(?:script[^>]* src|link[^>]*rel="stylesheet"[^>]* href)="([^"]+)"', html)
    wanted = {_file(unescape(one)) for one in named}
    return sum(_packed(name) for name in _imported(frozenset(wanted)) if name not in CHARTS)


def _file(address: str) -> str:
    return urlsplit(address).path.removeprefix("/console/static/")


@cache
def _imported(names: frozenset[str]) -> frozenset[str]:
    found, todo = set(), list(names)
    while todo:
        name = todo.pop()
        if name in found or not (STATIC / name).is_file():
            continue
        found.add(name)
        if name.endswith(".js") and not name.startswith("vendor/"):
            text = (STATIC / name).read_text()
            todo += [one.removeprefix("./") for one in re.findall(r'from "(\./[^"?]+)', text)]
    return frozenset(found)


@cache
def _packed(name: str) -> int:
    packed = STATIC / f"{name}.gz"
    if packed.is_file():
        return packed.stat().st_size
    return len(gzip.compress((STATIC / name).read_bytes()))


def report(found: list[Measured], limit: float, *, why: bool) -> int:
    broken = 0
    print(f"{'p50':>6} {'p95':>6} {'CPU':>6} {'HTML':>6} {'assets':>6}  page (ms, ms, ms, KB, KB)")
    for one in sorted(found, key=lambda one: -one.quantile(0.95) if one.seconds else 0):
        if not one.seconds:
            print(f"{one.status:>6} {'':>20}  {one.role} {one.address}")
            broken += one.status >= 500
            continue
        is_page = one.kind == "text/html" and one.status == 200
        wrong = [
            word
            for word, bad in (
                ("SLOW", is_page and one.quantile(0.95) > limit),
                ("LONG", is_page and one.html > HTML_KB * 1024),
                ("HEAVY", is_page and one.assets > ASSETS_KB * 1024),
                (str(one.status), one.status not in (200, 302)),
            )
            if bad
        ]
        broken += bool(wrong)
        print(
            f"{one.quantile(0.5):6.0f} {one.quantile(0.95):6.0f} "
            f"{1000 * statistics.median(one.cpu):6.0f} {one.html / 1024:6.1f} "
            f"{one.assets / 1024:6.0f}  {one.role} {one.address} {' '.join(wrong)}"
        )
        if why and one.quantile(0.95) > limit / 2:
            print(f"         {one.slowest}")
    pages = [one for one in found if one.kind == "text/html" and one.status == 200 and one.seconds]
    if pages:
        print("\n".join(_table(pages)))
        print(
            f"{len(pages)} pages and variants, worst p95 {max(p.quantile(0.95) for p in pages):.0f} ms of {limit:.0f}, "
            f"largest HTML {max(p.html for p in pages) / 1024:.0f} KB of {HTML_KB:.0f}, "
            f"most script and style {max(p.assets for p in pages) / 1024:.0f} KB of {ASSETS_KB:.0f}; {broken} broken"
        )
    return 1 if broken else 0


def _table(pages: list[Measured]) -> Iterator[str]:
    """p50 and p95 of all requests of a group of pages, its slowest page, its CPU, its largest HTML."""
    yield "| pages | asked | p50 ms | p95 ms | slowest page, p95 ms | CPU ms | HTML KB |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    groups: dict[str, list[Measured]] = {name: [] for name in (*GROUPS.values(), OTHER)}
    for one in pages:
        groups[_group(one.address)].append(one)
    for name, listed in (*groups.items(), ("all", pages)):
        if not listed:
            continue
        together = Measured("", "", [second for one in listed for second in one.seconds])
        cpu = statistics.median(second for one in listed for second in one.cpu)
        yield (
            f"| {name} | {len(listed)} | {together.quantile(0.5):.0f} | {together.quantile(0.95):.0f} "
            f"| {max(one.quantile(0.95) for one in listed):.0f} | {1000 * cpu:.0f} "
            f"| {max(one.html for one in listed) / 1024:.0f} |"
        )


def _group(address: str) -> str:
    words = urlsplit(address).path.split("/")  # "", "console", slug, word
    inside = len(words) > 3 and words[2] == _million.SLUG
    return GROUPS.get(words[3], OTHER) if inside else OTHER


if __name__ == "__main__":
    sys.exit(main())
