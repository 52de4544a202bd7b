"""Rules as edited: versions, order, renaming, putting away, and what publishing would change."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import db, drafts, followers, rulebook
from bot.accounts import Account
from bot.as_code import apply as as_code
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.followers import rule_firings
from bot.tables.rulebooks import rule_hits, rules
from tests import factories


def rule(name: str, *words: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "when": [{"text_is": {"any": list(words) or [name]}}],
        "then": [{"reply": {"text": name}}],
        **more,
    }


@pytest.fixture
def ids(account: Account, session: Session, now: datetime) -> dict[str, int]:
    """Rules A B C D, in this order, published."""
    found = {
        name: drafts.add(session, account.id, rule(name), by="Ann", now=now) for name in "ABCD"
    }
    publish(session, account, now)
    return found


def publish(session: Session, account: Account, now: datetime) -> int:
    body = rulebook.draft_body(session, account.id)
    return rulebook.publish(session, account.id, body, by="Ann", note="", now=now)


def names(session: Session, account: Account) -> str:
    return "".join(draft.name for draft in drafts.listing(session, account.id))


def told(session: Session, account: Account) -> list[tuple[str, str]]:
    return [(change.kind, change.name) for change in drafts.changes(session, account.id)]


def test_a_new_rule_stands_behind_all_others(
    account: Account, session: Session, ids: dict[str, int], now: datetime
) -> None:
    drafts.add(session, account.id, rule("E"), by="Bo", now=now, group="春节")
    last = drafts.listing(session, account.id)[-1]
    assert (last.name, last.group, last.version, last.changed_by) == ("E", "春节", 1, "Bo")
    assert told(session, account) == [("added", "E")]


def test_a_rule_is_stored_as_the_account_file_writes_it(
    account: Account, session: Session, now: datetime
) -> None:
    body = rule("A", "x", enabled=True, **{"continue": False})
    body["when"][0]["text_is"]["any"] = "x"
    rule_id = drafts.add(session, account.id, body, by="Ann", now=now)
    assert drafts.get(session, account.id, rule_id).body == rule("A", "x")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (rule("A"), "name"),
        (rule(""), "name"),
        ({**rule("E"), "then": []}, "then"),
        ({**rule("E"), "when": [{"text_is": {}}]}, "when.0.text_is.any"),
        ({**rule("E"), "when": [{"nobody": {}}]}, "when.0.nobody"),
        ({**rule("E"), "bogus": 1}, "bogus"),
    ],
)
def test_what_does_not_load_is_not_stored(
    account: Account, session: Session, ids: dict[str, int], now: datetime, body: Any, place: str
) -> None:
    with pytest.raises(Invalid) as problem:
        drafts.add(session, account.id, body, by="Ann", now=now)
    assert problem.value.field == place
    with pytest.raises(Invalid):
        drafts.save(session, account.id, ids["B"], body, version=1, by="Ann", now=now)
    assert names(session, account) == "ABCD"


def test_who_saves_over_a_version_they_did_not_see_is_shown_it(
    account: Account, session: Session, ids: dict[str, int], now: datetime
) -> None:
    theirs = drafts.save(
        session, account.id, ids["A"], rule("A", "bo"), version=1, by="Bo", now=now
    )
    assert theirs.version == 2
    with pytest.raises(drafts.SavedBetween) as problem:
        drafts.save(session, account.id, ids["A"], rule("A", "ann"), version=1, by="Ann", now=now)
    assert problem.value.theirs == theirs
    drafts.save(session, account.id, ids["A"], rule("A", "ann"), version=2, by="Ann", now=now)


def test_every_change_of_a_rule_counts_its_version_up(
    account: Account, session: Session, ids: dict[str, int], now: datetime
) -> None:
    later = now + timedelta(hours=1)
    assert drafts.switch(session, account.id, ids.values(), False, by="Bo", now=later) == 4
    assert drafts.switch(session, account.id, ids.values(), False, by="Bo", now=later) == 0
    assert drafts.set_group(session, account.id, [ids["A"]], " 春节 ", by="Bo", now=later) == 1
    draft = drafts.get(session, account.id, ids["A"])
    assert (draft.version, draft.enabled, draft.group) == (3, False, "春节")
    assert (draft.changed_by, draft.changed_at) == ("Bo", later)
    assert drafts.switch(session, account.id, [ids["A"]], True, by="Bo", now=later) == 1
    assert drafts.get(session, account.id, ids["A"]).body == rule("A")


def test_a_group_has_a_name_of_one_line(
    account: Account, session: Session, ids: dict[str, int], now: datetime
) -> None:
    for name in ("x" * 61, "a\nb"):
        with pytest.raises(Invalid):
            drafts.set_group(session, account.id, [ids["A"]], name, by="Bo", now=now)


@pytest.mark.parametrize(
    ("order", "expected"), [("DCBA", "DCBA"), ("CA", "CBAD"), ("DB", "ADCB"), ("A", "ABCD")]
)
def test_rules_that_move_take_each_others_places(
    account: Account, session: Session, ids: dict[str, int], order: str, expected: str
) -> None:
    version = drafts.order_version(session, account.id)
    after = drafts.move(session, account.id, [ids[name] for name in order], version)
    assert names(session, account) == expected
    assert after == version + 1 == drafts.order_version(session, account.id)


def test_an_order_somebody_else_changed_is_not_written_over(
    account: Account, session: Session, ids: dict[str, int], now: datetime
) -> None:
    version = drafts.order_version(session, account.id)
    drafts.add(session, account.id, rule("E"), by="Bo", now=now)
    with pytest.raises(Refused):
        drafts.move(session, account.id, [ids["B"], ids["A"]], version)
    now_version = drafts.order_version(session, account.id)
    for unknown in ([ids["A"], 10**12], [ids["A"], ids["A"]]):
        with pytest.raises(Refused):
            drafts.move(session, account.id, unknown, now_version)
    with pytest.raises(Refused):
        drafts.save_fallback(session, account.id, None, version)


def test_the_fallback_has_the_version_of_the_order(
    account: Account, session: Session, now: datetime
) -> None:
    value = {"reply": {"text": "？"}}
    version = drafts.save_fallback(session, account.id, value, 1)
    assert rulebook.fallback(session, account.id) == value
    assert version == drafts.order_version(session, account.id)
    with pytest.raises(Invalid) as problem:
        drafts.save_fallback(session, account.id, {"reply": {}}, version)
    assert problem.value.field.startswith("fallback.reply")
    assert told(session, account) == [("fallback", "")]


def test_drafts_without_anything_published_leave_pushes_alone(
    account: Account, session: Session, now: datetime
) -> None:
    drafts.add(session, account.id, rule("A"), by="Ann", now=now)
    assert rulebook.Rulebooks().current(session, account.id) is rulebook.EMPTY


def test_a_rule_put_away_gives_its_name_up(
    account: Account, session: Session, ids: dict[str, int], now: datetime
) -> None:
    assert drafts.archive(session, account.id, [ids["A"], ids["C"]], by="Bo", now=now) == 2
    assert names(session, account) == "BD"
    assert drafts.find(session, account.id, ids["A"]) is None
    assert told(session, account) == [("removed", "A"), ("removed", "C")]
    drafts.add(session, account.id, rule("A"), by="Bo", now=now)
    drafts.save(session, account.id, ids["B"], rule("C"), version=1, by="Bo", now=now)
    assert names(session, account) == "CDA"


def test_another_accounts_rules_are_not_there(
    account: Account, session: Session, ids: dict[str, int], now: datetime
) -> None:
    other = factories.make_account(session, "shop", now=now)
    assert drafts.listing(session, other) == []
    for rule_id in (ids["A"], 10**30):
        assert drafts.find(session, other, rule_id) is None
        with pytest.raises(Refused):
            drafts.save(session, other, rule_id, rule("A"), version=1, by="Bo", now=now)
    everything = list(ids.values())
    assert drafts.switch(session, other, everything, False, by="Bo", now=now) == 0
    assert drafts.archive(session, other, everything, by="Bo", now=now) == 0
    with pytest.raises(Refused):
        drafts.move(session, other, everything, 1)
    drafts.add(session, other, rule("A"), by="Bo", now=now)


def test_cooldowns_and_hits_follow_a_new_name_when_it_is_published(
    account: Account, session: Session, ids: dict[str, int], now: datetime
) -> None:
    follower = factories.make_follower(session, account.id, now=now)
    followers.fired(session, account.id, follower, ["A"], now)
    session.execute(
        sa.insert(rule_hits).values(account_id=account.id, rule="A", day=now.date(), times=3)
    )
    drafts.rename(session, account.id, ids["A"], "Z", version=1, by="Bo", now=now)
    assert followers.last_fired(session, follower).keys() == {"A"}, "A is still in force"
    (change,) = drafts.changes(session, account.id)
    assert (change.kind, change.name, change.was) == ("changed", "Z", "A")
    publish(session, account, now)
    assert followers.last_fired(session, follower).keys() == {"Z"}
    assert list(session.execute(sa.select(rule_hits.c.rule)).scalars()) == ["Z"]
    assert drafts.changes(session, account.id) == []


def test_a_name_that_was_used_before_does_not_inherit(
    account: Account, session: Session, ids: dict[str, int], now: datetime
) -> None:
    follower = factories.make_follower(session, account.id, now=now)
    followers.fired(session, account.id, follower, ["A", "B"], now)
    drafts.archive(session, account.id, [ids["B"]], by="Bo", now=now)
    publish(session, account, now)
    drafts.rename(session, account.id, ids["A"], "B", version=1, by="Bo", now=now)
    publish(session, account, now)
    assert session.execute(sa.select(rule_firings.c.rule)).scalars().all() == ["B"]


def test_drafts_become_equal_to_an_old_rulebook(
    account: Account, session: Session, ids: dict[str, int], now: datetime
) -> None:
    first = rulebook.snapshot(session, account.id, 1)
    drafts.set_group(session, account.id, [ids["A"]], "组", by="Bo", now=now)
    drafts.rename(session, account.id, ids["A"], "Z", version=2, by="Bo", now=now)
    drafts.save(session, account.id, ids["B"], rule("B", "b"), version=1, by="Bo", now=now)
    drafts.archive(session, account.id, [ids["C"]], by="Bo", now=now)
    drafts.add(session, account.id, rule("E"), by="Bo", now=now)
    drafts.move(
        session, account.id, [ids["D"], ids["A"]], drafts.order_version(session, account.id)
    )
    drafts.save_fallback(
        session, account.id, {"hand_over": {}}, drafts.order_version(session, account.id)
    )
    drafts.restore(session, account.id, first, by="Cai", now=now)
    assert rulebook.draft_body(session, account.id) == first
    assert drafts.changes(session, account.id) == []
    a = drafts.get(session, account.id, ids["A"])
    assert (a.name, a.group, a.version) == ("A", "组", 4)
    assert drafts.get(session, account.id, ids["D"]).version == 1, "it only moved"
    assert drafts.restore(session, account.id, first, by="Cai", now=now) == []
    publish(session, account, now)


def test_rolled_back_to_an_old_name_the_rule_is_still_the_same(
    account: Account, session: Session, ids: dict[str, int], now: datetime
) -> None:
    old = rulebook.snapshot(session, account.id, 1)
    drafts.rename(session, account.id, ids["A"], "Z", version=1, by="Bo", now=now)
    rulebook.publish(session, account.id, old, by="Bo", note="", now=now)
    (change,) = drafts.changes(session, account.id)
    assert (change.kind, change.name, change.was) == ("changed", "Z", "A")


def test_two_people_who_change_one_rule_at_once_both_succeed_one_after_the_other(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        rule_id = drafts.add(session, account.id, rule("A"), by="Ann", now=now)
    for on in (False, True):
        with db.writing(engine) as session:
            assert drafts.switch(session, account.id, [rule_id], on, by="Bo", now=now) == 1
    with db.reading(engine) as session:
        found = session.execute(sa.select(rules.c.version)).scalar_one()
    assert found == 3


def test_a_file_writes_the_same_rows_with_new_versions(
    engine: sa.Engine, account: Account, now: datetime, tmp_path: Any
) -> None:
    def apply(*listed: dict[str, Any]) -> dict[str, drafts.Draft]:
        file = {"version": 1, "account": {"slug": account.slug}, "rules": list(listed)}
        raw = json.dumps(file, ensure_ascii=False).encode()
        with db.writing(engine) as session:
            prepared = as_code.prepare(
                session, raw, tmp_path, {}, factories.SECRET_KEY, now, prune=True
            )
            assert not prepared.problems
            as_code.apply(session, prepared, factories.SECRET_KEY, now, by="Bo")
            return {draft.name: draft for draft in drafts.listing(session, account.id)}

    first = apply(rule("A"), rule("B"))
    with db.writing(engine) as session:
        order = drafts.order_version(session, account.id)
    second = apply(rule("A"), rule("B", "b"))
    assert second["A"].version == first["A"].version
    assert second["B"].version > first["B"].version
    assert second["B"].changed_by == "Bo"
    with db.writing(engine) as session:
        assert drafts.order_version(session, account.id) > order
        with pytest.raises(drafts.SavedBetween):
            version = first["B"].version
            drafts.save(
                session, account.id, second["B"].id, rule("B"), version=version, by="Ann", now=now
            )
    follower = 0
    with db.writing(engine) as session:
        follower = factories.make_follower(session, account.id, now=now)
        followers.fired(session, account.id, follower, ["A"], now)
    third = apply({**rule("Z"), "was": "A"}, rule("B", "b"))
    assert third["Z"].id == first["A"].id and third["Z"].version > first["A"].version
    with db.reading(engine) as session:
        assert followers.last_fired(session, follower).keys() == {"Z"}
        assert drafts.changes(session, account.id) == []
