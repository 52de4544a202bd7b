"""An account as large as the console is promised for: a million followers, two million pushes, all made up.

``fill`` writes straight into the tables (SQLite: executemany without a journal; PostgreSQL: COPY), a few minutes
for the full size. Numbers come from a small hash of the row's own number, so that every run has the same rows.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import accounts, db
from bot.clock import day_of, month_of
from bot.tables import metadata
from bot.tables.accounts import accounts as accounts_table
from bot.tables.audiences import segments
from bot.tables.campaigns import campaign_runs, campaigns, deliveries, mass_ledger
from bot.tables.events import daily_counts, events
from bot.tables.followers import follower_tags, followers, reply_windows, tags
from bot.tables.inbox import canned_answers, conversations, inbound
from bot.tables.jobs import jobs
from bot.tables.operators import api_tokens, audit, webhook_deliveries, webhooks
from bot.tables.outbox import outbox
from bot.tables.rulebooks import rule_hits, rulebook_heads, rulebooks, rules
from bot.tables.tracking import clicks, links, scenes

SLUG = "muyan"
RULES, SCENES, TAGS = 300, 500, 60
DAYS = 180  # the pushes of so many days are kept
FAMILIES = ("客户信息", "价值", "消费互动", "营销互动")
WORDS = (
    "优惠",
    "门店",
    "会员",
    "地址",
    "发票",
    "退货",
    "色号",
    "试用",
    "积分",
    "客服",
    "快递",
    "过敏",
)
NAMES = ("张伟", "王芳", "李娜", "刘洋", "陈静", "杨帆", "赵磊", "黄敏", "周杰", "吴婷")
INITIALS = ("zw zhangwei", "wf wangfang", "ln lina", "ly liuyang", "cj chenjing", "yf yangfan",
            "zl zhaolei", "hm huangmin", "zj zhoujie", "wt wuting")  # fmt: skip
KINDS = ("text",) * 11 + ("scan",) * 3 + ("menu_click",) * 3 + ("subscribe",) * 2 + ("unsubscribe",)
EVENT = {"text": "message"}


@dataclass(frozen=True)
class Size:
    followers: int = 1_000_000
    pushes: int = 2_000_000


def fill(engine: sa.Engine, size: Size, now: datetime, secret_key: str) -> int:
    """Drop everything, make the tables, fill them; the account's id."""
    metadata.drop_all(engine)
    metadata.create_all(engine)
    with db.writing(engine) as session:
        account_id = accounts.add(
            session, slug=SLUG, name="沐颜集", kind="service", verified=True, mode="safe",
            app_id="wx1234567890abcdef", app_secret="-" * 32, token="muyantoken",
            aes_key="a" * 43, secret_key=secret_key, now=now,
        )  # fmt: skip
        session.execute(sa.update(accounts_table).values(opening_stated_at=now))
    writer = Writer(engine, now)
    for table, rows in _tables(account_id, size, now, writer.moment):
        writer.write(table, rows)
    writer.close()
    return account_id


