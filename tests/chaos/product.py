"""The process that is killed: callback, console, scheduler and workers, as ``qunfen run`` has them.

Its clock runs a given number of seconds away from the real one, as the sandbox's does, so that a
machine that was off for an hour needs no hour of waiting: ``python -m tests.chaos.product PORT SECONDS``.
"""

import os
import sys
from datetime import timedelta

from bot import logs
from bot.clock import Clock
from bot.config import load_config
from bot.runtime import build
from bot.serve import run_all


def main() -> None:
    port, offset = int(sys.argv[1]), float(sys.argv[2])
    config = load_config(os.environ, dotenv=None)
    logs.configure(config.log_format)
    rt = build(config, now=Clock(offset=timedelta(seconds=offset)))
    run_all(rt, "127.0.0.1", port, lambda address: print(address, flush=True))


if __name__ == "__main__":
    main()
