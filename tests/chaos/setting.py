"""What is there before the first kill: an account on both sides, followers, rules, and campaigns to come."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bot import accounts, consents, db, migrate, operators, templates
from bot.clock import local
from bot.config import Config, load_config
from bot.demo.load import Control, apply_file
from bot.runtime import Runtime, build
from bot.tables.events import events
from bot.tables.followers import follower_tags, followers, tags
from tests import factories

SLUG, TAG = "muyan", "油皮"
SECRET_KEY = "a-secret-key-for-chaos-only"
FICKLE = 20  # one in so many leaves, opts out and comes back; everybody else must get what is due
CHUNK = 5_000

FILE = """\
version: 1
account: {slug: muyan, opening: {sent_to_all: 0}}
# followers here leave and come back all day long, and a send to everybody need not wait ten minutes
limits: {guard: false, all_send_hold: 2s}
tags:
  - {name: 油皮, family: 客户信息}
  - {name: 活动, family: 营销互动}
  - {name: 门店, family: 客户信息}
scenes:
  - {key: store_01, name: 人民广场店, permanent: true, tags: [门店]}
segments:
  - {name: 全体, where: {all: []}}
  - {name: 油皮, where: {tag: {has: 油皮}}}
rules:
  - name: 活动
    when: [{text_contains: {any: [活动]}}]
    then:
      - add_tag: {tags: [活动]}
      - reply: {text: 回复「领券」领取。}
"""
BOTH, MASS = ("customer_service", "mass"), ("mass",)
SUBSCRIPTION, TEMPLATE = "TPL_expires", "TPL_order"
TEMPLATES = (
    {"id": SUBSCRIPTION, "title": "优惠到期提醒", "kind": "subscription", "type": 2,
     "content": "优惠：{{thing1.DATA}}\n到期：{{time2.DATA}}"},
    {"id": TEMPLATE, "title": "订单通知", "kind": "template", "content": "商品：{{thing1.DATA}}"},
)  # fmt: skip
APPROVERS = ("ann", "bo")


@dataclass(frozen=True)
class Planned:
    """One campaign to come. ``after``: the share of the kills after which it is scheduled.

    ``notice``: the template it is written in. ``variants``: two contents, half of the people each.
    ``contested``: two operators approve, pause, resume and cancel it, and each other's.
    """

    name: str
    segment: str
    channels: Sequence[str]
    after: float
    notice: str = ""
    variants: bool = False
    contested: bool = False

    def document(self, at: datetime, people: int) -> dict[str, Any]:
        """As the account file has it."""
        campaign: dict[str, Any] = {
            "name": self.name,
            "segment": self.segment,
            "at": local(at).isoformat(),
            "channels": list(self.channels),
            "content": {"text": f"【{self.name}】这周的活动：{{link:go}}"},
            "links": {"go": f"https://example.com/{self.name}"},
            "status": "scheduled",
        }
        if self.notice:
            values = {"thing1": f"【{self.name}】"} | (
                {"time2": "2026-04-30 23:59"} if self.notice == SUBSCRIPTION else {}
            )
            content = {"notice": {"template": self.notice, "data": values}}
            campaign |= {"message_class": "service", "content": content, "links": {}}
        if self.variants:
            campaign["experiment"] = {
                "of": "content",
                "variants": [
                    {"name": name, "content": {"text": f"【{self.name}】{name}：{{link:go}}"}}
                    for name in "AB"
                ],
            }
        if not self.contested:
            campaign["approved_for"] = {"people": people, "slots": people}
        return campaign


# ask for a slot of nearly everybody more than four times, so that the fourth slot is the last; two are due at once
CAMPAIGNS = (
    Planned("甲", "全体", BOTH, 0.0),
    Planned("乙", "全体", MASS, 0.2),
    Planned("丙", "油皮", BOTH, 0.2),
    Planned("庚", "全体", ("subscription",), 0.3, notice=SUBSCRIPTION),
    Planned("丁", "全体", MASS, 0.45),
    Planned("辛", "油皮", ("template",), 0.5, notice=TEMPLATE),
    Planned("戊", "全体", BOTH, 0.6),
    Planned("己", "全体", MASS, 0.8, variants=True),
)
# and what two operators fight over; with the others it makes six that ask for slots
CONTESTED = (*CAMPAIGNS, Planned("壬", "全体", BOTH, 0.1, contested=True))
# over the end of a month: what it leaves unsent is not sent in the next, which begins with four new slots
MONTH_END = (
    Planned("甲", "全体", BOTH, 0.0),
    Planned("乙", "全体", MASS, 0.4),
    Planned("丙", "全体", MASS, 0.7),
)


@dataclass(frozen=True)
class Setting:
    """What driving and checking need to know. ``rt`` reads the product's database beside it."""

    rt: Runtime
    folder: Path
    people: list[str]
    fickle: frozenset[str]
    account_id: int
    campaigns: tuple[Planned, ...]


