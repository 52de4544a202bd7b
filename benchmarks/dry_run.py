"""How long a draft takes to try 100,000 stored pushes, reading them included.

    .venv/bin/python benchmarks/dry_run.py [--pushes 100000] [--url postgresql+psycopg://...]

Goal: at most 20 seconds. The rules are the demo brand's, the draft takes one word away and gives one
rule to the top; the pushes are stored rows as the callback writes them, half of them words of followers.
Without --url a SQLite file in a temporary folder is used; a PostgreSQL database must be empty.
"""

import argparse
import random
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import sqlalchemy as sa
import yaml

import bot.demo
from bot import db, migrate, rule_trials, rulebook
from bot.tables.inbox import inbound
from rules.engine import decide
from rules.facts import Facts
from rules.model import dump, load
from tests import factories

LIMIT = 20.0  # seconds
NOW = datetime(2025, 11, 24, 2, 0, tzinfo=UTC)
SAID = (
    "我想要优惠券", "优惠券过期了怎么办", "面膜多少钱", "在吗", "门店地址在哪", "奈雪的活动", "1", "2", "过敏了",
    "谢谢", "你好，请问怎么参加活动呀", "防晒推荐一下", "人工", "肤质测试", "我的快递到哪了",
)  # fmt: skip
CHUNK = 5_000


def stored(number: int, account_id: int, rules: Any) -> dict[str, Any]:
    """A row as the callback leaves it."""
    chance = random.Random(number)
    at = NOW - timedelta(seconds=30 * number)
    kind = chance.choice(("text", "text", "menu_click", "scan"))
    facts = Facts(
        f"{account_id}:bench:{number}",
        kind,
        at,
        follower_id=chance.randrange(1, 20_000),
        text=chance.choice(SAID) if kind == "text" else "",
        key="M_COUPON" if kind == "menu_click" else "",
        scene="store_01" if kind == "scan" else "",
        tags=frozenset(chance.sample(("微博来源", "活动敏感", "喜欢互动", "会员"), 2)),
        fields={"城市": "上海", "肤质": "干性"},
    )
    decision = decide(rules, facts)
    return {
        "account_id": account_id,
        "dedupe_key": facts.push_key,
        "kind": kind,
        "message": {"kind": kind, "open_id": "o_bench", "fields": {"Content": facts.text}},
        "sent_at": at,
        "received_at": at,
        "status": "done",
        "facts": facts.to_json(),
        "rules": list(decision.rules),
        "trace": dict(decision.trace),
    }


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pushes", type=int, default=100_000)
    arguments.add_argument("--url", default="")
    given = arguments.parse_args()
    file = yaml.safe_load(Path(bot.demo.__file__).with_name("brand.yaml").read_text())
    body = dump(load({"rules": file["rules"], "fallback": file["fallback"]}))
    draft = {**body, "rules": [body["rules"][4], *body["rules"][:4], *body["rules"][5:]]}
    rules = load(body)
    with tempfile.TemporaryDirectory() as folder:
        engine = db.make_engine(given.url or f"sqlite:///{folder}/bench.db")
        migrate.upgrade(engine)
        with db.writing(engine) as session:
            account_id = factories.make_account(session, now=NOW)
            rulebook.publish(session, account_id, body, by="bench", note="", now=NOW)
        for first in range(0, given.pushes, CHUNK):
            numbers = range(first, min(first + CHUNK, given.pushes))
            with db.writing(engine) as session:
                session.execute(
                    sa.insert(inbound), [stored(number, account_id, rules) for number in numbers]
                )
        with db.writing(engine) as session:
            run_id = rule_trials.begin(
                session, account_id, draft, given.pushes, by="bench", now=NOW
            )
        start = time.perf_counter()
        arguments_: Any = {"dry_run_id": run_id}
        steps = 0
        while arguments_ is not None:
            arguments_ = rule_trials.step(engine, account_id, 1, arguments_, NOW)
            steps += 1
        seconds = time.perf_counter() - start
        with db.reading(engine) as session:
            trial = rule_trials.get(session, account_id, run_id)
        assert trial is not None
        summary = trial.summary
        print(
            f"{summary['pushes']:,} pushes on {engine.dialect.name}: {seconds:.1f} s in {steps} step(s)"
            f" (limit {LIMIT:.0f} s), {seconds / summary['pushes'] * 1e6:.0f} µs a push"
        )
        print(f"{summary['changed']:,} changed, {summary['people']:,} people")
        engine.dispose()
    return 0 if seconds <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
