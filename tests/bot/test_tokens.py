"""API tokens: shown once, stored as a hash, never more than their maker, gone when revoked."""

import json
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from bot import db, operators, rights, scopes, tokens
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.tables.operators import api_tokens
from bot.tables.operators import operators as operators_table
from tests import factories
from tests.scenarios.conftest import world as world
from tests.scenarios.world import World


def made(session: Session, now: datetime, **values) -> tuple[str, tokens.Token]:
    given = {"maker": tokens.SERVER, "name": "shop", "scopes": ["tags.read"]} | values
    return tokens.create(
        session, given.pop("maker"), given.pop("name"), given.pop("scopes"), now, **given
    )


def lead(session: Session, now: datetime, role: str = "lead") -> int:
    operators.add(session, "Bo", role, now, "correct horse battery")
    return session.execute(
        sa.select(operators_table.c.id).where(operators_table.c.name == "Bo")
    ).scalar_one()


def test_a_token_is_known_by_its_plain_form_and_only_its_hash_is_stored(session, now):
    plain, token = made(session, now)
    assert plain.startswith("qf_") and len(plain) == 43
    bearer = tokens.bearer(session, plain, now)
    assert bearer is not None and bearer.token.id == token.id
    assert bearer.scopes == {"tags.read"}
    row = session.execute(sa.select(api_tokens)).one()
    assert plain not in str(tuple(row)) and row.shown == plain[:7]


@pytest.mark.parametrize("wrong", ["", "qf_", "qf_" + "x" * 40, "Bearer", "qf_" + "é" * 40])
def test_what_is_no_token_is_nobody(session, now, wrong):
    made(session, now)
    assert tokens.bearer(session, wrong, now) is None


def test_a_token_ends_when_revoked_or_expired(session, now):
    plain, token = made(session, now, expires_at=now + timedelta(days=1))
    assert tokens.bearer(session, plain, now + timedelta(hours=23)) is not None
    assert tokens.bearer(session, plain, now + timedelta(days=1)) is None
    tokens.revoke(session, token.id, now)
    assert tokens.bearer(session, plain, now) is None
    with pytest.raises(Refused):
        tokens.revoke(session, token.id, now)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"expires_at": timedelta(0)}, "expires_at"),
        ({"expires_at": timedelta(days=5000)}, "expires_at"),
    ],
)
def test_what_cannot_be_a_token_is_refused_at_its_field(session, now, values, field):
    if "expires_at" in values:
        values = {"expires_at": now + values["expires_at"]}
    with pytest.raises(Invalid) as problem:
        made(session, now, **values)
    assert problem.value.field == field


def test_a_maker_gives_no_right_and_no_account_beyond_the_own(session, now):
    mine = factories.make_account(session, now=now)
    other = factories.make_account(session, "brand-b", now=now)
    maker = tokens.Maker("Dai", frozenset({"tags.read"}), frozenset({mine}))
    for wrong in (
        {"scopes": ["tags.write"], "account_id": mine},
        {"scopes": ["tags.read"], "account_id": other},
        {"scopes": ["tags.read"], "account_id": None},
    ):
        with pytest.raises(Invalid):
            made(session, now, maker=maker, **wrong)
    made(session, now, maker=maker, account_id=mine)


def test_a_token_loses_what_its_maker_loses(session, now):
    mine = factories.make_account(session, now=now)
    other = factories.make_account(session, "brand-b", now=now)
    bo = lead(session, now)
    maker = tokens.maker_named(session, "Bo")
    assert maker is not None
    plain, _ = made(session, now, maker=maker, scopes=["tags.read", "audit.read"])

    bearer = tokens.bearer(session, plain, now)
    assert bearer is not None and bearer.sees(mine) and bearer.sees(other)
    scopes.set_scopes(session, bo, every_account=False, listed={mine: None}, by="cli", now=now)
    bearer = tokens.bearer(session, plain, now)
    assert bearer is not None and bearer.sees(mine) and not bearer.sees(other)
    session.execute(sa.update(operators_table).values(role="viewer"))
    bearer = tokens.bearer(session, plain, now)
    assert bearer is not None and bearer.scopes == {"tags.read"}
    session.execute(sa.update(operators_table).values(active=False))
    assert tokens.bearer(session, plain, now) is None


def test_a_channel_owner_carries_no_token(session, now):
    lead(session, now, "channel")
    assert tokens.maker_named(session, "Bo") is None


def test_the_last_use_is_written_once_a_minute(session, now):
    _, token = made(session, now)
    assert tokens.stale(token, now)
    tokens.used(session, token, now)
    seen = tokens.get(session, token.id)
    assert seen is not None
    assert not tokens.stale(seen, now + timedelta(seconds=59))
    assert tokens.stale(seen, now + timedelta(seconds=60))


def test_the_command_line_makes_lists_and_revokes(world: World):
    world.connect()
    told = world.told("token", "create", "shop", "--account", "muyan", "--scope", "read")
    (listed,) = world.told("token", "list")
    assert listed["scopes"] == sorted(rights.READING)
    assert listed["account"] == "muyan" and listed["state"] == "active"
    assert told["token"] not in json.dumps(listed)
    assert "revoked" in world.ok("token", "revoke", "shop")
    assert world.told("token", "list")[0]["state"] == "revoked"
    assert "no token" in world.fails("token", "revoke", "shop")
    assert "no right" in world.fails("token", "create", "x", "--scope", "all")
    with db.reading(world.rt.engine) as session:
        assert tokens.bearer(session, told["token"], world.clock()) is None


def test_tokens_stay_with_their_maker_who_gets_another_name(session, now):
    operator_id = lead(session, now)
    plain, _ = made(session, now, maker=tokens.maker_named(session, "Bo"))
    operators.change(session, operator_id, name="Bobo", by="Ann", now=now)
    operators.add(session, "Bo", "viewer", now, "correct horse battery")
    bearer = tokens.bearer(session, plain, now)
    assert bearer is not None
    assert (bearer.token.created_by, bearer.scopes) == ("Bobo", {"tags.read"})


@pytest.mark.parametrize("name", ["cli", "CLI", "system", "api:shop"])
def test_nobody_is_called_like_the_program_itself(session, now, name):
    with pytest.raises(Refused):
        operators.add(session, name, "viewer", now, "correct horse battery")
    operator_id = lead(session, now)
    with pytest.raises(Refused):
        operators.change(session, operator_id, name=name, by="Ann", now=now)
