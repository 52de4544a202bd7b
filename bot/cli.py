"""The command ``qunfen``. Commands are in ``bot/commands``, one module an area; here they come together."""

import signal
import sys
from importlib import import_module
from types import FrameType

import click

from bot.commands.shared import Commands, Tool, doc

# command -> its module in bot/commands, and the name there. A module is imported when its command is
# asked for: serving imports the whole console, which `qunfen plan` need not wait for.
COMMANDS = {
    "run": ("processes", "run"),
    "web": ("processes", "web"),
    "scheduler": ("processes", "scheduler_command"),
    "worker": ("processes", "worker"),
    "sandbox": ("processes", "sandbox_command"),
    "demo": ("demo", "demo"),
    "account": ("account", "account_group"),
    "stop": ("account", "stop"),
    "go": ("account", "go"),
    "campaigns": ("campaigns", "campaigns_group"),
    "apply": ("files", "apply_command"),
    "plan": ("files", "plan_command"),
    "pull": ("files", "pull_command"),
    "ledger": ("ledger", "ledger_group"),
    "operator": ("operators", "operator_group"),
    "token": ("tokens", "token_group"),
    "followers": ("system", "followers_group"),
    "jobs": ("queues", "jobs_group"),
    "outbox": ("queues", "outbox_command"),
    "quotas": ("quotas", "quotas_command"),
    "report": ("report", "report"),
    "replay": ("replay", "replay"),
    "tick": ("system", "tick"),
    "db": ("system", "db_group"),
    "backup": ("system", "backup_command"),
    "restore": ("system", "restore_command"),
    "registry": ("system", "registry_command"),
    "doctor": ("system", "doctor_command"),
}


class Everything(Commands):
    """All commands, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        found: click.Command = getattr(import_module(f"bot.commands.{module}"), name)
        return found


@click.group(
    "qunfen",
    cls=Everything,
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


def main() -> None:
    """The entry point. SIGTERM ends a command as Ctrl-C does: transactions roll back, nothing is half done."""
    signal.signal(signal.SIGTERM, _end)
    cli(prog_name="qunfen")


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
