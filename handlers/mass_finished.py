"""The platform's result of a mass send: counts, no names. Settled now, or by a later tick if it overtook us."""

from bot.campaigns import settling
from bot.db import Session
from bot.inbox import Push

KINDS = ("mass_finished",)


def handle(session: Session, push: Push) -> None:
    settling.settle_batch(session, push.account.id, push.message.fields, push.received_at)
