"""Where the CPU of one push goes: signature, decryption, parsing, rules, database, encryption, framework.

In process, one thread, safe mode, SQLite; half of the texts match one of the keywords, as in
``callback_vs_werobot``. Microseconds are CPU time of this machine now: read the shares.

    python -m benchmarks.push_cost [--rules 1000] [--pushes 2000]
"""

import argparse
import hashlib
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from werkzeug.test import EnvironBuilder

from bot import db, migrate, rulebook
from bot.app import create_app
from bot.clock import Clock
from bot.config import Config
from bot.kept import DatabaseStore
from bot.receive import receive
from bot.runtime import Runtime
from bot.wechat import callback
from bot.wechat.message import from_fields
from bot.wechat.parsing import parse_body
from rules.engine import decide
from rules.facts import Facts
from tests import factories, pushes


class _Catch:
    """Takes what the test helper would post, and keeps the WSGI environment instead."""

    def post(self, path: str, **given: Any) -> EnvironBuilder:
        return EnvironBuilder(path, method="POST", **given)


def timed(work: Callable[[Any], Any], items: list[Any]) -> tuple[float, list[Any]]:
    """(CPU microseconds an item, results)."""
    began = time.process_time()
    results = [work(item) for item in items]
    return (time.process_time() - began) / len(items) * 1e6, results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rules", type=int, default=1000)
    parser.add_argument("--pushes", type=int, default=2000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report(Path(folder), given.rules, given.pushes)


def report(folder: Path, rules: int, count: int) -> None:
    now = factories.at("2025-03-03 09:00")
    url = f"sqlite:///{folder / 'cost.db'}"
    engine = db.make_engine(url)
    migrate.upgrade(engine)
    with db.writing(engine) as session:
        account_id = factories.make_account(session, now=now)
        factories.make_tag(session, account_id, "问过")
        rulebook.publish(session, account_id, body(rules), by="bench", note="", now=now)
    config = Config(database_url=url, secret_key=SecretStr(factories.SECRET_KEY))
    clock = Clock(frozen_at=now)
    rt = Runtime(config, engine, db.GroupWriter(engine), clock, DatabaseStore(engine, clock))
    app = create_app(config, rt)
    known = rt.known("muyan")

    def environs(first: int) -> list[dict[str, Any]]:
        chance = random.Random(first)
        made = []
        for number in range(first, first + count):
            text = f"关键词{chance.randrange(rules)}" if number % 2 else f"随便说说{number}"
            push = pushes.text(text, chance.randrange(1, 500), number=number, at=now)
            made.append(pushes.post(_Catch(), push, at=now).get_environ())  # type: ignore[arg-type,attr-defined]
        return made

    def serve(environ: dict[str, Any]) -> None:
        list(app.wsgi_app(environ, lambda *_args: None))

    timed(serve, environs(1))  # warm
    whole, _ = timed(serve, environs(count + 1))

    inputs = []
    for environ in environs(2 * count + 1):
        query = dict(part.split("=", 1) for part in environ["QUERY_STRING"].split("&"))
        query["msg_signature"] = query.get("msg_signature", "")
        inputs.append((query, environ["wsgi.input"].read()))
    opened, messages = timed(
        lambda item: callback.open_push(known.credentials, item[0], item[1], now, 600), inputs
    )
    plain = [
        pushes.text(f"随便说说{number}", number % 500 + 1, number=number, at=now).encode()
        for number in range(count)
    ]
    parsed, _ = timed(lambda raw: from_fields(parse_body(raw), now), plain)
    signatures, _ = timed(
        lambda item: hashlib.sha1("".join(sorted(item[0].values())).encode()).hexdigest(), inputs
    )
    received, answers = timed(lambda message: receive(rt, known.account, message), messages)
    with db.reading(engine) as session:
        book = rt.rulebooks.current(session, account_id)
    facts = [Facts("k", "text", now, text=message.text("Content")) for message in messages]
    decided, _ = timed(lambda fact: decide(book, fact), facts)
    sealed, _ = timed(
        lambda pair: callback.seal_reply(
            known.credentials, pair[0], pair[1].content, now, "n", True
        ),
        list(zip(messages, answers, strict=True)),
    )
    lines = [
        ("signatures (two SHA-1)", 2 * signatures),
        ("parse (twice: envelope and message)", 2 * parsed),
        ("decrypt and checks", opened - 2 * signatures - 2 * parsed),
        ("rules", decided),
        ("database: record, handle, carry out, commit", received - decided),
        ("encrypt the reply (half of them)", sealed),
        ("framework", whole - opened - received - sealed),
        ("whole push", whole),
    ]
    for name, cost in lines:
        print(f"{name:<46}{cost:>8.0f} µs {cost / whole:>6.0%}")


def body(rules: int) -> dict[str, Any]:
    return {
        "rules": [
            {
                "name": f"规则{number}",
                "when": [{"text_is": {"any": [f"关键词{number}"]}}],
                "then": [{"add_tag": {"tags": ["问过"]}}, {"reply": {"text": f"回答{number}"}}],
            }
            for number in range(rules)
        ],
        "fallback": None,
    }


if __name__ == "__main__":
    main()