class Writer:
    """Writes rows in bulk, past SQLAlchemy."""

    def __init__(self, engine: sa.Engine, now: datetime) -> None:
        self.sqlite = engine.dialect.name == "sqlite"
        self.engine = engine
        self.raw: Any = engine.raw_connection()
        self.now = now
        if self.sqlite:
            for pragma in ("journal_mode=off", "synchronous=off", "cache_size=-800000"):
                self.raw.execute(f"pragma {pragma}")
            return
        # foreign keys are true by construction, and an index is built faster than it grows
        self.raw.cursor().execute("set session_replication_role = replica")
        for table in metadata.sorted_tables:
            for index in table.indexes:
                self.raw.cursor().execute(f'drop index "{index.name}"')
        self.raw.commit()

    def moment(self, seconds_ago: float) -> str:
        """A moment as the database stores it."""
        text = (self.now - timedelta(seconds=seconds_ago)).replace(tzinfo=None)
        shown = text.isoformat(" ", "microseconds")
        return shown if self.sqlite else f"{shown}+00"

    def write(self, table: sa.Table, rows: Iterable[dict[str, Any]]) -> None:
        stream = iter(rows)
        first = next(stream, None)
        if first is None:
            return
        names = list(first)
        columns = ", ".join(f'"{name}"' for name in names)
        values = ([row[name] for name in names] for row in _chain(first, stream))
        if self.sqlite:
            holes = ", ".join("?" * len(names))
            self.raw.execute("begin")
            self.raw.executemany(f'insert into "{table.name}" ({columns}) values ({holes})', values)
            self.raw.execute("commit")
            return
        with self.raw.cursor() as cursor:
            with cursor.copy(f'copy "{table.name}" ({columns}) from stdin') as copy:
                for row in values:
                    copy.write_row(row)
            if "id" in table.c:
                cursor.execute(
                    f"select setval(pg_get_serial_sequence('{table.name}', 'id'), "
                    f'(select max(id) from "{table.name}"))'
                )
        self.raw.commit()

    def close(self) -> None:
        """Indexes, and statistics as the nightly job of the product keeps them."""
        if self.sqlite:
            self.raw.execute("pragma analysis_limit=1000")
            self.raw.execute("analyze")
            self.raw.execute("pragma journal_mode=wal")
        else:
            for table in metadata.sorted_tables:
                for index in table.indexes:
                    index.create(self.engine)
            self.raw.driver_connection.autocommit = True
            self.raw.cursor().execute("vacuum analyze")
        self.raw.close()
        self.engine.dispose()


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _mix(number: int, salt: int = 0) -> int:
    """A number of 32 bits that looks random."""
    value = (number * 2654435761 + salt * 40503 + 12345) & 0xFFFFFFFF
    value ^= value >> 15
    value = value * 2246822519 & 0xFFFFFFFF
    return value ^ value >> 13


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _open_id(number: int) -> str:
    return f"oMillion_{_mix(number, 9):08x}{number:011d}"


Moment = Callable[[float], str]
Rows = Iterator[dict[str, Any]]


def _tables(
    account_id: int, size: Size, now: datetime, moment: Moment
) -> Iterator[tuple[sa.Table, Rows]]:
    yield followers, _followers(account_id, size, moment)
    yield tags, _tags(account_id)
    yield follower_tags, _follower_tags(account_id, size, moment)
    yield scenes, _scenes(account_id, moment)
    yield rules, _rules(account_id, moment)
    yield rulebooks, _rulebooks(account_id, moment)
    yield rulebook_heads, iter([{"account_id": account_id, "number": 12}])
    yield rule_hits, _rule_hits(account_id, now)
    yield inbound, _inbound(account_id, size, moment)
    yield events, _events(account_id, size, moment)
    yield daily_counts, _daily_counts(account_id, now)
    yield reply_windows, _windows(account_id, size, moment)
    yield conversations, _conversations(account_id, size)
    yield canned_answers, _canned(account_id)
    yield segments, _segments(account_id, moment)
    yield campaigns, _campaigns(account_id, moment)
    yield campaign_runs, _runs(account_id, size, now, moment)
    yield deliveries, _deliveries(account_id, size, now, moment)
    yield mass_ledger, _ledger(account_id, size, now)
    yield links, _links(account_id, moment)
    yield clicks, _clicks(account_id, size, moment)
    yield outbox, _outbox(account_id, size, moment)
    yield webhooks, _webhooks(account_id, size, moment)
    yield webhook_deliveries, _webhook_deliveries(account_id, moment)
    yield api_tokens, _tokens(account_id, moment)
    yield jobs, _jobs(account_id, moment)
    yield audit, _audit(account_id, moment)


