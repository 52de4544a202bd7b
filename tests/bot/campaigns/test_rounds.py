"""Wave n + 1 goes to whom wave n was delivered to, less who converted, less who is capped: whatever happens between."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bot import db
from bot.audiences import segments
from bot.campaigns import aftermath, definitions, ledger, rounds, steering
from bot.clock import month_of
from bot.tables.campaigns import campaign_runs, deliveries
from bot.tables.events import events
from bot.tables.followers import follower_tags, followers, tags
from bot.tables.tracking import clicks, links
from tests import factories
from tests.bot.campaigns.conftest import Play

PEOPLE = 5
EVENT, GAVE_UP = "领券", "放弃触达"
DAY = timedelta(days=1)
NUMBERS = count(1)

few = st.sets(st.integers(0, PEOPLE - 1), max_size=2)


@dataclass(frozen=True)
class Wave:
    """What happens around one wave; people by their place among the followers."""

    full: frozenset[int] = frozenset()  # have no slot of the month left when it is planned
    left: frozenset[int] = frozenset()  # unfollow before it is planned
    early: frozenset[int] = frozenset()  # the platform answers for them first
    failed: frozenset[int] = frozenset()
    clicked: frozenset[int] = frozenset()
    bought: frozenset[int] = frozenset()
    skipped: bool = False  # by an operator; the first cannot be
    stopped: bool = False  # the campaign, by an operator, after this wave


waves = st.builds(
    Wave,
    full=few.map(frozenset),
    left=few.map(frozenset),
    early=few.map(frozenset),
    failed=few.map(frozenset),
    clicked=few.map(frozenset),
    bought=few.map(frozenset),
    skipped=st.booleans(),
    stopped=st.integers(0, 9).map(lambda number: number == 9),
)


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[str], tuple[int, int] | None, list[Wave]]:
    """(what each follow-up is to, the cap as messages and days, what happens around each wave)."""
    asks = draw(st.lists(st.sampled_from(["not_clicked", "not_converted"]), min_size=1, max_size=3))
    cap = draw(st.none() | st.tuples(st.integers(1, 2), st.integers(1, 3)))
    happen = draw(st.lists(waves, min_size=len(asks) + 1, max_size=len(asks) + 1))
    return asks, cap, happen


@dataclass
class Model:
    """The rule in sets, beside the program."""

    asks: list[str]
    cap: tuple[int, int] | None
    last: set[int] = field(default_factory=set)  # delivered by the last wave that was sent
    reached: set[int] = field(default_factory=set)
    did: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    gone: set[int] = field(default_factory=set)
    full: set[int] = field(default_factory=set)
    taken: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    wrote: dict[int, list[datetime]] = field(default_factory=lambda: defaultdict(list))

    def moved(self, number: int) -> set[int]:
        """Who did what wave ``number`` asks for; beyond the last wave what that one asked for."""
        return self.did[self.asks[min(number, len(self.asks) + 1) - 2]]

    def capped(self, now: datetime) -> set[int]:
        by_slot = {one for one in range(PEOPLE) if one in self.full or self.taken[one] >= 4}
        if self.cap is None:
            return by_slot
        messages, days = self.cap
        since = now - days * DAY
        often = {
            one
            for one in range(PEOPLE)
            if sum(at > since for at in self.wrote[one]) >= messages
        }  # fmt: skip
        return by_slot | often

    def paths(self, number: int, ahead: set[int]) -> dict[str, set[int]]:
        """Where everybody stands. ``number``: of the coming wave; ``ahead``: whom it, or this one, may reach."""
        converted = self.reached & self.moved(number)
        left = self.reached - converted
        return {"converted": converted, "next_wave": left & ahead, "given_up": left - ahead}


class Chain:
    """The same campaign in the program: every method is a step of it, or what people do."""

    def __init__(self, play: Play, asks: list[str], cap: tuple[int, int] | None) -> None:
        self.play = play
        if cap is not None:
            play.limits(cap={"messages": cap[0], "days": cap[1]})
        self.campaign = play.campaign(
            content={"text": "看看 {link:wb}"},
            links={"wb": "https://weibo.com/u/1"},
            goal={"metric": "event", "event": EVENT, "target": 5},
            follow_ups=[{"after": "24h", "to": one, "channels": ["mass"]} for one in asks],
            after={"wait": "1d", "gave_up": GAVE_UP},
        )

    def numbers(self, ids: Any) -> set[int]:
        return {self.play.people.index(one) for one in ids}

    def runs(self) -> list[Any]:
        with db.reading(self.play.engine) as session:
            root = session.execute(
                sa.select(campaign_runs.c.id).where(
                    campaign_runs.c.campaign_id == self.campaign.id,
                    campaign_runs.c.parent_id.is_(None),
                )
            ).scalar_one()
            return rounds.chain(session, root)

    def start(self) -> int:
        [run_id] = self.play.start()
        return run_id

    def follow(self) -> int:
        """The next wave is due: its run."""
        [run_id] = rounds.start_due(self.play.engine, self.play.now)
        return run_id

    def skip(self) -> None:
        play = self.play
        play.write(
            lambda session: steering.skip_round(
                session, play.account_id, self.campaign.name, play.now
            )
        )

    def with_status(self, run_id: int, *statuses: str) -> set[int]:
        rows = self.play.read(
            sa.select(deliveries.c.follower_id).where(
                deliveries.c.run_id == run_id, deliveries.c.status.in_(statuses)
            )
        )
        return self.numbers(row.follower_id for row in rows)

    def answer(self, run_id: int, people: set[int], status: str) -> None:
        """What the platform said of some."""
        ids = [self.play.people[one] for one in people]
        self.play.write(
            lambda session: session.execute(
                sa.update(deliveries)
                .where(
                    deliveries.c.run_id == run_id,
                    deliveries.c.status == "planned",
                    deliveries.c.follower_id.in_(ids),
                )
                .values(status=status)
            )
        )

    def finish(self, run_id: int) -> None:
        self.play.write(
            lambda session: session.execute(
                sa.update(campaign_runs)
                .where(campaign_runs.c.id == run_id)
                .values(status="finished", finished_at=self.play.now)
            )
        )

    def stop(self) -> None:
        play = self.play
        play.write(
            lambda session: steering.end(session, play.account_id, self.campaign.name, play.now)
        )

    def fill(self, people: frozenset[int]) -> None:
        play = self.play
        for one in people:
            play.write(
                lambda session, person=play.people[one]: ledger.carry(
                    session, play.account_id, person, month_of(play.now), 4
                )
            )

    def leave(self, people: frozenset[int]) -> None:
        ids = [self.play.people[one] for one in people]
        self.play.write(
            lambda session: session.execute(
                sa.update(followers).where(followers.c.id.in_(ids)).values(subscribed=False)
            )
        )

    def react(self, wave: Wave) -> None:
        play = self.play
        values = {"account_id": play.account_id, "at": play.now}

        def work(session: db.Session) -> None:
            link_id = session.execute(
                sa.select(links.c.id).where(links.c.campaign_id == self.campaign.id)
            ).scalar_one()
            for one in wave.clicked:
                given = {"follower_id": play.people[one], "link_id": link_id, "clean": True}
                session.execute(sa.insert(clicks).values(**values, **given))
            for one in wave.bought:
                given = {"follower_id": play.people[one], "kind": EVENT}
                session.execute(sa.insert(events).values(**values, **given))

        play.write(work)

    def paths(self) -> Mapping[str, set[int]]:
        runs = self.runs()
        with db.reading(self.play.engine) as session:
            campaign = definitions.by_id(session, self.campaign.id)
            found = aftermath.paths(session, campaign, runs)
        return {name: self.numbers(people) for name, people in found.items()}

    def given_up(self) -> set[int]:
        """Who wears the tag."""
        rows = self.play.read(
            sa.select(follower_tags.c.follower_id)
            .join(tags, tags.c.id == follower_tags.c.tag_id)
            .where(tags.c.name == GAVE_UP, tags.c.account_id == self.play.account_id)
        )
        return self.numbers(row.follower_id for row in rows)


def fresh(play: Play) -> Play:
    """Another account of the same installation, with its own followers."""
    slug = f"brand{next(NUMBERS)}"

    def work(session: db.Session) -> Play:
        account_id = factories.make_account(session, slug, now=play.now)
        people = factories.make_followers(session, account_id, PEOPLE, now=play.now)
        factories.make_tag(session, account_id, GAVE_UP)
        segments.save(session, account_id, "大家", {"all": []}, play.now)
        return Play(play.engine, account_id, play.now, people)

    made: Play = play.write(work)
    return made


def play_chain(
    play: Play, asks: list[str], cap: tuple[int, int] | None, happen: list[Wave]
) -> list[set[int]]:
    """Play a chain beside its model, compare at every moment; who was to get each wave."""
    play = fresh(play)
    model, chain = Model(asks, cap), Chain(play, asks, cap)
    got: list[set[int]] = []
    for number, wave in enumerate(happen, 1):
        if number > 1:
            play.later(days=1, seconds=number)
        chain.fill(wave.full)
        chain.leave(wave.left)
        model.full |= wave.full
        model.gone |= wave.left
        if number > 1 and wave.skipped:
            chain.skip()
            got.append(set())
        else:
            got.append(send_wave(chain, model, number, len(happen), wave))
        chain.react(wave)
        model.did["not_clicked"] |= wave.clicked
        model.did["not_converted"] |= wave.bought
        if wave.stopped and number < len(happen):
            chain.stop()
            break
        check(chain, model, number + 1, model.last if number < len(happen) else set())
    # over, or stopped: what the last wave asks for tells who converted
    last = model.paths(len(happen), set())
    assert chain.paths() == last
    ended = play.now
    assert aftermath.tag_due(play.engine, ended + timedelta(hours=23)) == 0
    assert chain.given_up() == set()
    assert rounds.start_due(play.engine, ended + 9 * DAY) == []
    assert aftermath.tag_due(play.engine, ended + 9 * DAY) == 1
    assert chain.given_up() == last["given_up"]
    return got


def send_wave(chain: Chain, model: Model, number: int, most: int, wave: Wave) -> set[int]:
    """One wave from due to over; who was to get it."""
    play = chain.play
    before = set(range(PEOPLE)) if number == 1 else model.last
    if number > 1:
        check(chain, model, number, before)
    run_id = chain.start() if number == 1 else chain.follow()
    if number > 1:
        check(chain, model, number, before)
        before = before - model.moved(number)
    play.plan(run_id)
    wanted = before - model.gone - model.capped(play.now)
    assert chain.with_status(run_id, "planned") == wanted
    # whom it leaves out has no wave before them any more
    check(chain, model, number + 1, wanted)
    for one in wanted:
        model.taken[one] += 1
    waiting = set(wanted)
    model.last = set()
    for people in (wanted & wave.early, wanted - wave.early):
        chain.answer(run_id, people - wave.failed, "sent")
        chain.answer(run_id, people & wave.failed, "failed")
        waiting -= people
        model.last |= people - wave.failed
        model.reached |= model.last
        check(chain, model, number + 1, waiting | (model.last if number < most else set()))
    for one in model.last:
        model.wrote[one].append(play.now)
    chain.finish(run_id)
    return wanted


def check(chain: Chain, model: Model, number: int, ahead: set[int]) -> None:
    found = chain.paths()
    assert found == model.paths(number, ahead)
    assert set().union(*found.values()) == model.reached
    assert sum(map(len, found.values())) == len(model.reached)


def wave(**people: Any) -> Wave:
    return Wave(**{key: frozenset(those) for key, those in people.items()})


ALL = {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("cap", "happen", "got"),
    [
        (None, [Wave(), Wave(), Wave()], [ALL, ALL, ALL]),
        (None, [wave(clicked=[0]), wave(clicked=[1, 0]), Wave()], [ALL, {1, 2, 3, 4}, {2, 3, 4}]),
        # no slot in wave 2: none in wave 3 either
        (None, [Wave(), wave(full=[2, 3]), Wave()], [ALL, {0, 1, 4}, {0, 1, 4}]),
        # the cap is over by the time of wave 3, but wave 2 was not delivered to anybody
        ((1, 2), [Wave(), Wave(), Wave()], [ALL, set(), set()]),
        ((1, 1), [Wave(), Wave(), Wave()], [ALL, ALL, ALL]),
        # in wave 1 already, so that they were never reached
        (None, [wave(full=[4]), Wave(), Wave()], [{0, 1, 2, 3}] * 3),
        (None, [wave(failed=[0]), wave(failed=[1]), Wave()], [ALL, {1, 2, 3, 4}, {2, 3, 4}]),
        (None, [Wave(), wave(left=[0]), Wave()], [ALL, {1, 2, 3, 4}, {1, 2, 3, 4}]),
        # a wave that was skipped left out nobody
        ((1, 2), [Wave(), Wave(skipped=True), Wave()], [ALL, set(), ALL]),
    ],
)
def test_wave_by_wave(
    play: Play, cap: tuple[int, int] | None, happen: list[Wave], got: list[set[int]]
) -> None:
    assert play_chain(play, ["not_clicked", "not_clicked"], cap, happen) == got


@pytest.mark.slow  # twenty chains of campaigns, a second each
# every example has an account of its own, so sharing the database between examples is meant
@settings(
    max_examples=20,
    deadline=None,
    # an example takes a second, so making a failing one smaller would take very long
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(drawn=chains())
def test_whatever_happens_a_wave_is_the_delivered_less_the_converted_less_the_capped(
    play: Play, drawn: tuple[list[str], tuple[int, int] | None, list[Wave]]
) -> None:
    play_chain(play, *drawn)
