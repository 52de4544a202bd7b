"""What finding and deciding cost as a rulebook grows: every figure and its peer are measured in this run.

    .venv/bin/python benchmarks/rule_index.py [--rules 100000]

Goals: candidates among 100,000 rules cost at most 4 times what 100 rules cost, and are found at least
300 times faster than by asking every rule. Times are the median of rounds, in microseconds a message.
"""

import argparse
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bot.registry import members
from rules.engine import decide
from rules.facts import Facts
from rules.model import CONDITIONS, Rulebook, load
from rules.pattern import compile_regex

AT = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)


def word(number: int) -> str:
    """A made-up keyword of four characters; two numbers never share one, nor is one inside another."""
    high, low = divmod(number, 4_000)
    return "要" + chr(0x5200 + low) + chr(0x6300 + high) + "吗"


def body(count: int) -> dict[str, Any]:
    """70 % exact, 28 % contains, 2 % regex (at most 1,000), 50 or 1 % without text, whatever is less."""
    others = min(50, count // 100)
    expressions = min(1000, count * 2 // 100)
    exact = count * 70 // 100
    rules: list[dict[str, Any]] = []
    for number in range(count):
        if number < others:
            when = [without_text(number)]
        elif number < others + expressions:
            when = [{"text_regex": {"pattern": rf"{word(number)}(\d+)号?"}}]
        elif number < others + expressions + exact:
            when = [{"text_is": {"any": [word(number)]}}]
        else:
            when = [{"text_contains": {"any": [word(number)]}}]
        rules.append(
            {
                "name": f"rule {number}",
                "when": when,
                "then": [{"reply": {"text": f"回复 {number}"}}],
            }
        )
    random.Random(7).shuffle(rules)
    return {"rules": rules, "fallback": {"reply": {"text": "没有听懂"}}}


def without_text(number: int) -> dict[str, Any]:
    """Menus, QR codes, pictures, and one rule in ten that every push must be asked about."""
    return (
        {"time_of_day": {"from": "03:00", "until": "03:30"}},
        {"message_kind": {"any": "image"}},
        {"subscribed_from": {"scene": f"shop_{number}_*"}},
        *[{"menu_key": {"any": f"M_{number}"}}] * 4,
        *[{"scan_scene": {"scene": f"code_{number}"}}] * 3,
    )[number % 10]


def messages(count: int, how_many: int) -> list[Facts]:
    """Half match nothing; the others match uniformly, alone or inside a sentence."""
    chance = random.Random(11)
    found = []
    for number in range(how_many):
        if number % 2:
            text = "请问一下你们周末几点开门呀" + str(number)
        elif number % 4:
            text = word(chance.randrange(count))
        else:
            text = f"你好，我{word(chance.randrange(count))}12号，谢谢"
        found.append(Facts(f"push {number}", "text", AT, text=text))
    return found


def timed(work: Callable[[Facts], object], pushes: list[Facts], rounds: int) -> float:
    """Microseconds a message, the median of ``rounds``."""
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        for facts in pushes:
            work(facts)
        found.append((time.perf_counter() - start) / len(pushes) * 1e6)
    return statistics.median(found)


def scan(rulebook: Rulebook) -> Callable[[Facts], list[int]]:
    """The peer: ask every rule in turn for the first that matches, without an index."""
    known = members(CONDITIONS)
    asked = [
        [(known[part.name].matches, part.params) for part in rule.when] for rule in rulebook.rules
    ]

    def candidates(facts: Facts) -> list[int]:
        return [
            position
            for position, parts in enumerate(asked)
            if all(matches(params, facts) is not None for matches, params in parts)
        ]

    return candidates


def load_timed(count: int) -> tuple[Rulebook, float]:
    document = body(count)
    start = time.perf_counter()
    rulebook = load(document)
    return rulebook, time.perf_counter() - start


def resident() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rules", type=int, default=100_000)
    many = arguments.parse_args().rules
    load(body(10))  # imports and the folding table are not what is measured
    small, _ = load_timed(100)
    costs: dict[int, float] = {}
    print(f"{'rules':>8} {'load s':>8} {'candidates µs':>14} {'decide µs':>10}")
    for count in sorted({100, 1_000, 10_000, many}):
        before = resident()
        rulebook, seconds = load_timed(count) if count != 100 else (small, 0.0)
        pushes = messages(count, 2_000)
        costs[count] = timed(rulebook.index.candidates, pushes, 9)
        whole = timed(lambda facts, held=rulebook: decide(held, facts), pushes, 9)
        most = max(len(rulebook.index.candidates(facts)) for facts in pushes)
        print(
            f"{count:>8} {seconds:>8.2f} {costs[count]:>14.2f} {whole:>10.2f}"
            f"   at most {most} candidates, resident +{resident() - before:.0f} MB"
        )
    linear = timed(scan(rulebook), messages(many, 6), 3)
    growth, gain = costs[many] / costs[100], linear / costs[many]
    print(f"\n{many:,} rules against 100: {growth:.2f} x (goal: at most 4)")
    print(f"linear scan {linear:,.0f} µs: {gain:,.0f} x slower (goal: at least 300)")
    expression = compile_regex(r"订单(\d+)")
    unit = timed(lambda facts: expression.search(facts.text), pushes, 5)
    print(f"one RE2 call costs {unit:.2f} µs on this machine: decide is {whole / unit:.1f} of them")
    tracemalloc.start()
    kept = load(body(10_000))
    print(f"10,000 rules keep {tracemalloc.get_traced_memory()[0] / 1e6:.0f} MB with their JSON")
    del kept
    return 0 if growth <= 4 and gain >= 300 else 1


if __name__ == "__main__":
    sys.exit(main())
