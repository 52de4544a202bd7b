"""Articles of the library and the campaigns that name them: what was approved is what is sent."""

from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from bot import articles, db, materials, media
from bot.accounts import Account
from bot.audiences import segments
from bot.campaigns import definitions, steering
from bot.errors import Refused
from tests.bot.campaigns.makers import make_campaign, make_run

DRAFT = {"title": "双 11 攻略", "html": "<p>8 元券</p>", "cover": {"file": "c.png"}}


def write(session: db.Session, account: Account, now: datetime, **changed: Any) -> int:
    return materials.create_article(session, account.id, DRAFT | changed, now, by="Ann")


def rewrite(session: db.Session, account: Account, number: int, now: datetime) -> articles.Article:
    return materials.change_article(
        session, account.id, number, DRAFT | {"html": "<p>80 元券</p>"}, 1, now
    )


def approved(session: db.Session, account: Account, now: datetime, **values: Any) -> int:
    campaign_id = make_campaign(session, account.id, now=now, **({"status": "draft"} | values))
    campaign = definitions.by_id(session, campaign_id)
    definitions.approve(session, campaign, "Bo", 100, 100, now)
    return campaign_id


def waits(session: db.Session, campaign_id: int) -> str | None:
    campaign = definitions.by_id(session, campaign_id)
    return definitions.missing_approval(campaign, 5, 5, approve_above=10, to_everybody=False)


@pytest.mark.parametrize("named", ["id", "title"])
def test_who_approved_an_article_approved_what_it_says(
    engine: sa.Engine, account: Account, now: datetime, named: str
) -> None:
    with db.writing(engine) as session:
        number = write(session, account, now)
        reference = number if named == "id" else DRAFT["title"]
        content = {"article": {"article": reference}}
        campaign_id = approved(session, account, now, content=content)
        other = approved(session, account, now, name="别的")
        assert waits(session, campaign_id) is None
        rewrite(session, account, number, now)
        assert waits(session, campaign_id) == "changed"
        assert waits(session, other) is None


def test_an_article_of_the_same_title_takes_no_ones_place_unseen(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    content = {"article": {"article": DRAFT["title"]}}
    with db.writing(engine) as session:
        write(session, account, now)
        campaign_id = approved(session, account, now, content=content)
        write(session, account, now)
        assert waits(session, campaign_id) == "changed"
    make = {"content": content, "name": "排期", "status": "scheduled"}
    with db.writing(engine) as session:
        make_campaign(session, account.id, now=now, **make)
    with pytest.raises(Refused, match="排期"), db.writing(engine) as session:
        write(session, account, now)


def test_nobody_changes_an_article_while_a_run_of_a_stopped_campaign_sends_it(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        number = write(session, account, now)
        content = {"article": {"article": number}}
        campaign_id = make_campaign(session, account.id, now=now, content=content, status="stopped")
        run_id = make_run(session, account.id, campaign_id, now=now)
    with pytest.raises(Refused, match="奈雪8元券"), db.writing(engine) as session:
        rewrite(session, account, number, now)
    with db.writing(engine) as session:
        session.execute(
            sa.text(f"update campaign_runs set status = 'finished' where id = {run_id}")
        )
        assert rewrite(session, account, number, now).version == 2


def test_an_article_written_inside_a_scheduled_campaign_is_not_changed_in_the_library(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    content = {"article": {"draft": articles.check(DRAFT)}}
    with db.writing(engine) as session:
        make_campaign(session, account.id, now=now, content=content)
        articles.adopt(session, account.id, content, now, by="Ann")
        row = media.find_article(session, account.id, content["article"])
        assert row is not None
        [use] = materials.article_used_by(session, account.id, row.id, row.title)
        assert (use.name, use.live) == ("奈雪8元券", True)
    with pytest.raises(Refused, match="奈雪8元券"), db.writing(engine) as session:
        rewrite(session, account, row.id, now)


def test_what_a_campaign_says_is_there_again_when_it_is_scheduled(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    content = {"article": {"draft": articles.check(DRAFT)}}
    with db.writing(engine) as session:
        campaign_id = make_campaign(session, account.id, now=now, content=content, status="draft")
        articles.adopt(session, account.id, content, now, by="Ann")
        row = media.find_article(session, account.id, content["article"])
        assert row is not None
        rewrite(session, account, row.id, now)
        assert media.find_article(session, account.id, content["article"]) is None
        campaign = definitions.by_id(session, campaign_id)
        definitions.schedule(session, account, campaign, now)
        found = media.find_article(session, account.id, content["article"])
    assert found is not None and found.document["html"] == DRAFT["html"]


def test_an_article_written_for_a_follow_up_under_way_stands_in_the_library(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    content = {"article": {"draft": articles.check(DRAFT)}}
    step = {"after": "24h", "to": "not_clicked", "channels": ["mass"]}
    with db.writing(engine) as session:
        segments.save(session, account.id, "everybody", {"all": []}, now)
        campaign_id = make_campaign(session, account.id, now=now, follow_ups=[step])
        make_run(session, account.id, campaign_id, now=now, status="finished")
        steering.change_round(session, account.id, "奈雪8元券", content, now)
        assert media.find_article(session, account.id, content["article"]) is not None
