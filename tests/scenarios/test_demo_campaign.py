"""The documented campaign 「奈雪 8 元券 · 微博留言」: reviewed on 20,000 followers, and played to its end on a tenth.

Played on 20,000 it is where its plan is made in the browser (tests/browser/test_demo_campaign.py).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot import accounts, db, operators
from bot.campaigns import comparison, definitions, ledger, live, reviews
from bot.campaigns.live import Line
from bot.demo import campaigns, load, truth
from bot.errors import Refused
from tests import factories
from tests.scenarios.demo_figures import campaign_of
from tests.scenarios.demo_world import FIRST_WAVE, MORNING, DemoWorld, world


@pytest.fixture
def demo(tmp_path: Path, database_url: str, engine: sa.Engine) -> Iterator[DemoWorld]:
    with world(tmp_path, database_url, engine, MORNING, "http://product.test") as made:
        yield made


@pytest.mark.sqlite
@pytest.mark.slow  # loads 20,000 followers with their past
def test_the_demo_campaign_is_reviewed_with_the_planned_numbers(demo: DemoWorld) -> None:
    load.load(demo.stage, "full", MORNING)
    _review(demo, "full")


@pytest.mark.sqlite
@pytest.mark.slow  # five days of 2,000 followers
def test_the_small_demo_campaign_has_the_same_shares(demo: DemoWorld) -> None:
    load.load(demo.stage, "small", MORNING)
    _review(demo, "small")
    demo.live("small", factories.at("2025-11-17 09:00"))
    with db.reading(demo.rt.engine) as session:
        picture = live.picture(session, campaign_of(session), demo.clock())
        first, second = picture.runs
        assert (first.audience, first.holdout, first.total.slots) == (500, 50, 336)
        assert _people(first.channels) == {"customer_service": 62, "subscription": 38, "mass": 336}
        assert sum(first.reasons.values()) == 500
        assert second.total.sent == 41
        guided = sum(role.guided > 0 for role in truth.roles(2_000))
        assert picture.guided == guided
        account_id = accounts.get(session, truth.SLUG).id
        assert ledger.check(session, account_id, "2025-11") == []


def _review(demo: DemoWorld, size: str) -> None:
    """小林 hands it in; nobody alone lets so many go; 周姐 does."""
    count = load.SIZES[size]
    with db.writing(demo.rt.engine) as session:
        for name, role in (("小林", "operator"), ("周姐", "lead")):
            operators.add(session, name, role, MORNING, "demo-password-1")
        account = accounts.get(session, truth.SLUG)
        document = campaigns.document(FIRST_WAVE, count)
        campaign = definitions.save(session, account, document, MORNING, by="小林")
        told = reviews.forecast(session, account, campaign, MORNING)
        assert told.people == truth.share(5_000, count)
        assert dict(told.channels) == {
            "customer_service": truth.share(620, count),
            "subscription": truth.share(380, count),
            "mass": truth.share(3_360, count),
        }
        assert dict(told.reasons) == {
            "holdout": truth.share(500, count),
            "no_window": truth.share(140, count),
        }
        if size == "full":
            lost = comparison.would_lose(session, account, campaign, FIRST_WAVE, MORNING)
            assert [(one.name, one.people) for one in lost] == [
                ("冬季新品上市 · 全量群发", 308),
                ("会员日 · 全量群发", 1_188),
            ]
        reviews.submit(session, account, campaign, "小林", MORNING)
        campaign = definitions.by_id(session, campaign.id)
        people, slots = reviews.bounds(told)
        key = demo.rt.secret_key
        if told.reached > account.limits.approve_above:
            with pytest.raises(Refused, match="nobody approves"):
                reviews.approve(session, account, campaign, "小林", people, slots, MORNING, key)
        changed = reviews.approve(session, account, campaign, "周姐", people, slots, MORNING, key)
        assert changed.approved_by[-1] == "周姐"
        assert reviews.handed_in(session, changed) is None


def _people(lines: Sequence[Line]) -> dict[str, int]:
    return {line.name: line.handed_over for line in lines}
