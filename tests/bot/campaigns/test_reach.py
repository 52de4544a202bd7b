"""One follower gets one channel or one reason, the first that holds."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.campaigns.reach import REASONS, Candidate, Limit, Policy, choose, first_reason
from tests.factories import at

NOW = at("2025-03-03 09:00")


@dataclass(frozen=True)
class Way:
    """A channel as the registry gives one; blocked by a fixed reason or by what the candidate lacks."""

    NAME: str
    says: str | None = None

    def blocked(self, candidate: Candidate, _content: dict[str, Any], _now: datetime) -> str | None:
        if self.NAME == "mass" and candidate.slots_left == 0:
            return "no_slot"
        return self.says


OPEN = Way("customer_service")
SHUT = Way("customer_service", "no_window")
CONSENT = Way("subscription", "no_consent")
MASS = Way("mass")
HELD = Way("mass", "held_for_other")
LAN = Candidate(1, slots_left=4)
CAPPED = Policy((Limit("*", 3),))


@pytest.mark.parametrize(
    ("candidate", "channels", "channel", "reason"),
    [
        (LAN, [OPEN, MASS], "customer_service", None),
        (LAN, [MASS, OPEN], "mass", None),
        (LAN, [SHUT, MASS], "mass", None),
        (LAN._replace(slots_left=0), [SHUT, MASS], None, "no_window"),
        (LAN._replace(slots_left=0), [MASS, SHUT], None, "no_window"),
        (LAN._replace(slots_left=0), [MASS], None, "no_slot"),
        (LAN._replace(slots_left=0), [CONSENT, MASS], None, "no_consent"),
        (LAN, [HELD], None, "held_for_other"),
        (LAN, [SHUT, CONSENT, HELD], None, "no_window"),
        (LAN._replace(subscribed=False, opted_out=True), [OPEN], None, "left"),
        (LAN._replace(opted_out=True, holdout=True), [OPEN], None, "opted_out"),
        (LAN._replace(holdout=True, recent={"*": 9}), [OPEN], None, "holdout"),
        (LAN._replace(recent={"*": 3}), [OPEN], None, "cap"),
        (LAN._replace(recent={"*": 2}), [OPEN], "customer_service", None),
    ],
)
def test_channel_or_reason(
    candidate: Candidate, channels: list[Way], channel: str | None, reason: str | None
) -> None:
    chosen = choose(candidate, channels, CAPPED, {"text": "hi"}, NOW)
    assert (chosen.channel, chosen.reason) == (channel, reason)


def test_without_a_cap_nobody_is_skipped_for_it() -> None:
    assert choose(LAN._replace(recent={"*": 99}), [OPEN], Policy(), {}, NOW).channel


def test_the_reasons_are_those_of_the_public_contract_in_its_order() -> None:
    assert " ".join(REASONS) == (
        "left opted_out holdout cap no_window no_consent no_slot held_for_other batch_of_one "
        "expired cancelled"
    )


@given(st.lists(st.sampled_from(REASONS), min_size=1), st.randoms())
def test_the_first_reason_does_not_depend_on_the_order_of_channels(
    reasons: list[str], random: Any
) -> None:
    shuffled = list(reasons)
    random.shuffle(shuffled)
    assert first_reason(reasons) == first_reason(shuffled)


@given(
    st.booleans(), st.booleans(), st.booleans(), st.integers(0, 5), st.integers(0, 4),
    st.lists(st.sampled_from([OPEN, SHUT, CONSENT, MASS, HELD]), max_size=4),
)  # fmt: skip
def test_everybody_gets_exactly_one_of_channel_and_reason(
    subscribed: bool, opted_out: bool, holdout: bool, recent: int, slots: int, ways: list[Way]
) -> None:
    candidate = Candidate(1, subscribed, opted_out, (), slots, holdout, recent={"*": recent})
    chosen = choose(candidate, ways, CAPPED, {}, NOW)
    assert (chosen.channel is None) != (chosen.reason is None)
    assert chosen.reason is None or chosen.reason in REASONS
