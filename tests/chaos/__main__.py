"""``make chaos``: both forms of the product, killed at random moments; ``--short`` is for continuous integration."""

import argparse
import secrets
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.drive import LONG, MANY, MANY_SHORT, SHORT, run
from tests.chaos.verify import Found

FORMS = ("one", "many")  # one process on SQLite; processes on PostgreSQL and Redis


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--short", action="store_true", help="few kills, few followers")
    parser.add_argument("--seed", type=int, default=None, help="repeat a run's choices")
    parser.add_argument("--keep", type=Path, default=None, help="leave databases and logs here")
    parser.add_argument("--only", choices=FORMS, default=None, help="one process, or many")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the processes are ended then too
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    failed = 0
    for form in FORMS if options.only is None else (options.only,):
        print(f"\n{form}: seed {seed}", flush=True)
        if options.keep is not None:
            kept = options.keep / form
            kept.mkdir(parents=True, exist_ok=True)
            failed |= show(_one(form, options.short, seed, kept))
            continue
        with tempfile.TemporaryDirectory(prefix="qunfen-chaos-") as folder:
            failed |= show(_one(form, options.short, seed, Path(folder)))
    return failed


def _one(form: str, short: bool, seed: int, folder: Path) -> Found:
    many = form == "many"
    size = (MANY_SHORT if many else SHORT) if short else (MANY if many else LONG)
    return run(size, seed, folder, _say, many=many)


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
