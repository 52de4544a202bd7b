"""Who works at 沐颜集: the people of the demo, each in the role they are there to show."""

from datetime import datetime

from bot import accounts, operators, scopes
from bot.db import Session
from bot.demo.truth import SLUG

PEOPLE = (
    ("小林", "operator"),
    ("周姐", "lead"),
    ("阿敏", "agent"),
    ("老陈", "requester"),
    ("老板", "viewer"),
    ("开发", "developer"),
)
SHOPS = 8  # each shop's manager sees the own QR code and nothing else


def add(session: Session, now: datetime) -> str:
    """Add everybody; the one password of all of them, which is shown once. The brand must be loaded.

    Raises:
        Refused: one of the names is taken.
    """
    password = ""
    for name, role in PEOPLE:
        password = operators.add(session, name, role, now, password or None, by="demo")
    account_id = accounts.get(session, SLUG).id
    for number in range(1, SHOPS + 1):
        name = f"店长 {number:02d}"
        operators.add(session, name, "channel", now, password, by="demo")
        ids = {one.name: one.id for one in operators.every(session)}
        scopes.set_scopes(
            session,
            ids[name],
            every_account=False,
            listed={account_id: [f"store_{number:02d}"]},
            by="demo",
            now=now,
        )
    return password
