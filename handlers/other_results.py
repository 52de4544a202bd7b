"""Results of jobs this version does not start: template messages and publishing. Stored, nothing else."""

from bot.db import Session
from bot.inbox import Push

KINDS = ("template_finished", "publish_finished")


def handle(_session: Session, _push: Push) -> None:
    return None