def config_of(settings: Mapping[str, str], url: str) -> dict[str, str]:
    """The product's settings: where it keeps things, and what is the same everywhere."""
    return {
        **settings,
        "QUNFEN_SECRET_KEY": SECRET_KEY,
        "QUNFEN_BASE_URL": url,
        "QUNFEN_PUSH_MAX_AGE": "3600",
    }


def make(
    folder: Path,
    environ: Mapping[str, str],
    url: str,
    sandbox_url: str,
    control: Control,
    count: int,
    chance: random.Random,
    now: datetime,
    campaigns: tuple[Planned, ...] = CAMPAIGNS,
) -> Setting:
    """Make everything but the campaigns; ``count`` followers, on both sides.

    One in three accepted a subscription notice.
    """
    config: Config = load_config(environ, dotenv=None)
    rt = build(config)
    migrate.upgrade(rt.engine)
    names = [factories.open_id(number) for number in range(1, count + 1)]
    oily = {name for name in names if chance.random() < 0.5}
    _on_platform(control, url, names, now)
    with db.writing(rt.engine) as session:
        account_id = accounts.add(
            session,
            slug=SLUG,
            name="沐颜集会员中心",
            kind="service",
            verified=True,
            mode="safe",
            app_id=factories.APP_ID,
            app_secret=factories.APP_SECRET,
            token=factories.TOKEN,
            aes_key=factories.AES_KEY,
            original_id="gh_0123456789ab",
            secret_key=SECRET_KEY,
            sandbox_url=sandbox_url,
            now=now,
        )
        for name in APPROVERS:
            operators.add(session, name, "lead", now)
        apply_file(session, rt, FILE.encode(), now)
        _in_product(session, account_id, names, oily, now)
        _accepts(session, control, account_id, names[::3], now)
    templates.read(rt.engine, rt.wechat(account_id), account_id, now)
    fickle = frozenset(names[::FICKLE])
    return Setting(rt, folder, names, fickle, account_id, campaigns)


def schedule(setting: Setting, planned: Planned, now: datetime) -> None:
    """Add one campaign, due in a few seconds, as an operator would by file."""
    campaign = planned.document(now + timedelta(seconds=3), 2 * len(setting.people))
    document = {"version": 1, "account": {"slug": SLUG}, "campaigns": [campaign]}
    text = json.dumps(document, ensure_ascii=False)  # JSON is YAML
    with db.writing(setting.rt.engine) as session:
        apply_file(session, setting.rt, text.encode(), now)


def _on_platform(control: Control, url: str, names: list[str], now: datetime) -> None:
    control(
        "accounts",
        {
            "app_id": factories.APP_ID,
            "app_secret": factories.APP_SECRET,
            "token": factories.TOKEN,
            "aes_key": factories.AES_KEY,
            "original_id": "gh_0123456789ab",
            "mode": "safe",
            "callback_url": f"{url}/callback/{SLUG}",
            "options": {"mass_seconds": 2, "event_seconds": 1, "templates": list(TEMPLATES)},
        },
    )
    long_ago = (now - timedelta(days=60)).timestamp()
    for start in range(0, len(names), CHUNK):
        people = [
            {"open_id": name, "subscribe_time": long_ago} for name in names[start : start + CHUNK]
        ]
        control("followers", {"app_id": factories.APP_ID, "people": people})


def _in_product(
    session: db.Session, account_id: int, names: list[str], oily: set[str], now: datetime
) -> None:
    long_ago = now - timedelta(days=60)
    session.execute(
        sa.insert(followers),
        [
            {
                "account_id": account_id,
                "open_id": name,
                "subscribed": True,
                "subscribed_at": long_ago,
                "first_seen_at": long_ago,
                "fields": {},
            }
            for name in names
        ],
    )
    ids = _ids(session, account_id)
    tag_id = session.execute(sa.select(tags.c.id).where(tags.c.name == TAG)).scalar_one()
    session.execute(
        sa.insert(follower_tags),
        [
            {
                "account_id": account_id,
                "follower_id": ids[name],
                "tag_id": tag_id,
                "origin": "import",
                "added_at": long_ago,
            }
            for name in sorted(oily)
        ],
    )
    session.execute(
        sa.insert(events),
        [
            {
                "account_id": account_id,
                "follower_id": ids[name],
                "kind": "subscribe",
                "at": long_ago,
            }
            for name in names
        ],
    )


def _accepts(
    session: db.Session, control: Control, account_id: int, names: list[str], now: datetime
) -> None:
    """These allowed one notice, on both sides."""
    ids = _ids(session, account_id)
    for name in names:
        words = {"app_id": factories.APP_ID, "open_id": name, "template_id": SUBSCRIPTION}
        control("followers/accept", words | {"times": 1})
        key = f"accept:{name}"
        consents.accepted(session, account_id, ids[name], SUBSCRIPTION, now, key)


def _ids(session: db.Session, account_id: int) -> Mapping[str, int]:
    rows = session.execute(
        sa.select(followers.c.open_id, followers.c.id).where(followers.c.account_id == account_id)
    )
    return {row.open_id: row.id for row in rows}
