"""Two operators who approve, pause, resume and cancel the same campaigns at the same moments, by the command line.

``python -m tests.chaos.operators SEED NAME…`` is the process they sit at: the installation is the one its
environment names. What became of each command is a line of its output.
"""

import os
import random
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import click
import sqlalchemy as sa

from bot import db
from bot.campaigns import approvals, definitions, steering
from bot.cli import cli
from bot.commands.shared import Tool
from bot.config import load_config
from bot.errors import Invalid, Refused
from bot.tables.campaigns import campaign_runs
from tests.chaos.processes import ROOT, pause
from tests.chaos.setting import APPROVERS, SLUG, Setting

REST_SECONDS = (0.5, 2.5)
PAUSED_SECONDS = 0.7  # then both resume, so that the campaigns get somewhere
CANCEL_AFTER = 25  # rounds; a campaign that is cancelled at once tries nothing
MARK = "did "


class Operators:
    """The process, as the run starts and ends it. Without contested campaigns there is none."""

    def __init__(self, folder: Path, environ: dict[str, str], setting: Setting, seed: int) -> None:
        self._names = [each.name for each in setting.campaigns if each.contested]
        self._file = folder / "operators.log"
        self._environ = {**os.environ, **environ}
        self._seed = seed
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if not self._names:
            return
        with self._file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.operators", str(self._seed), *self._names],
                cwd=ROOT,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def outcomes(self) -> Counter[str]:
        """What they did and what came of it -> how often."""
        if not self._file.exists():
            return Counter()
        lines = self._file.read_text(encoding="utf-8").splitlines()
        return Counter(line.removeprefix(MARK) for line in lines if line.startswith(MARK))


def settle(setting: Setting, now: datetime) -> None:
    """After they went home: what they left paused goes on, what waits for them is approved."""
    contested = {each.name for each in setting.campaigns if each.contested}
    with db.writing(setting.rt.engine) as session:
        for run in session.execute(
            sa.select(campaign_runs).where(campaign_runs.c.status.in_(("paused", "waiting")))
        ).all():
            campaign = definitions.by_id(session, run.campaign_id)
            with suppress(Refused, Invalid):
                if run.status == "paused" and run.reason == "by_operator":
                    steering.resume(session, run.id, now)
                if run.status == "waiting" and campaign.name in contested:
                    key = setting.rt.secret_key
                    many = 2 * len(setting.people)
                    for name in APPROVERS:
                        current = definitions.by_id(session, run.campaign_id)
                        approvals.approve(session, current, name, many, many, now, key)


def main() -> None:
    seed, names = int(sys.argv[1]), sys.argv[2:]
    chance = random.Random(seed)
    config = load_config(os.environ, dotenv=None)
    tools = []
    for _ in APPROVERS:
        tool = Tool()
        tool.config = config
        tools.append(tool)
    rounds = 0
    while True:
        pause(chance.uniform(*REST_SECONDS))
        rounds += 1
        for name in names:
            acts = ["approve", "approve", "pause", "resume"]
            acts += ["cancel"] if rounds > CANCEL_AFTER and chance.random() < 0.1 else []
            _at_once(tools, [_words(chance.choice(acts), name, by) for by in APPROVERS])
            pause(PAUSED_SECONDS)
            _at_once(tools, [_words("resume", name, by) for by in APPROVERS])


def _words(act: str, name: str, by: str) -> list[str]:
    limits = ["--by", by, "--people", "1000000", "--slots", "1000000"] if act == "approve" else []
    return ["campaigns", act, SLUG, name, *limits]


def _at_once(tools: list[Tool], commands: list[list[str]]) -> None:
    together = threading.Barrier(len(tools))

    def command(tool: Tool, words: list[str]) -> None:
        together.wait()
        outcome = "done"
        try:
            cli.main(words, prog_name="qunfen", standalone_mode=False, obj=tool)
        except (Refused, Invalid, click.ClickException):
            outcome = "refused"
        except sa.exc.DBAPIError:
            outcome = "database away"
        print(f"\n{MARK}{words[1]} {outcome}", flush=True)

    threads = [
        threading.Thread(target=command, args=pair) for pair in zip(tools, commands, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
