"""What is there before the first kill: an account on both sides, followers, rules, and campaigns to come."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from bot import accounts, db, migrate
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
CAMPAIGN = """\
  - name: {name}
    segment: {segment}
    at: {at}
    channels: [{channels}]
    content: {{text: "【{name}】这周的活动：{{link:go}}"}}
    links: {{go: "https://example.com/{name}"}}
    approved_for: {{people: {people}, slots: {people}}}
    status: scheduled
"""
BOTH, MASS_ONLY = "customer_service, mass", "mass"


@dataclass(frozen=True)
class Planned:
    """One campaign to come. ``after``: the share of the kills after which it is scheduled."""

    name: str
    segment: str
    channels: str
    after: float


# five that ask for a slot of nearly everybody, so that the fourth slot is the last; two are due at once
CAMPAIGNS = (
    Planned("甲", "全体", BOTH, 0.0),
    Planned("乙", "全体", MASS_ONLY, 0.2),
    Planned("丙", "油皮", BOTH, 0.2),
    Planned("丁", "全体", MASS_ONLY, 0.45),
    Planned("戊", "全体", BOTH, 0.6),
    Planned("己", "全体", MASS_ONLY, 0.8),
)


@dataclass(frozen=True)
class Setting:
    """What driving and checking need to know. ``rt`` reads the product's database beside it."""

    rt: Runtime
    folder: Path
    people: list[str]
    fickle: frozenset[str]
    account_id: int


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
) -> Setting:
    """Make everything but the campaigns; ``count`` followers, on both sides."""
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
        apply_file(session, rt, FILE.encode(), now)
        _in_product(session, account_id, names, oily, now)
    fickle = frozenset(names[::FICKLE])
    return Setting(rt, folder, names, fickle, account_id)


def schedule(setting: Setting, planned: Planned, now: datetime) -> None:
    """Add one campaign, due in a few seconds, as an operator would by file."""
    head = "version: 1\naccount: {slug: muyan}\ncampaigns:\n"
    text = head + CAMPAIGN.format(
        name=planned.name,
        segment=planned.segment,
        channels=planned.channels,
        at=local(now + timedelta(seconds=3)).isoformat(),
        people=2 * len(setting.people),
    )
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
            "options": {"mass_seconds": 2, "event_seconds": 1},
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


def _ids(session: db.Session, account_id: int) -> Mapping[str, int]:
    rows = session.execute(
        sa.select(followers.c.open_id, followers.c.id).where(followers.c.account_id == account_id)
    )
    return {row.open_id: row.id for row in rows}
