"""A campaign of the account file: every problem named, saving twice changes nothing, approval is bound."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot import db
from bot.campaigns import definitions
from bot.errors import Invalid, Refused
from bot.tables.accounts import accounts as accounts_table
from bot.tables.campaigns import campaigns
from bot.tables.tracking import links
from tests.bot.campaigns.conftest import Play

GOOD: dict[str, Any] = {
    "name": "奈雪8元券",
    "segment": "大家",
    "at": "2025-11-25T20:30:00+08:00",
    "channels": ["customer_service", "mass"],
    "content": {"text": "微博留言 {link:wb}"},
    "links": {"wb": "https://weibo.com/u/1"},
    "goal": {"metric": "guided", "target": 1000},
    "approved_for": {"people": 5000, "slots": 5000},
    "status": "scheduled",
}


def without(*keys: str, **values: Any) -> dict[str, Any]:
    return {key: value for key, value in (GOOD | values).items() if key not in keys}


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (without("name"), "campaigns.0.name"),
        (without(when="now"), "campaigns.0.when"),
        (without("at"), "campaigns.0"),
        (without(repeat={"every": "day", "at": "20:30"}), "campaigns.0"),
        (without(at="soon"), "campaigns.0.at"),
        (without("at", repeat={"every": "week", "at": "20:30"}), "campaigns.0.repeat"),
        (without("at", repeat={"every": "month", "on": [32], "at": "20:30"}), "campaigns.0.repeat"),
        (without("at", repeat={"every": "day", "on": [1], "at": "20:30"}), "campaigns.0.repeat"),
        (without(channels=[]), "campaigns.0.channels"),
        (without(channels=["pigeon"]), "campaigns.0.channels"),
        (without(channels=["mass", "mass"]), "campaigns.0.channels"),
        (without(content={"text": ""}), "campaigns.0.content"),
        (without(content={"text": "{称呼|您}好"}), "campaigns.0.content"),
        (without(content={"text": "{link:other}"}), "campaigns.0.content"),
        (without(links={"wb": "ftp://x"}), "campaigns.0.links.wb"),
        (without(goal={"metric": "guided", "target": 0}), "campaigns.0.goal.target"),
        (without(status="finished"), "campaigns.0.status"),
    ],
)
def test_a_wrong_campaign_names_the_place(document: dict[str, Any], place: str) -> None:
    found = definitions.problems(document, "campaigns.0")
    assert [where for where, _ in found] == [place]
    with pytest.raises(Invalid):
        definitions.parse(document)


def test_every_problem_is_reported_at_once() -> None:
    wrong = without("name", channels=["pigeon"], status="odd")
    assert len(definitions.problems(wrong)) == 3


def test_what_is_saved_is_written_back_the_same(play: Play) -> None:
    def save(session: db.Session) -> None:
        definitions.save(session, play.account, GOOD, play.now, by="Ann")

    play.write(save)
    before = play.read(sa.select(campaigns))
    with db.reading(play.engine) as session:
        (document,) = definitions.documents(session, play.account_id)
    assert document == definitions.parse(GOOD)
    play.now += timedelta(days=300)  # its time is past now; an unchanged campaign is no error
    play.write(lambda session: definitions.save(session, play.account, document, play.now, by="Bo"))
    assert play.read(sa.select(campaigns)) == before
    assert len(play.read(sa.select(links))) == 1


def test_of_two_who_make_one_name_at_once_the_second_is_told(play: Play) -> None:
    def first(connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        if statement.startswith("INSERT INTO campaigns"):  # between the look and the writing
            connection.connection.dbapi_connection.cursor().execute(statement, values)

    sa.event.listen(play.engine, "before_cursor_execute", first)
    with pytest.raises(Refused, match="somebody else changed"):
        play.write(lambda session: definitions.save(session, play.account, GOOD, play.now, by="Bo"))


def test_a_repeating_campaign_is_written_back_the_same(play: Play) -> None:
    repeat = {"every": "week", "on": ["fri"], "at": "20:30"}
    play.campaign(at=None, repeat=repeat, approved_for=None, status="draft")
    with db.reading(play.engine) as session:
        (document,) = definitions.documents(session, play.account_id)
    assert document["repeat"] == repeat
    assert (document["status"], "approved_for" in document) == ("draft", False)


@pytest.mark.parametrize(("minutes", "fine"), [(0, True), (10, True), (9, True), (11, False)])
def test_a_time_more_than_ten_minutes_past_is_an_error(
    play: Play, minutes: int, fine: bool
) -> None:
    when = (play.now - timedelta(minutes=minutes)).isoformat()
    if fine:
        assert play.campaign(at=when).status == "scheduled"
        return
    with pytest.raises(Invalid, match="10 minutes"):
        play.campaign(at=when)


def test_an_unknown_segment_is_an_error(play: Play) -> None:
    with pytest.raises(Invalid, match="segment"):
        play.campaign(segment="没有")


def test_draft_in_the_file_stops_and_scheduled_goes_on(play: Play) -> None:
    late = (play.now + timedelta(days=1)).isoformat()
    assert play.campaign(at=late).status == "scheduled"
    assert play.campaign(at=late, status="draft").status == "stopped"
    assert play.campaign(at=late).next_due_at == play.now + timedelta(days=1)
    later = (play.now + timedelta(days=2)).isoformat()
    assert play.campaign(at=later).next_due_at == play.now + timedelta(days=2)


def test_nothing_changes_while_a_run_is_under_way_or_after_the_end(play: Play) -> None:
    play.planned()
    with pytest.raises(Refused, match="under way"):
        play.campaign(content={"text": "另一个"})
    with pytest.raises(Refused, match="under way"):
        play.write(
            lambda session: definitions.archive(
                session, definitions.get(session, play.account_id, "奈雪8元券")
            )
        )
    play.finish_all()
    with pytest.raises(Refused, match="finished"):
        play.campaign(content={"text": "另一个"})


def test_a_changed_content_ends_the_approval(play: Play) -> None:
    late = (play.now + timedelta(days=1)).isoformat()
    play.campaign(at=late)
    changed = play.campaign(at=late, content={"text": "另一个"}, approved_for=None)
    wanted = {"approve_above": 1000, "to_everybody": False}
    assert definitions.missing_approval(changed, 1, 1, **wanted) == "changed"  # type: ignore[arg-type]


def test_a_second_operator_joins_only_what_the_first_approved(play: Play) -> None:
    campaign = play.campaign(approved_for=None)

    def approve(by: str, people: int) -> definitions.Campaign:
        return play.write(
            lambda session: definitions.approve(
                session, definitions.by_id(session, campaign.id), by, people, 5, play.now
            )
        )

    assert approve("Ann", 10).approved_by == ("Ann",)
    assert approve("Bo", 8).approved_by == ("Ann", "Bo")
    more = approve("Bo", 20)
    assert (more.approved_by, more.approved_people) == (("Bo",), 20)
    with pytest.raises(Refused):
        approve("Ann", 0)


def test_an_unverified_account_has_no_mass(play: Play) -> None:
    play.write(lambda session: session.execute(sa.update(accounts_table).values(verified=False)))
    with pytest.raises(Invalid, match="48001"):
        play.campaign()


def test_archived_and_renamed(play: Play) -> None:
    late = (play.now + timedelta(days=1)).isoformat()
    play.campaign(at=late)
    play.write(lambda session: definitions.rename(session, play.account_id, "奈雪8元券", "新名字"))
    play.write(
        lambda session: definitions.archive(
            session, definitions.get(session, play.account_id, "新名字")
        )
    )
    with db.reading(play.engine) as session:
        assert definitions.documents(session, play.account_id) == []
        assert len(definitions.every(session, play.account_id, archived=True)) == 1
