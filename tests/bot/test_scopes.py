"""Which accounts an operator sees, and which QR codes a channel owner does."""

from datetime import datetime

import pytest

from bot import db, operators, scopes
from bot.errors import Invalid
from bot.operators import Operator
from tests import factories


def made(session: db.Session, name: str, role: str, now: datetime) -> Operator:
    operators.add(session, name, role, now)
    return next(item for item in operators.every(session) if item.name == name)


def limited(
    session: db.Session, operator: Operator, listed: dict[int, list[str] | None], now: datetime
) -> Operator:
    scopes.set_scopes(session, operator.id, every_account=False, listed=listed, by="test", now=now)
    found = operators.by_id(session, operator.id)
    assert found is not None
    return found


def slugs(session: db.Session, operator: Operator) -> list[str]:
    return [seen.account.slug for seen in scopes.accounts_of(session, operator)]


def test_an_operator_sees_every_account_until_a_list_says_which(
    session: db.Session, now: datetime
) -> None:
    muyan = factories.make_account(session, "muyan", now=now)
    factories.make_account(session, "shop", now=now)
    bo = made(session, "Bo", "operator", now)
    assert slugs(session, bo) == ["muyan", "shop"]
    bo = limited(session, bo, {muyan: None}, now)
    assert slugs(session, bo) == ["muyan"]
    scopes.set_scopes(session, bo.id, every_account=True, listed={}, by="test", now=now)
    again = operators.by_id(session, bo.id)
    assert again is not None
    assert len(scopes.accounts_of(session, again)) == 2


def test_no_list_limits_an_administrator(session: db.Session, now: datetime) -> None:
    muyan = factories.make_account(session, "muyan", now=now)
    factories.make_account(session, "shop", now=now)
    admin = limited(session, made(session, "An", "admin", now), {muyan: None}, now)
    assert len(scopes.accounts_of(session, admin)) == 2


def test_a_channel_owner_sees_the_codes_that_are_listed_and_no_others(
    session: db.Session, now: datetime
) -> None:
    muyan = factories.make_account(session, "muyan", now=now)
    factories.make_account(session, "shop", now=now)
    owner = made(session, "Dian", "channel", now)
    assert scopes.accounts_of(session, owner) == [], "a channel owner without a list sees nothing"
    with pytest.raises(Invalid, match="at least one QR code"):
        limited(session, owner, {muyan: []}, now)
    owner = limited(session, owner, {muyan: [" store_05_* ", "store_06", "store_06", ""]}, now)
    (seen,) = scopes.accounts_of(session, owner)
    assert (seen.account.slug, seen.scenes) == ("muyan", ("store_05_*", "store_06"))


@pytest.mark.parametrize("pattern", ["a b", "../x", "店", "x" * 65, "a'b"])
def test_what_can_be_no_key_of_a_code_is_refused(
    session: db.Session, now: datetime, pattern: str
) -> None:
    muyan = factories.make_account(session, "muyan", now=now)
    with pytest.raises(Invalid):
        limited(session, made(session, "Dian", "channel", now), {muyan: [pattern]}, now)


def test_an_account_nobody_has_and_an_empty_list_are_refused(
    session: db.Session, now: datetime
) -> None:
    bo = made(session, "Bo", "operator", now)
    with pytest.raises(Invalid, match="no such account"):
        limited(session, bo, {999: None}, now)
    with pytest.raises(Invalid, match="at least one account"):
        limited(session, bo, {}, now)
