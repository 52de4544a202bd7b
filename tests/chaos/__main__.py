"""``make chaos``: both forms of the product, killed at random moments; ``--short`` is for continuous integration."""

import argparse
import random
import secrets
import signal
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from tests.chaos import slots
from tests.chaos.drive import LONG, MANY, MANY_SHORT, MONTH, MONTH_SHORT, SHORT, run
from tests.chaos.servers import Postgres
from tests.chaos.verify import Found

# one process on SQLite; many on PostgreSQL and Redis; those over the end of a month; reservations alone
FORMS = ("slots", "one", "month", "many")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--short", action="store_true", help="few kills, few followers")
    parser.add_argument("--seed", type=int, default=None, help="repeat a run's choices")
    parser.add_argument("--keep", type=Path, default=None, help="leave databases and logs here")
    parser.add_argument("--only", choices=FORMS, default=None, help="one of the settings")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the processes are ended then too
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    failed = 0
    for form in FORMS if options.only is None else (options.only,):
        print(f"\n{form}: seed {seed}", flush=True)
        if options.keep is not None:
            kept = options.keep / form
            kept.mkdir(parents=True, exist_ok=True)
            failed |= show(one(form, options.short, seed, kept))
            continue
        with tempfile.TemporaryDirectory(prefix="qunfen-chaos-") as folder:
            failed |= show(one(form, options.short, seed, Path(folder)))
    return failed


def one(form: str, short: bool, seed: int, folder: Path) -> Found:
    """One of FORMS, in ``folder``."""
    if form == "slots":
        found = Found()
        with closing(Postgres(folder, random.Random())) as server:
            slots.run(server.url, seed, found)
        if not short:
            slots.run(f"sqlite:///{folder / 'slots.db'}", seed, found)
        return found
    if form == "one":
        return run(SHORT if short else LONG, seed, folder, _say)
    if form == "month":
        return run(MONTH_SHORT if short else MONTH, seed, folder, _say, many=True)
    return run(MANY_SHORT if short else MANY, seed, folder, _say, many=True)


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
