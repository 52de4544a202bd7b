"""``make chaos``: at least 30 kills; ``--short`` is the run of continuous integration."""

import argparse
import secrets
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.drive import LONG, SHORT, run
from tests.chaos.verify import Found


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--short", action="store_true", help="few kills, few followers")
    parser.add_argument("--seed", type=int, default=None, help="repeat a run's choices")
    parser.add_argument("--keep", type=Path, default=None, help="leave databases and logs here")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the processes are ended then too
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    size = SHORT if options.short else LONG
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
        return show(run(size, seed, options.keep, _say))
    with tempfile.TemporaryDirectory(prefix="qunfen-chaos-") as folder:
        return show(run(size, seed, Path(folder), _say))


def show(found: Found) -> int:
    """Print the counts and what is wrong; the exit code."""
    width = max(len(name) for name, _ in found.counts)
    for name, number in found.counts:
        print(f"{name:<{width}}  {number}")
    for problem in found.problems:
        print(f"WRONG {problem}")
    print("everything adds up" if not found.problems else f"{len(found.problems)} promises broken")
    return 1 if found.problems else 0


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
