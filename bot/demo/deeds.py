"""What followers of the demo do with the campaign 「奈雪 8 元券 · 微博留言」: each deed at its moment, as planted."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import sqlalchemy as sa
from flask import Flask
from werkzeug.test import Client

from bot import accounts, db
from bot.campaigns import definitions, funnel
from bot.clock import Clock
from bot.demo import truth
from bot.demo.history import MONITORING
from bot.demo.load import APP_ID, Stage
from bot.demo.population import SEED, Person
from bot.demo.truth import share
from bot.errors import Refused
from bot.sandbox.app import create_app as sandbox_app
from bot.sandbox.personas import LINK
from bot.sandbox.platform import Platform
from bot.tables.campaigns import campaigns
from bot.tables.events import events
from bot.tables.followers import followers

WECHAT = "Mozilla/5.0 (iPhone) MicroMessenger/8.0.50"
COMMENT, COUPON, USED = MONITORING
ORDER = "下单"
# when, after the first wave: people click within the day it is judged by, write before the second wave,
# leave within 48 hours; lists are imported when the campaign is over
CLICKS = (timedelta(hours=3), timedelta(hours=22))
WRITES = (timedelta(hours=25), timedelta(hours=46))
LEAVES = (timedelta(hours=4), timedelta(hours=44))
SECOND = (timedelta(hours=48, minutes=20), timedelta(hours=52))
COUPONS = (timedelta(hours=71), timedelta(hours=96))
LISTS = timedelta(hours=100)

Act = tuple[datetime, Callable[[], object]]


@dataclass
class Crowd:
    """Followers on a sandbox in this process, and the one clock of product and platform."""

    stage: Stage
    platform: Platform
    clock: Clock
    product: Flask

    def __post_init__(self) -> None:
        hosts = (
            (self.stage.rt.config.base_url, self.product),
            (self.stage.sandbox_url, sandbox_app(self.platform)),
        )
        self._clients = {urlsplit(url).netloc: Client(app) for url, app in hosts}
        self._sandbox_host = urlsplit(self.stage.sandbox_url).netloc

    def browse(self, url: str, open_id: str) -> str:
        """Open a link as WeChat's browser does for a follower, through web authorisation if asked; where it ends.

        Raises:
            Refused: it does not lead anywhere.
        """
        for _ in range(6):
            parts = urlsplit(url)
            client = self._clients.get(parts.netloc)
            if client is None:
                return url
            persona = f"&persona={open_id}" if parts.netloc == self._sandbox_host else ""
            answer = client.get(
                parts.path,
                query_string=parts.query + persona,
                headers={"User-Agent": WECHAT},
                base_url=f"{parts.scheme}://{parts.netloc}",
            )
            if answer.status_code not in (301, 302):
                raise Refused(f"a demo link ended with {answer.status_code}")
            url = answer.headers["Location"]
        raise Refused("a demo link goes round in circles")

    def click(self, open_id: str) -> None:
        """Follow the link of the newest message that has one; nobody clicks what did not come."""
        for item in reversed(self.platform.received(APP_ID, open_id)):
            if item["way"] == "reply":
                continue
            # a notice has its link beside the text, an article inside
            links = LINK.findall(json.dumps(item["content"], ensure_ascii=False))
            if links:
                self.browse(links[0], open_id)
                return

    def say(self, open_id: str, text: str) -> None:
        self.platform.say(APP_ID, open_id, text)

    def leave(self, open_id: str) -> None:
        self.platform.leave(APP_ID, open_id)


def deeds(crowd: Crowd, everybody: Sequence[Person], size: int, at: datetime) -> list[Act]:
    """Everything the campaign's people do when its first wave goes out ``at``, in order of time."""
    chance = random.Random(SEED + 2)  # noqa: S311 -- drawn, not secret
    acts: list[Act] = []

    def do(during: tuple[timedelta, timedelta], act: Callable[..., object], *given: str) -> None:
        begin, end = during
        acts.append((at + begin + (end - begin) * chance.random(), lambda: act(*given)))

    for person in everybody:
        role, who = person.role, person.open_id
        if role.guided:
            do(CLICKS if role.guided == 1 else SECOND, crowd.click, who)
        if role.writes:
            do(WRITES, crowd.say, who, "在吗")
        if role.leaves:
            do(LEAVES, crowd.leave, who)
        if role.coupon:
            do(COUPONS, crowd.say, who, "1")
    acts.append((at + LISTS, lambda: import_lists(crowd, everybody, size, at)))
    return sorted(acts, key=lambda act: act[0])


def import_lists(crowd: Crowd, everybody: Sequence[Person], size: int, at: datetime) -> None:
    """What happened elsewhere: the comments on Weibo, the coupons used in shops, orders; and how many read it.

    Lists say who; the number of readers is copied from the platform's own site. Doing it twice changes nothing.
    """
    with db.writing(crowd.stage.rt.engine) as session:
        account_id = accounts.get(session, truth.SLUG).id
        campaign_id = session.execute(
            sa.select(campaigns.c.id).where(
                campaigns.c.account_id == account_id, campaigns.c.name == truth.CAMPAIGN
            )
        ).scalar()
        if campaign_id is None:
            return
        found = session.execute(
            sa.select(followers.c.open_id, followers.c.id).where(
                followers.c.account_id == account_id
            )
        )
        ids = {row.open_id: row.id for row in found}
        done = sa.select(events.c.id).where(
            events.c.account_id == account_id, events.c.source_key.like("demo list:%")
        )
        if session.execute(done.limit(1)).first() is None:
            rows = [
                {
                    "account_id": account_id,
                    "follower_id": ids[person.open_id],
                    "kind": kind,
                    "key": truth.CAMPAIGN,
                    "at": at + after,
                    "source_key": f"demo list:{kind}:{ids[person.open_id]}",
                }
                for person in everybody
                for kind, did, after in (
                    (COMMENT, person.role.commented, timedelta(hours=70)),
                    (USED, person.role.used, timedelta(hours=98)),
                    (ORDER, person.role.bought, timedelta(hours=99)),
                )
                if did
            ]
            session.execute(sa.insert(events), rows)
        campaign = definitions.by_id(session, campaign_id)
        funnel.enter_readers(session, campaign, share(truth.OPENED, size), crowd.clock())
