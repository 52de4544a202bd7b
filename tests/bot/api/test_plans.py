"""Plans and playbooks at the API: what is half written is kept, what no page could show is not."""

from typing import Any

import pytest

from bot import db
from bot.accounts import Account
from bot.audiences import segments
from bot.campaigns import plan_files
from bot.runtime import Runtime
from tests.bot.api.conftest import Program
from tests.bot.campaigns.test_plans import WHOLE

HEADER = ",".join(plan_files.HEADER)
MISSHAPEN: list[tuple[dict[str, Any], str]] = [
    ({"brief": "x"}, "brief"),
    ({"brief": {"similar": [7]}}, "brief.similar.0"),
    ({"groups": 5}, "groups"),
    ({"groups": [5]}, "groups.0"),
    ({"groups": [{"name": "G", "segment": "S", "rate": "viel"}]}, "groups.0.rate"),
    ({"channels": 5}, "channels"),
    ({"content": "hallo"}, "content"),
    ({"contents": {"mass": 1}}, "contents.mass"),
    ({"experiment": {"of": "content", "variants": "A"}}, "experiment.variants"),
    ({"follow_ups": {"after": "1h"}}, "follow_ups"),
    ({"goal": {"metric": "guided", "target": "12"}}, "goal.target"),
    ({"holdout": "0.1"}, "holdout"),
    ({"links": []}, "links"),
    ({"name": 5}, "name"),
    ({"segment": ["a"]}, "segment"),
    ({"worth": "much"}, "worth"),
]


@pytest.mark.parametrize(("document", "place"), MISSHAPEN)
def test_a_part_of_another_kind_is_refused_at_its_place(
    api: Program, document: dict[str, Any], place: str
) -> None:
    for path, body in (("/plans", {}), ("/playbooks", {"name": "策略"})):
        answer = api.told("POST", path, {**body, "document": document}, status=422)
        assert answer["errors"][0]["place"].startswith(place), answer


@pytest.mark.parametrize("cell", ["1e999", '"\\u0000"', '"\\ud800"', "9" * 30, "[" * 40 + "]" * 40])
def test_a_csv_says_nothing_that_no_database_keeps(api: Program, cell: str) -> None:
    quoted = cell.replace('"', '""')
    text = f'{HEADER}\n人群,活动名称,券,name\n推广,产品,"{quoted}",brief.product\n'
    made = api.told("POST", "/plans/csv", {"csv": text}, status=201)
    assert made["document"]["brief"]["product"] == cell
    told = api.told("GET", f"/plans/{made['id']}/csv")["csv"]
    again = api.told("POST", "/plans/csv", {"csv": told}, status=201)
    assert again["document"]["brief"]["product"] == cell


@pytest.mark.parametrize("begins", ["9999-12-31", "0001-01-01"])
def test_a_playbook_begins_on_a_day_that_can_be_counted_from(api: Program, begins: str) -> None:
    brief = {"begins": "2025-11-14", "ends": "2025-11-19"}
    kept = api.told(
        "POST", "/playbooks", {"name": "策略", "document": {"brief": brief}}, status=201
    )
    path = f"/playbooks/{kept['id']}/begin"
    assert api.refused("POST", path, {"begins": begins}) == (422, "invalid")
    far = {"begins": "1970-01-01", "ends": "8999-12-31"}
    kept = api.told("POST", "/playbooks", {"name": "很久", "document": {"brief": far}}, status=201)
    begun = api.told("POST", f"/playbooks/{kept['id']}/begin", {"begins": "8999-01-01"}, status=201)
    assert begun["document"]["brief"] == {"begins": "8999-01-01"}


def test_a_plan_is_handed_in_with_its_five_factors(
    api: Program, rt: Runtime, account: Account
) -> None:
    with db.writing(rt.engine) as session:
        segments.save(session, account.id, "微博互动", {"all": []}, rt.clock())
    bare = {key: value for key, value in WHOLE.items() if key != "brief"}
    made = api.told("POST", "/plans", {"document": bare}, status=201)
    assert made["problems"][0]["place"] == "brief.participation"
    answer = api.told("POST", f"/plans/{made['id']}/submit", {"version": 1}, status=422)
    assert answer["errors"][0]["place"] == "brief.participation"
    whole = {"document": WHOLE, "version": 1, "step": 5}
    saved = api.told("PUT", f"/plans/{made['id']}", whole)
    handed = {"version": saved["version"]}
    stale = {"version": made["version"]}
    assert api.refused("POST", f"/plans/{made['id']}/submit", stale) == (409, "conflict")
    assert api.told("POST", f"/plans/{made['id']}/submit", handed)["name"] == WHOLE["name"]
    brief = api.told("GET", f"/plans/{made['id']}")["document"]["brief"]
    assert (brief["people"], brief["reached"], brief["slots"]) == ("0", "0", "0"), (
        "what it promised"
    )


def test_the_checks_of_a_plan_speak_the_caller_s_language(api: Program) -> None:
    document = {"name": "券", "channels": ["mass"], "content": {"text": "全国第一"}}
    made = api.told("POST", "/plans", {"document": document}, status=201)
    english = api.told("GET", f"/plans/{made['id']}/checks")["findings"][0]
    api.language = "zh"
    chinese = api.told("GET", f"/plans/{made['id']}/checks")["findings"][0]
    assert english["found"] == chinese["found"] == "全国第一"
    assert english["why"].isascii() and not chinese["why"].isascii()
