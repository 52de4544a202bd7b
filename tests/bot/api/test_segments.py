"""Segments by API: frozen into a list and given back to their tree."""

from bot import db
from bot.accounts import Account
from bot.runtime import Runtime
from tests import factories
from tests.bot.api.conftest import Make, Program


def test_a_segment_is_frozen_and_unfrozen(api: Program, rt: Runtime, account: Account):
    where = {"tag": {"has": "微博来源"}}
    with db.writing(rt.engine) as session:
        tag = factories.make_tag(session, account.id, "微博来源")
        one, other = factories.make_followers(session, account.id, 2, now=rt.clock())
        factories.give_tag(session, account.id, one, tag, now=rt.clock())
    made = api.told("POST", "/segments", {"name": "微博", "where": where}, 201)
    assert made["frozen"] is None and made["people"] == 1
    path = f"/segments/{made['id']}"
    told = api.told("POST", f"{path}/freeze")
    assert told["frozen"]["people"] == 1 and told["frozen"]["by"].startswith("api:")
    with db.writing(rt.engine) as session:
        factories.give_tag(session, account.id, other, tag, now=rt.clock())
    read = api.told("GET", path)
    assert read["people"] == 1 and read["where"] == where and read["frozen"] == told["frozen"]
    assert api.refused("POST", f"{path}/freeze") == (409, "conflict")
    # who asks for those in it is told of the list
    inside = {"where": {"in_segment": {"name": "微博"}}, "fresh": True}
    assert api.told("POST", "/segments/count", inside)["people"] == 1
    told = api.told("POST", f"{path}/unfreeze")
    assert told["frozen"] is None
    assert api.told("POST", "/segments/count", inside)["people"] == 2
    assert api.refused("POST", f"{path}/unfreeze") == (409, "conflict")


def test_freezing_takes_the_right_to_write(program: Make, api: Program):
    made = api.told("POST", "/segments", {"name": "大家", "where": {"all": []}}, 201)
    reader = program("segments.read")
    assert reader.refused("POST", f"/segments/{made['id']}/freeze")[0] == 403
    assert api.refused("POST", "/segments/99/freeze") == (404, "not-found")


def test_nobody_writes_over_what_somebody_else_saved(api: Program) -> None:
    made = api.told("POST", "/segments", {"name": "大家", "where": {"all": []}}, 201)
    path = f"/segments/{made['id']}"
    narrow = {"name": "大家", "where": {"did": {"event": "message"}}, "version": made["version"]}
    changed = api.told("PUT", path, narrow)
    assert changed["version"] != made["version"]
    assert api.refused("PUT", path, {**narrow, "where": {"all": []}}) == (409, "conflict")
    assert api.told("GET", path)["where"] == changed["where"]