def _followers(account_id: int, size: Size, moment: Moment) -> Rows:
    years = 3 * 365 * 86400
    for number in range(1, size.followers + 1):
        dice = _mix(number)
        followed = years * (1 - number / size.followers) + dice % 86400
        gone = dice % 100 < 9
        remark = (dice >> 7) % len(NAMES) if dice % 20 == 0 else None
        scene = f"shop-{dice % SCENES:03d}" if dice % 3 == 0 else None
        active = followed * (dice % 997) / 1000 if dice % 5 < 3 else None
        yield {
            "id": number,
            "account_id": account_id,
            "open_id": _open_id(number),
            "subscribed": not gone,
            "subscribed_at": moment(followed),
            "unsubscribed_at": moment(followed / 3) if gone else None,
            "first_seen_at": moment(followed),
            "last_active_at": moment(active) if active is not None else None,
            "first_source": scene or "ADD_SCENE_SEARCH",
            "first_scene": scene,
            "last_scene": scene,
            "subscribe_scene": "ADD_SCENE_QR_CODE" if scene else "ADD_SCENE_SEARCH",
            "remark": f"{NAMES[remark]}{dice % 1000}" if remark is not None else None,
            "remark_search": f"{NAMES[remark]}{dice % 1000} {INITIALS[remark]}{dice % 1000}"
            if remark is not None
            else None,
            "fields": _json({"城市": "上海", "积分": dice % 5000}) if dice % 3 == 1 else "{}",
            "opted_out_at": moment(followed / 2) if dice % 100 == 50 else None,
            "messages": dice % 7,
            "tester": number in (1, 2, 3),
        }


def _tags(account_id: int) -> Rows:
    for number in range(1, TAGS + 1):
        yield {
            "id": number,
            "account_id": account_id,
            "name": f"标签{number}",
            "family": FAMILIES[number % len(FAMILIES)],
            "sync": number <= 20,
            "wechat_id": 100 + number if number <= 20 else None,
        }


def _follower_tags(account_id: int, size: Size, moment: Moment) -> Rows:
    for number in range(1, size.followers + 1):
        dice = _mix(number, 1)
        held = {1} if dice % 10 < 3 else set()  # the first tag has 30 %
        held |= {2 + (dice >> shift) % (TAGS - 1) for shift in (4, 11)}
        for tag in sorted(held):
            yield {
                "follower_id": number,
                "tag_id": tag,
                "account_id": account_id,
                "origin": f"rule:规则{dice % RULES}",
                "added_at": moment(dice % (400 * 86400)),
            }


def _scenes(account_id: int, moment: Moment) -> Rows:
    for number in range(SCENES):
        temporary = number % 10 == 9
        yield {
            "id": number + 1,
            "account_id": account_id,
            "key": f"shop-{number:03d}",
            "name": f"{WORDS[number % len(WORDS)]}门店{number}",
            "group": f"第{number % 12}区",
            "permanent": not temporary,
            "expire_seconds": 2592000 if temporary else None,
            "tags": _json([f"标签{number % TAGS + 1}"]),
            "ticket": f"ticket{number}",
            "url": f"http://weixin.qq.com/q/{number:08x}",
            "made_at": moment(300 * 86400),
            "expires_at": moment(-86400 * (number % 30)) if temporary else None,
            "cost": float(number % 40 * 100),
            "created_at": moment(300 * 86400),
        }


def _word(number: int) -> str:
    # every hundredth is hidden by the one before it, the others have nothing in common
    return f"{WORDS[number % 12]}{number:03d}" + ("号" if number % 100 == 99 else "")


def _rule(number: int) -> dict[str, Any]:
    word = _word(number)
    return {
        "name": f"规则{number}",
        "when": [{"text_contains": {"any": [word, f"{number:03d}怎么买"]}}],
        "then": [
            {"reply": {"text": f"关于{word}：请点菜单“{word}”，或回复“人工”。"}},
            {"add_tag": {"tags": [f"标签{number % TAGS + 1}"]}},
        ],
    }


def _rules(account_id: int, moment: Moment) -> Rows:
    for number in range(RULES):
        yield {
            "id": number + 1,
            "account_id": account_id,
            "name": f"规则{number}",
            "position": number,
            "body": _json(_rule(number)),
            "origin": "console",
            "group": ("", "售前", "售后", "会员")[number % 4],
            "changed_at": moment(number * 3600),
            "changed_by": "Ann",
        }


