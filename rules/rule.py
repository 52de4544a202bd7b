"""A rule: conditions, actions, and when it is in force. Plain data; reading and checking is ``rules.reader``."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from pydantic import Field, model_validator

from bot.params import Moment, Params
from rules.hours import Hours, clock_time, within


class Active(Params):
    """When a rule is in force: ``from`` included, ``until`` not, within ``hours`` of each Shanghai day."""

    from_: Moment | None = Field(None, alias="from")
    until: Moment | None = None
    hours: Hours | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "Active":
        if self.from_ and self.until and self.from_ >= self.until:
            raise ValueError("until must be after from")
        return self


class Part(NamedTuple):
    """One condition or action: the member's name and its checked parameters."""

    name: str
    params: Params


@dataclass(frozen=True, slots=True)
class Rule:
    """When all of ``when`` hold, ``then`` is done. The first rule that matches ends, unless ``continue_``."""

    name: str
    when: tuple[Part, ...]
    then: tuple[Part, ...]
    active: Active | None = None
    continue_: bool = False
    enabled: bool = True


def in_force(active: Active, moment: datetime) -> bool:
    """Whether ``active`` holds at ``moment``: dates first, then the hours of the Shanghai day."""
    if active.from_ is not None and moment < active.from_:
        return False
    if active.until is not None and moment >= active.until:
        return False
    return active.hours is None or within(clock_time(moment), *active.hours)
