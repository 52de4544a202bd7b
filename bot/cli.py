"""The command ``qunfen``. Commands are in ``bot/commands``, one module an area; here they come together."""

import signal
import sys
from types import FrameType

import click

from bot.commands import (
    account,
    campaigns,
    demo,
    files,
    ledger,
    operators,
    processes,
    queues,
    replay,
    report,
    system,
    tokens,
)
from bot.commands.shared import Commands, Tool, doc


@click.group(
    "qunfen",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help=doc(
        "群分：公众号自动回复、人群和群发，群发额度一个不差。",
        "Qunfen: replies, segments and sends for WeChat Official Accounts, exact about the mass budget.",
        "qunfen run --sandbox\nqunfen plan brand.yaml\nqunfen doctor",
    ),
)
@click.version_option(package_name="qunfen", message="%(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    tool = context.ensure_object(Tool)
    context.call_on_close(tool.close)


for command in (
    processes.run,
    processes.web,
    processes.scheduler_command,
    processes.worker,
    processes.sandbox_command,
    demo.demo,
    account.account_group,
    account.stop,
    account.go,
    campaigns.campaigns_group,
    files.apply_command,
    files.plan_command,
    files.pull_command,
    ledger.ledger_group,
    operators.operator_group,
    queues.jobs_group,
    queues.outbox_command,
    report.report,
    system.db_group,
    system.backup_command,
    system.restore_command,
    system.doctor_command,
    system.registry_command,
    system.tick,
    replay.replay,
    system.followers_group,
    tokens.token_group,
):
    cli.add_command(command)


def main() -> None:
    """The entry point. SIGTERM ends a command as Ctrl-C does: transactions roll back, nothing is half done."""
    signal.signal(signal.SIGTERM, _end)
    cli(prog_name="qunfen")


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