def _rulebooks(account_id: int, moment: Moment) -> Rows:
    for number in range(1, 13):
        yield {
            "id": number,
            "account_id": account_id,
            "number": number,
            "body": _json({"rules": [_rule(n) for n in range(RULES)], "fallback": None}),
            "published_at": moment((13 - number) * 86400),
            "published_by": "Ann",
            "note": f"第{number}版",
        }


def _rule_hits(account_id: int, now: datetime) -> Rows:
    for number in range(RULES):
        for day in range(DAYS):
            yield {
                "account_id": account_id,
                "rule": f"规则{number}",
                "day": str(day_of(now) - timedelta(days=day)),
                "times": _mix(number, day) % 200,
            }


def _push(number: int, size: Size) -> tuple[str, int, int, float]:
    """(kind, dice, follower, seconds ago) of a push; half come from a tenth of the followers."""
    dice = _mix(number, 2)
    kind = KINDS[dice % len(KINDS)]
    crowd = size.followers if dice & 64 else max(1, size.followers // 10)
    ago = DAYS * 86400 * (1 - number / size.pushes)
    return kind, dice, 1 + (dice >> 5) % crowd, ago


def _inbound(account_id: int, size: Size, moment: Moment) -> Rows:
    for number in range(1, size.pushes + 1):
        kind, dice, follower, ago = _push(number, size)
        open_id, at = _open_id(follower), moment(ago)
        rule = dice % RULES
        answered = kind == "text" and dice % 8 > 0
        word = _word(rule)
        # the words nobody answers: a few often, most once
        said = (
            word if answered else f"请问{NAMES[dice % 10]}{dice % 3000 if dice & 128 else ''}在吗"
        )
        fields = {"MsgType": "text", "Content": said, "MsgId": str(24_000_000_000_000_000 + number)}
        if kind == "scan":
            fields = {"MsgType": "event", "Event": "SCAN", "EventKey": f"shop-{dice % SCENES:03d}"}
        elif kind == "menu_click":
            fields = {"MsgType": "event", "Event": "CLICK", "EventKey": f"menu-{dice % 12}"}
        elif kind != "text":
            fields = {"MsgType": "event", "Event": kind, "EventKey": ""}
        facts = {"push_key": f"{account_id}:{number}", "kind": kind, "at": f"{at}+00:00"[:32]}
        facts["at"] = at[:26] + "+00:00"
        if kind == "text":
            facts["text"] = said
        steps = [{"rule": f"规则{rule}", "outcome": "matched", "why": "text_contains"}]
        yield {
            "id": number,
            "account_id": account_id,
            "dedupe_key": f"{account_id}:{open_id}:{number}",
            "follower_id": follower,
            "kind": kind,
            "message": _json(
                {
                    "kind": kind,
                    "open_id": open_id,
                    "to": "gh_0123456789ab",
                    "sent_at": facts["at"],
                    "fields": fields | {"CreateTime": "1700000000"},
                }
            ),
            "sent_at": at,
            "received_at": at,
            "status": "failed" if dice % 100_000 == 7 else "done",
            "facts": _json(facts | {"follower_id": follower, "tags": ["标签1", "标签7"]}),
            "rulebook_number": 12,
            "rules": _json([f"规则{rule}"] if answered else []),
            "trace": _json({"number": 12, "steps": steps if answered else [], "fallback": False}),
            "reply": _json({"text": f"关于{word}：请点菜单“{word}”，或回复“人工”。"})
            if answered
            else None,
            "milliseconds": 1.5,
            "unmatched": (not answered) if kind == "text" else None,
        }


def _events(account_id: int, size: Size, moment: Moment) -> Rows:
    for number in range(1, size.pushes + 1):
        kind, dice, follower, ago = _push(number, size)
        key = None
        if kind == "scan" or (kind == "subscribe" and dice & 1):
            key = f"shop-{dice % SCENES:03d}"
        elif kind == "menu_click":
            key = f"menu-{dice % 12}"
        yield {
            "id": number,
            "account_id": account_id,
            "follower_id": follower,
            "kind": EVENT.get(kind, kind),
            "key": key,
            "at": moment(ago),
            "caused_by": number,
        }


def _daily_counts(account_id: int, now: datetime) -> Rows:
    for day in range(400):
        for kind in ("subscribe", "unsubscribe", "message", "scan", "menu_click"):
            times = _mix(day, len(kind)) % 5000
            yield {
                "account_id": account_id,
                "day": str(day_of(now) - timedelta(days=day)),
                "kind": kind,
                "key": "",
                "times": times,
                "people": times * 2 // 3,
            }


def _windows(account_id: int, size: Size, moment: Moment) -> Rows:
    # one in three wrote some day; of those one in twenty in the last two days
    for number in range(1, size.followers + 1, 3):
        dice = _mix(number, 3)
        ago = dice % 172_000 if dice % 20 == 0 else 172_800 + dice % (DAYS * 86400)
        yield {
            "follower_id": number,
            "opened_by": "message",
            "account_id": account_id,
            "opened_at": moment(ago),
            "expires_at": moment(ago - 172_800),
            "left": dice % 6,
        }


def _conversations(account_id: int, size: Size) -> Rows:
    for number in range(1, min(5000, size.followers // 2)):
        yield {
            "follower_id": number * 2,
            "account_id": account_id,
            "read_to": _mix(number) % size.pushes,
            "agent": "Ann" if number % 3 == 0 else None,
        }


def _canned(account_id: int) -> Rows:
    for number in range(30):
        yield {
            "account_id": account_id,
            "title": f"常用语{number}",
            "text": f"您好，关于{WORDS[number % len(WORDS)]}，请稍等。",
            "position": number,
        }


def _segments(account_id: int, moment: Moment) -> Rows:
    for number in range(1, 21):
        yield {
            "id": number,
            "account_id": account_id,
            "name": f"人群{number}",
            "where": _json({"tag": {"any": [f"标签{number}"]}}),
            "created_at": moment(1e7),
        }


def _campaigns(account_id: int, moment: Moment) -> Rows:
    for number in range(1, 13):
        yield {
            "id": number,
            "account_id": account_id,
            "name": f"活动{number}",
            "segment": f"人群{number}",
            "schedule": _json({"at": "2026-11-01T20:00:00+08:00"}),
            "channels": _json(["mass"]),
            "content": _json({"text": "本月上新"}),
            "links": "[]",
            "status": "finished" if number < 12 else "scheduled",
            "created_at": moment(1e7 - number),
            "created_by": "Ann",
        }


def _runs(account_id: int, size: Size, now: datetime, moment: Moment) -> Rows:
    for number in range(1, 12):
        yield {
            "id": number,
            "account_id": account_id,
            "campaign_id": number,
            "due_at": moment((12 - number) * 86400.0 * 10),
            "status": "finished",
            "content": _json({"text": "本月上新"}),
            "month": month_of(now),
            "last_follower_id": size.followers,
            "planned_to": size.followers,
            "created_at": moment((12 - number) * 86400.0 * 10),
            "planned_at": moment((12 - number) * 86400.0 * 10),
            "finished_at": moment((12 - number) * 86400.0 * 10 - 9000),
        }


def _deliveries(account_id: int, size: Size, now: datetime, moment: Moment) -> Rows:
    at, month = moment(864_000), month_of(now)
    number = 0
    # the latest campaign went to everybody, ten before it to a hundredth each
    for run, step in [*((run, 100) for run in range(1, 11)), (11, 1)]:
        for follower in range(1, size.followers + 1, step):
            dice = _mix(follower, run)
            number += 1
            skipped = dice % 10 == 0
            yield {
                "id": number,
                "account_id": account_id,
                "run_id": run,
                "follower_id": follower,
                "status": "skipped" if skipped else "sent",
                "reason": ("left", "opted_out", "no_slot")[dice % 3] if skipped else None,
                "channel": None if skipped else "mass",
                "wave": 0 if follower < 200 else 1,
                "queued_at": None if skipped else at,
                "slot": None if skipped else "spent",
                "month": month,
                "at": at,
            }


def _ledger(account_id: int, size: Size, now: datetime) -> Rows:
    for number in range(1, size.followers + 1):
        dice = _mix(number, 4)
        if dice % 10 < 8:
            yield {
                "follower_id": number,
                "month": month_of(now),
                "account_id": account_id,
                "reserved": 0,
                "spent": 1 + dice % 4,
                "external": 0,
            }


def _links(account_id: int, moment: Moment) -> Rows:
    for number in range(1, 12):
        yield {
            "id": number,
            "account_id": account_id,
            "campaign_id": number,
            "name": "商城",
            "target": "https://shop.example.com/",
            "created_at": moment(1e6),
        }


def _clicks(account_id: int, size: Size, moment: Moment) -> Rows:
    for number in range(1, size.followers // 5):
        dice = _mix(number, 5)
        yield {
            "id": number,
            "account_id": account_id,
            "link_id": 1 + dice % 11,
            "follower_id": 1 + dice % size.followers,
            "at": moment(1e6 - number),
            "clean": dice % 5 > 0,
            "noise": None if dice % 5 else "prefetch",
        }


def _outbox(account_id: int, size: Size, moment: Moment) -> Rows:
    count = max(1, size.followers // 10)
    for number in range(1, count):
        dice = _mix(number, 6)
        at = moment(1e6 * (1 - number / count))
        wrong = dice % 500 == 0
        yield {
            "id": number,
            "account_id": account_id,
            "channel": "customer_service",
            "purpose": "reply",
            "purpose_id": number,
            "follower_id": 1 + dice % size.followers,
            "payload": _json({"content": {"text": "您好"}}),
            "status": "failed" if wrong else "sent",
            "attempts": 1,
            "not_before": at,
            "sent_at": None if wrong else at,
            "errcode": 45015 if wrong else None,
            "error": "errcode 45015: response out of time limit" if wrong else None,
            "created_at": at,
            "collected": True,
            "key": f"million:{number}",
        }


def _jobs(account_id: int, moment: Moment) -> Rows:
    for number in range(1, 3000):
        yield {
            "id": number,
            "account_id": account_id,
            "name": "count_tags",
            "arguments": "{}",
            "run_at": moment(number * 60),
            "state": "done",
            "tries": 1,
            "created_at": moment(number * 60),
            "finished_at": moment(number * 60),
        }


def _webhooks(account_id: int, size: Size, moment: Moment) -> Rows:
    for number in (1, 2, 3):
        yield {
            "id": number,
            "account_id": account_id,
            "url": f"https://shop.example.com/hook/{number}",
            "secret": "-",
            "events": _json({"kinds": ["follower.followed"]}),
            "active": False,
            "position": size.pushes,
            "created_by": "Ann",
            "created_at": moment(1e6),
        }


def _webhook_deliveries(account_id: int, moment: Moment) -> Rows:
    for number in range(1, 20_001):
        yield {
            "id": number,
            "account_id": account_id,
            "webhook_id": 1 + number % 3,
            "kind": "follower.followed",
            "payload": _json({"type": "follower.followed", "data": {"follower": number}}),
            "status": "failed" if number % 100 == 0 else "sent",
            "attempts": 1,
            "answer": 500 if number % 100 == 0 else 200,
            "created_at": moment(1e6 - number),
            "finished_at": moment(1e6 - number),
            "key": f"million:{number}",
        }


def _tokens(account_id: int, moment: Moment) -> Rows:
    for number in range(1, 21):
        yield {
            "id": number,
            "account_id": account_id,
            "name": f"商城{number}",
            "hash": f"{number:064x}",
            "shown": f"qf_{number:04d}",
            "scopes": _json(["followers.read"]),
            "created_by": "Ann",
            "created_at": moment(1e6),
        }


def _audit(account_id: int, moment: Moment) -> Rows:
    for number in range(1, 50_001):
        yield {
            "id": number,
            "account_id": account_id,
            "operator": ("Ann", "Bo", "Cai")[number % 3],
            "action": ("rule.change", "tag.add", "scene.change")[number % 3],
            "object": f"rule:规则{number % RULES}",
            "before": _json({"name": f"规则{number % RULES}"}),
            "after": _json({"name": f"规则{number % RULES}", "enabled": False}),
            "at": moment(50_001 * 300 - number * 300),
        }
