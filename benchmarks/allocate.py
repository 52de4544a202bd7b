"""How long the slots of a month take to divide: 8 campaigns over 1,000,000 followers, against sending to all.

    .venv/bin/python benchmarks/allocate.py [--followers 1000000]

Goal: at most 30 seconds. Values are drawn one by one, so that no two followers are alike: the slowest case.
"""

import argparse
import random
import resource
import sys
import time
from array import array
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bot.campaigns.allocate import Candidate, Constraints, allocate, send_to_all

LIMIT = 30.0  # seconds
MOST = (0.15, 0.2, None, 0.3, None, 0.1, None, None)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--followers", type=int, default=1_000_000)
    people = parser.parse_args().followers
    chance = random.Random(1)
    values = {
        f"c{n}": array("f", (chance.uniform(-0.5, 3) for _ in range(people))) for n in range(8)
    }
    left = bytes(chance.randint(0, 4) for _ in range(people))
    known = tuple(
        Candidate(f"c{n}", most=share and int(share * people), kind="xy"[n % 2], day=3 * n)
        for n, share in enumerate(MOST)
    )
    habit = send_to_all(list(values), lambda: [(list(values.values()), left)]).total
    slowest = 0.0
    for name, constraints in (
        ("everybody alone", Constraints()),
        ("four campaigns limited", Constraints(known)),
        ("limits, kinds and gaps", Constraints(known, {"x": 2}, 5)),
    ):
        start = time.perf_counter()
        found = allocate(values, left, constraints)
        seconds = time.perf_counter() - start
        slowest = max(slowest, seconds)
        print(
            f"{name:24} {seconds:5.1f} s  {found.total / found.bound:.2%} of the bound, "
            f"{found.total / habit:.2f} x sending to all four times"
        )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"memory {memory} MB; goal {LIMIT:.0f} s: {'met' if slowest <= LIMIT else 'MISSED'}")
    return 0 if slowest <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
