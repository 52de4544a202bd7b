"""One call to many, and a receipt that names the platform's job."""

from typing import Any

import pytest

from bot.campaigns.reach import Candidate
from bot.channels import Item, mass
from bot.errors import Refused
from tests.bot.answers import Gateway, refusal
from tests.factories import at, open_id

NOW = at("2025-03-03 09:00")
PEOPLE = [open_id(1), open_id(2)]


def item(open_id: str | None = None, **payload: Any) -> Item:
    content = {"content": {"text": "hi"}, "client_msg_id": "m1", "month": "2025-03"}
    return Item(1, 1, "mass", "batch", 7, None, open_id, content | payload, 1, NOW, None)


def sent(gateway: Gateway, **payload: Any) -> dict[str, Any]:
    return mass.send(gateway.of(1), item(**payload))


def test_a_slot_of_the_month_is_what_it_costs() -> None:
    assert mass.blocked(Candidate(1, slots_left=1), {"text": "hi"}, NOW) is None
    assert mass.blocked(Candidate(1, slots_left=0), {"text": "hi"}, NOW) == "no_slot"


def test_to_open_ids_and_to_a_tag() -> None:
    gateway = Gateway({"errcode": 0, "msg_id": 34182}, {"errcode": 0, "msg_id": 34183})
    assert sent(gateway, target="open_ids", open_ids=PEOPLE) == {
        "msg_id": "34182",
        "msg_data_id": None,
        "repeated": False,
    }
    sent(gateway, target="tag", tag_id=101)
    [(by_id, first), (by_tag, second)] = gateway.calls
    assert (by_id.rsplit("/", 1)[1], first["touser"], first["clientmsgid"]) == (
        "send",
        PEOPLE,
        "m1",
    )
    assert (by_tag.rsplit("/", 1)[1], second["filter"]["tag_id"]) == ("sendall", 101)


def test_a_repeat_the_platform_remembers_is_a_receipt() -> None:
    gateway = Gateway(refusal(45065, permanent=False, msg_id=31))
    receipt = sent(gateway, target="open_ids", open_ids=PEOPLE)
    assert (receipt["msg_id"], receipt["repeated"]) == ("31", True)


@pytest.mark.parametrize(
    "payload",
    [
        {"target": "open_ids", "open_ids": []},
        {"target": "open_ids", "open_ids": PEOPLE[:1]},
        {"target": "all"},
        {"target": "all", "approval": {"asked_by": "Ann", "approved_by": "Ann"}},
        {"target": "somebody"},
        {"target": "preview"},
    ],
)
def test_what_must_not_leave_is_refused_before_any_call(payload: dict[str, Any]) -> None:
    gateway = Gateway()
    with pytest.raises(Refused):
        sent(gateway, **payload)
    assert gateway.calls == []


def test_to_everybody_never_without_an_approval_or_with_one_name() -> None:
    """What the seal of an approval takes and allows: tests/scenarios/test_all_send.py."""
    gateway = Gateway()
    for approval in (None, {"asked_by": "Ann", "approved_by": "ann "}):
        with pytest.raises(Refused):
            sent(gateway, target="all", approval=approval)
    assert gateway.calls == []


def test_a_preview_goes_to_one_tester() -> None:
    gateway = Gateway()
    assert mass.send(gateway.of(1), item(open_id(1), target="preview")) == {}
    assert gateway.calls[0][1]["touser"] == open_id(1)
