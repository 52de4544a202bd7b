"""How long the overlap check of a large rulebook takes: shadowed, conflicting and dead rules, each with an example.

    .venv/bin/python benchmarks/rule_overlap.py [--rules 5000]

Goal: 5,000 rules in at most 5 seconds, every planted overlap found and nothing else. The rulebook is
that of benchmarks/rule_index.py (exact words, contained words, expressions, menus, codes) and a planted
overlap in every hundredth rule; a second one is made of what is hard: expressions and rules without words.
"""

import argparse
import random
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.rule_index import body, word
from rules.model import load
from rules.overlap import Finding, find
from rules.text import fold_words

LIMIT = 5.0  # seconds
NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
Rules = list[dict[str, Any]]


def planted(count: int) -> tuple[Rules, set[str]]:
    """``count`` rules, and the names of those that an earlier one takes the words of."""
    rules: Rules = [
        rule for rule in body(2 * count)["rules"] if "time_of_day" not in rule["when"][0]
    ]
    rules = [rule for rule in rules if rule["when"] != [{"message_kind": {"any": "image"}}]]
    # 励 and 勵 are one word: rules with a traditional letter would hide their twins
    rules = [rule for rule in rules if fold_words(str(rule["when"])) == str(rule["when"]).lower()]
    rules = rules[: count - count // 100]
    chance = random.Random(3)
    with_words = [rule for rule in rules if "text_contains" in rule["when"][0]]
    hidden: Rules = []
    for number, rule in enumerate(chance.sample(with_words, count // 100)):
        text = "请问" + rule["when"][0]["text_contains"]["any"][0]
        hidden.append(
            {
                "name": f"hidden {number}",
                "when": [{"text_is": {"any": [text]}}],
                "then": [{"reply": {"text": "从不"}}],
            }
        )
    return [*rules, *hidden], {rule["name"] for rule in hidden}


def hard(count: int) -> Rules:
    """Rules of several words, 500 expressions, 100 that ask only for the hour or a tag, 100 with two conditions."""
    rules: Rules = []
    for number in range(count):
        name = word(number)
        when: list[dict[str, Any]]
        if number < 500:
            when = [{"text_regex": {"pattern": rf"^{name}\d{{2,6}}(元|块)?$"}}]
        elif number < 550:
            when = [{"follower_tag": {"has": f"标签{number}"}}, {"message_kind": {"any": "text"}}]
        elif number < 600:
            when = [{"time_of_day": {"from": f"{number % 24:02d}:00", "until": "23:59"}}]
        elif number < 700:
            when = [{"text_starts": {"any": [name]}}, {"text_contains": {"any": ["元"]}}]
        else:
            when = [{"text_is": {"any": [name, name + "呀", name + "呢"]}}]
        rules.append({"name": f"rule {number}", "when": when, "then": [{"reply": {"text": name}}]})
    random.Random(5).shuffle(rules)
    return rules


def timed(rules: Rules) -> tuple[float, list[Finding]]:
    """Seconds of one processor: nothing here waits, and a busy machine is not what is asked about."""
    rulebook = load({"rules": rules})
    start, wall = time.process_time(), time.perf_counter()
    found = find(rulebook, now=NOW)
    seconds = time.process_time() - start
    print(f"  {seconds:.2f} s of one processor, {time.perf_counter() - wall:.2f} s on the clock")
    return seconds, found


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rules", type=int, default=5_000)
    count = arguments.parse_args().rules
    timed(planted(100)[0])  # imports and the folding table are not what is measured
    rules, expected = planted(count)
    seconds, found = timed(rules)
    shadowed = {one.rule for one in found if one.kind == "shadowed"}
    false = [one for one in found if one.rule not in expected]
    print(f"{len(rules):,} rules: {seconds:.2f} s (limit {LIMIT:.0f} s)")
    print(f"planted {len(expected)}, found {len(shadowed & expected)}, false alarms {len(false)}")
    slow, many = timed(hard(count))
    print(f"{count:,} hard rules: {slow:.2f} s (limit {LIMIT:.0f} s), {len(many)} findings")
    good = shadowed >= expected and not false
    return 0 if good and max(seconds, slow) <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
