"""Killed at any action and begun again, tags for one send and tags by result are as if nothing had happened."""

from collections import Counter
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa

from bot import db, tag_sync
from bot.campaigns import aftermath, temporary_tags
from bot.tables.campaigns import campaign_runs, deliveries, mass_batches
from bot.tables.campaigns import temporary_tags as table
from bot.tables.followers import follower_tags, followers, tags
from bot.tables.tracking import clicks, links
from bot.wechat import tags as gateway
from tests import factories
from tests.bot.campaigns.kills import Life
from tests.bot.campaigns.makers import make_campaign, make_delivery, make_run
from tests.bot.stage import Stage

PEOPLE, LEFT, OPTED_OUT = 5, 2, 4
NUMBERS = count(1)
GIVEN = {"clicked": "点了", "not_clicked": "没点", "gave_up": "放弃触达"}


class Send:
    """A subscription account's batch to a few followers, from the tag that is asked for to the one that is gone."""

    def __init__(self, engine: sa.Engine, now: Any, *, cancelled: bool) -> None:
        self.engine, self.now, self.cancelled = engine, now, cancelled
        self.stage = Stage(now, kind="subscription")
        self.stage.follow(*range(1, PEOPLE + 1))
        self.stage.leave_silently(LEFT)
        self.life = Life(engine)
        number = next(NUMBERS)
        with db.writing(engine) as session:
            self.account_id = factories.make_account(
                session, f"brand{number}", now=now, kind="subscription"
            )
            people = factories.make_followers(session, self.account_id, PEOPLE, now=now)
            session.execute(
                sa.update(followers)
                .where(followers.c.id == people[OPTED_OUT - 1])
                .values(opted_out_at=now)
            )
            campaign_id = make_campaign(session, self.account_id, now=now)
            self.run_id = make_run(session, self.account_id, campaign_id, now=now)
            self.batch = session.execute(
                sa.insert(mass_batches)
                .values(
                    account_id=self.account_id, run_id=self.run_id, wave=1, number=1, target="tag",
                    client_msg_id=f"abc-{number}", size=PEOPLE, month="2025-03", status="planned",
                )
                .returning(mass_batches.c.id, mass_batches.c.client_msg_id)
            ).one()  # fmt: skip
            for person in people:
                make_delivery(session, self.account_id, self.run_id, person, batch_id=self.batch.id)
            temporary_tags.ask(session, self.account_id, self.run_id, self.batch, now)
        self.stage.wechat.call = self.life.watched(self.stage.wechat.call)  # type: ignore[method-assign]

    def row(self) -> Any:
        with db.reading(self.life.outside) as session:
            return session.execute(
                sa.select(table).where(table.c.account_id == self.account_id)
            ).one()

    def work(self) -> None:
        """What jobs and the send do, until the tag is gone."""
        for _ in range(100):
            if self.row().state == "gone":
                return
            if self.account_id in temporary_tags.accounts_at_work(self.engine, self.now):
                temporary_tags.step(self.engine, self.stage.wechat, self.account_id, self.now)
            if self.row().state == "filling" and self.cancelled:
                self._end("cancelled")
            elif self.row().state == "ready":
                self.check_wearers()
                self._end("finished")
        raise AssertionError("the work never ends")

    def play(self, deaths: list[int]) -> None:
        for actions in deaths:
            with self.life.of(actions):
                self.work()
            # somebody else takes over, once the dead one's turn for changes of tags has run out
            self.now += tag_sync.LEASE + timedelta(seconds=1)
        with self.life.of(None):
            self.work()

    def check_wearers(self) -> None:
        """Exactly those who may get it wear the one tag that was made."""
        names = [name for name in self.listed() if name.startswith(tag_sync.TEMPORARY)]
        assert names == [self.row().name]
        rows = self.stage.platform.store.all("SELECT open_id FROM follower_tags")
        wanted = {factories.open_id(number) for number in range(1, PEOPLE + 1)}
        wanted -= {factories.open_id(LEFT), factories.open_id(OPTED_OUT)}
        assert Counter(row["open_id"] for row in rows) == Counter(wanted)
        assert self.row().size == len(wanted)

    def listed(self) -> list[str]:
        rows = self.stage.platform.store.all("SELECT name FROM tags ORDER BY id")
        return [row["name"] for row in rows]

    def outcomes(self) -> Counter[Any]:
        with db.reading(self.life.outside) as session:
            rows = session.execute(
                sa.select(deliveries.c.status, deliveries.c.reason, deliveries.c.batch_id).where(
                    deliveries.c.run_id == self.run_id
                )
            )
            return Counter((row.status, row.reason, row.batch_id is not None) for row in rows)

    def _end(self, how: str) -> None:
        with db.writing(self.engine) as session:
            if how == "cancelled":
                session.execute(
                    sa.update(campaign_runs)
                    .where(campaign_runs.c.id == self.run_id)
                    .values(status="cancelled")
                )
                return
            temporary_tags.used(session, self.batch.id)
            session.execute(
                sa.update(mass_batches)
                .where(mass_batches.c.id == self.batch.id)
                .values(status="finished")
            )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three followers a call, two calls a step: every kind of step comes several times."""
    monkeypatch.setattr(gateway, "MAX_OPEN_IDS", 3)
    monkeypatch.setattr(temporary_tags, "CALLS", 2)


@pytest.mark.slow  # some forty sends of their own
@pytest.mark.parametrize("cancelled", [False, True])
def test_killed_at_any_action_a_tag_for_one_send_is_right_when_used_and_gone_in_the_end(
    engine: sa.Engine, now: Any, small: None, cancelled: bool
) -> None:
    whole = Send(engine, now, cancelled=cancelled)
    before = whole.listed()
    whole.play([])
    actions, wanted = whole.life.actions, whole.outcomes()
    assert actions > 20
    if not cancelled:
        assert wanted == {
            ("planned", None, True): PEOPLE - 2,
            ("skipped", "left", False): 1,
            ("skipped", "opted_out", False): 1,
        }
    for death in range(actions):
        send = Send(engine, now, cancelled=cancelled)
        send.play([death])
        assert send.listed() == before
        assert send.row().error is None
        # a run that is cancelled later has left out somebody more
        assert cancelled or send.outcomes() == wanted


def test_killed_again_and_again_a_tag_for_one_send_comes_to_its_end(
    engine: sa.Engine, now: Any, small: None
) -> None:
    for actions in range(6, 18, 3):
        send = Send(engine, now, cancelled=False)
        before = send.listed()
        send.play([actions] * 12)
        assert send.listed() == before
        assert send.outcomes()["planned", None, True] == PEOPLE - 2


class Ended:
    """A campaign that is over: nine followers, of whom three clicked and one could not be reached."""

    def __init__(self, engine: sa.Engine, now: Any) -> None:
        self.engine, self.now = engine, now
        self.life = Life(engine)
        with db.writing(engine) as session:
            self.account_id = factories.make_account(session, f"brand{next(NUMBERS)}", now=now)
            self.people = factories.make_followers(session, self.account_id, 9, now=now)
            self.campaign_id = make_campaign(
                session, self.account_id, now=now, status="finished", after={"wait": "1d", **GIVEN}
            )
            self.run_id = make_run(
                session, self.account_id, self.campaign_id, now=now, status="finished",
                planned_at=now, finished_at=now,
            )  # fmt: skip
            self.link_id = session.execute(
                sa.insert(links)
                .values(
                    account_id=self.account_id, campaign_id=self.campaign_id, name="wb",
                    target="https://weibo.com/u/1", created_at=now,
                )
                .returning(links.c.id)
            ).scalar_one()  # fmt: skip
            for person in self.people:
                status = "failed" if person == self.people[8] else "sent"
                make_delivery(session, self.account_id, self.run_id, person, status=status, at=now)
        for person in self.people[:3]:
            self.click(person)

    def click(self, person: int) -> None:
        with db.writing(self.engine) as session:
            session.execute(
                sa.insert(clicks).values(
                    account_id=self.account_id, link_id=self.link_id, follower_id=person,
                    at=self.now, clean=True,
                )
            )  # fmt: skip

    def worn(self) -> dict[str, set[int]]:
        with db.reading(self.life.outside) as session:
            rows = session.execute(
                sa.select(tags.c.name, follower_tags.c.follower_id, follower_tags.c.origin)
                .join(follower_tags, follower_tags.c.tag_id == tags.c.id)
                .where(tags.c.account_id == self.account_id)
            ).all()
        found: dict[str, set[int]] = {}
        for row in rows:
            assert row.origin == "campaign:奈雪8元券"
            found.setdefault(row.name, set()).add(self.people.index(row.follower_id))
        return found

    def tagged(self) -> bool:
        with db.reading(self.life.outside) as session:
            run = sa.select(campaign_runs.c.tagged_at).where(campaign_runs.c.id == self.run_id)
            return session.execute(run).scalar() is not None


RIGHT = {
    "点了": {0, 1, 2},
    "没点": {3, 4, 5, 6, 7, 8},
    "放弃触达": {3, 4, 5, 6, 7},
}


def test_killed_at_any_action_everybody_gets_the_tags_of_their_result_once(
    engine: sa.Engine, now: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aftermath, "ROWS", 2)
    whole = Ended(engine, now)
    whole.now += timedelta(days=1)
    with whole.life.of(None):
        assert aftermath.tag_due(engine, whole.now) == 1
    assert whole.worn() == RIGHT
    actions = whole.life.actions
    assert actions > 10
    for death in range(actions):
        ended = Ended(engine, now)
        ended.now += timedelta(days=1)
        with ended.life.of(death):
            aftermath.tag_due(engine, ended.now)
        assert not ended.tagged()
        # who clicks between the two lives had not clicked when the tags were due
        ended.now += timedelta(minutes=1)
        ended.click(ended.people[3])
        assert aftermath.tag_due(engine, ended.now) == 1
        assert ended.worn() == RIGHT
        assert ended.tagged()
        assert aftermath.tag_due(engine, ended.now) == 0


def test_two_processes_that_tag_at_once_give_each_tag_once(
    engine: sa.Engine, now: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = Ended(engine, now)
    ended.now += timedelta(days=1)
    real, nested = aftermath._given, [0]

    def given(*arguments: Any) -> Any:
        """When one has reckoned who gets what, the other does the whole of it first."""
        found = real(*arguments)
        nested[0] += 1
        if nested[0] == 1:
            assert aftermath.tag_due(engine, ended.now) == 1
        return found

    monkeypatch.setattr(aftermath, "_given", given)
    assert aftermath.tag_due(engine, ended.now) == 1
    assert nested == [2]
    assert ended.worn() == RIGHT
