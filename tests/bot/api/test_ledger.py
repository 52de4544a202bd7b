"""The ledger and the calendar by API."""

import pytest

from bot import db, jobs
from bot.accounts import Account
from bot.audiences import segments
from bot.campaigns import external_sends, plans
from bot.runtime import Runtime
from bot.tasks import bound
from tests import factories
from tests.bot.api.conftest import Program
from tests.bot.campaigns.makers import make_campaign
from tests.bot.campaigns.test_plans import FACTORS


@pytest.fixture
def campaign_id(rt: Runtime, account: Account) -> int:
    """Five followers, and a send to all in a week."""
    now = rt.clock()
    at = factories.at("2025-03-20 20:30")
    with db.writing(rt.engine) as session:
        factories.make_followers(session, account.id, 5, now=now)
        segments.save(session, account.id, "everybody", {"all": []}, now)
        return make_campaign(
            session, account.id, now=now, name="上新", next_due_at=at,
            schedule={"at": at.isoformat()},
        )  # fmt: skip


def test_slots_and_sends_made_elsewhere(
    api: Program, rt: Runtime, account: Account, campaign_id: int
) -> None:
    told = api.told("GET", "/ledger")
    assert told["people_by_slots_left"] == {"0": 0, "1": 0, "2": 0, "3": 0, "4": 5}
    assert [(one["name"], one["wanted"], one["gets"]) for one in told["planned"]] == [
        ("上新", 5, 5)
    ]
    made = api.told(
        "POST", "/ledger/external-sends", {"went_to": "segment", "name": "everybody"}, 201
    )
    assert [(one["audience"], one["said"], one["total"]) for one in made["items"]] == [
        ("tag", "everybody", 5)
    ]
    external_sends.catch_up(rt.engine, account.id, rt.clock())
    listed = api.told("GET", "/ledger/followers?left=3&limit=2")
    assert len(listed["items"]) == 2 and listed["next"]
    assert listed["items"][0]["took"] == ["everybody"]
    assert api.told("GET", "/ledger/recount")["differences"] == []
    assert api.told("POST", "/ledger/recount", {}) == {"month": told["month"], "people": 0}
    # a name nobody knows would charge nobody, and let mass go on
    for kind in ("tag", "segment"):
        wrong_name = {"went_to": kind, "name": "打错的"}
        assert api.refused("POST", "/ledger/external-sends", wrong_name) == (422, "invalid")
    for wrong in ({"went_to": "tag"}, {"went_to": "listed"}, {"went_to": "all", "at": "x"}):
        assert api.refused("POST", "/ledger/external-sends", wrong)[0] in (409, 422)


def test_the_calendar_is_asked_and_a_send_is_moved(api: Program, campaign_id: int) -> None:
    month = api.told("GET", "/calendar?month=2025-03")
    assert [(one["kind"], one["people"]) for one in month["entries"]] == [("planned", 5)]
    asked = api.told("GET", "/calendar/what-if?segment=everybody&at=2025-03-15T12:00")
    assert (asked["people"], asked["gets"]) == (0, 5)
    assert api.refused("GET", "/calendar/what-if?at=2025-03-15T12:00") == (422, "invalid")
    moved = api.told("POST", f"/calendar/{campaign_id}/move", {"day": "2025-03-25"})
    assert moved["at"].startswith("2025-03-25T20:30")
    assert api.refused("POST", f"/calendar/{campaign_id}/move", {"day": "2025-03-01"})[0] == 422
    assert api.refused("POST", "/calendar/999/move", {"day": "2025-03-25"}) == (404, "not-found")


def test_a_move_by_api_moves_the_plan_too(
    api: Program, rt: Runtime, account: Account, campaign_id: int
) -> None:
    given = {
        "name": "奈雪券", "segment": "everybody", "at": "2025-03-22T12:00:00+08:00", "channels": ["mass"],
        "content": {"text": "请你喝奶茶"}, "brief": FACTORS,
    }  # fmt: skip
    with db.writing(rt.engine) as session:
        plan_id = plans.create(session, account.id, given, rt.clock(), by="Ann")
        made = plans.submit(session, account, plan_id, rt.clock(), by="Ann", version=1)
    api.told("POST", f"/calendar/{made.id}/move", {"day": "2025-03-25"})
    assert api.told("GET", f"/plans/{plan_id}")["document"]["at"] == "2025-03-25T12:00:00+08:00"
    with db.writing(rt.engine) as session:
        repeats = {key: value for key, value in given.items() if key != "at"} | {
            "repeat": {"every": "day", "at": "20:30"}
        }
        plans.save(
            session, account.id, plan_id, repeats, rt.clock(), version=2, step=5, by="Ann"
        )  # fmt: skip
    assert api.refused("POST", f"/calendar/{made.id}/move", {"day": "2025-03-26"}) == (
        409,
        "conflict",
    )


def test_a_month_is_divided_in_the_background_and_put_in_force(
    api: Program, rt: Runtime, campaign_id: int
) -> None:
    offers = api.told("GET", "/allocations?month=2025-03")["offers"]
    assert [one["campaign_id"] for one in offers] == [campaign_id]
    body = {"month": "2025-03", "campaigns": [{"campaign_id": campaign_id, "rate": 0.2}]}
    begun = api.told("POST", "/allocations", body, 202)
    assert jobs.run_one(rt.engine, bound(rt), rt.clock, "test", job_id=begun["job_id"])
    (made,) = api.told("GET", "/allocations?month=2025-03")["allocations"]
    assert (made["status"], made["figures"]["slots"]) == ("proposed", 5)
    again = api.told("POST", "/allocations", body, 202)
    assert jobs.run_one(rt.engine, bound(rt), rt.clock, "test", job_id=again["job_id"])
    first = api.told("GET", "/allocations?month=2025-03&limit=1")
    assert first["allocations"][0]["id"] > made["id"]
    second = api.told("GET", f"/allocations?month=2025-03&limit=1&cursor={first['next']}")
    assert (second["allocations"], second["next"]) == ([made], None)
    path = f"/allocations/{made['id']}"
    assert api.told("POST", f"{path}/enforce")["status"] == "in_force"
    assert api.refused("POST", f"{path}/enforce") == (409, "conflict")
    assert api.told("GET", path)["status"] == "in_force"
    assert api.told("POST", f"{path}/lift")["status"] == "replaced"
    assert api.refused("POST", f"{path}/lift") == (409, "conflict")
    # what a job would refuse is refused before
    body["campaigns"].append({"campaign_id": 999})
    assert api.refused("POST", "/allocations", body) == (409, "conflict")
    assert api.refused("GET", "/allocations/999") == (404, "not-found")
