"""The demo brand's month: what one more send to everybody takes from it, and how its slots are best divided."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot import accounts, db
from bot.audiences.index import Look
from bot.campaigns import allocation, calendar, definitions, pasts
from bot.campaigns.month_values import Choice, Settings
from bot.demo import load, truth
from tests.scenarios.demo_world import MORNING, DemoWorld, world

MONTH = "2025-11"
SIZE = 2_000
# three activities beside the two planned sends to everybody: name, segment, day
ACTIVITIES = (
    ("奈雪 8 元券", "活动同好", 16),
    ("微博暗号", "G1 核心", 22),
    ("会员加购", "会员", 25),
)


@pytest.fixture
def demo(tmp_path: Path, database_url: str, engine: sa.Engine) -> Iterator[DemoWorld]:
    with world(tmp_path, database_url, engine, MORNING, "http://product.test") as made:
        yield made


@pytest.mark.slow  # loads 2,000 followers with their past
def test_the_month_of_the_demo(demo: DemoWorld) -> None:
    load.load(demo.stage, "small", MORNING)
    engine = demo.rt.engine
    with db.writing(engine) as session:
        account = accounts.get(session, load.SLUG)
        look = Look(session, account.id, MORNING)
        found = calendar.what_if(look, account, "全体粉丝", MORNING + timedelta(hours=3))
        assert [(one.name, len(one.people)) for one in found.lost] == [
            ("冬季新品上市 · 全量群发", truth.share(1_800, SIZE)),
            ("会员日 · 全量群发", truth.share(6_900, SIZE)),
        ]
        assert len(found.people) == truth.share(8_700, SIZE)
        for name, segment, day in ACTIVITIES:
            document = {
                "name": name, "segment": segment, "at": f"2025-11-{day}T20:30", "channels": ["mass"],
                "content": {"text": "请你喝奶茶"}, "status": "draft",
                "brief": {"similar": ["微博转发抽小样", "直播暗号"]},
            }  # fmt: skip
            definitions.save(session, account, document, MORNING, by="小林")
    pasts.recount(engine, account.id, MORNING)
    with db.reading(engine) as session:
        offers = allocation.offers(session, account, MONTH, MORNING)
    assert len(offers) == 5
    choices = tuple(Choice(one.campaign.id) for one in offers)
    made = allocation.propose(engine, account.id, Settings(MONTH, choices), MORNING, by="小林")
    with db.reading(engine) as session:
        divided = allocation.find(session, account.id, made)
        places = allocation.people(session, account.id, made)
    assert divided is not None
    told, habit = divided.figures, divided.figures["habit"]
    # the same slots, given to those who are likely to click: more clicks from fewer messages
    assert told["exact"]
    assert told["total"] > 1.05 * habit["total"]
    assert told["clicks"] > habit["clicks"]
    assert told["slots"] < habit["slots"]
    assert sum(len(people) for people in places.values()) == told["slots"]
