"""What is wrong with an installation and what to do about it. Reads only; changes nothing."""

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot import accounts, db, inbox, jobs, migrate, overview
from bot.accounts import Account
from bot.campaigns import definitions, external_sends
from bot.config import Config, sqlite_path
from bot.db import Session
from bot.errors import Refused
from bot.health import LAST_TICK, TICK_SECONDS, jobs_late
from bot.runtime import CLOCK_OFFSET
from bot.tables.accounts import accounts as accounts_table
from bot.tables.campaigns import campaign_runs, campaigns
from bot.tables.inbox import inbound
from bot.tables.jobs import installation, kept
from bot.tables.operators import operators

LEAST_FREE = 500 * 1024 * 1024  # bytes of disk: a day of pushes and a backup
SILENT = timedelta(hours=24)  # a brand of some size hears from somebody every day
CLOCK_SKEW = timedelta(seconds=120)  # pushes older than QUNFEN_PUSH_MAX_AGE are refused


@dataclass(frozen=True, slots=True)
class Finding:
    """``level`` is ok, note (look at it) or wrong. Chinese and English say what and what to do."""

    level: str
    what: str
    zh: str
    en: str


def examine(config: Config, engine: Engine, now: datetime) -> list[Finding]:
    """Every finding, the installation's first, then each account's."""
    found = [_disk(config)]
    path = sqlite_path(config.database_url)
    revision = None if path is not None and not path.exists() else migrate.current(engine)
    found.append(_revision(revision))
    if config.base_url.startswith(("http://127.", "http://localhost")):
        found.append(
            Finding(
                "note",
                "base_url",
                f"QUNFEN_BASE_URL 是 {config.base_url}，微信访问不到；正式使用请改成公网地址",
                f"QUNFEN_BASE_URL is {config.base_url}, which WeChat cannot reach: set the public address",
            )
        )
    if revision != migrate.head():
        return found
    with db.reading(engine) as session:
        found += _people(session)
        found += _work(session, now)
        for account in accounts.every(session):
            found += _account(session, account, config, now)
    return found


def _disk(config: Config) -> Finding:
    path = sqlite_path(config.database_url)
    folder = (path.parent if path is not None else Path()).resolve()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    megabytes = free // 1024 // 1024
    if free < LEAST_FREE:
        return Finding(
            "wrong",
            "disk",
            f"磁盘只剩 {megabytes} MB，请清理",
            f"{megabytes} MB of disk are left: make room",
        )
    return Finding("ok", "disk", f"磁盘剩余 {megabytes} MB", f"{megabytes} MB free")


def _revision(revision: str | None) -> Finding:
    if revision == migrate.head():
        return Finding(
            "ok", "database", f"数据库版本 {revision}", f"database at revision {revision}"
        )
    if revision is not None and not migrate.is_known(revision):
        return Finding(
            "wrong",
            "database",
            f"数据库版本 {revision} 比程序新，请升级程序",
            f"the database's revision {revision} is newer than this program: upgrade the program",
        )
    return Finding(
        "wrong",
        "database",
        "数据库没有建好或版本较旧，请运行 qunfen db upgrade",
        "the database is empty or older than this program: run `qunfen db upgrade`",
    )


def _people(session: Session) -> list[Finding]:
    count = session.execute(
        sa.select(sa.func.count()).select_from(operators).where(operators.c.active)
    ).scalar_one()
    if count:
        return []
    return [
        Finding(
            "note",
            "operators",
            "还没有后台人员：qunfen operator add 名字 --role admin",
            "nobody can log in yet: qunfen operator add NAME --role admin",
        )
    ]


def _work(session: Session, now: datetime) -> list[Finding]:
    found = []
    last = session.execute(sa.select(kept.c.value).where(kept.c.key == LAST_TICK)).scalar()
    age = now.timestamp() - float(last) if last else None
    if age is None or age > TICK_SECONDS:
        found.append(
            Finding(
                "wrong",
                "scheduler",
                "调度没有在跑，到点的活动不会开始：qunfen run 或 qunfen scheduler",
                "the scheduler is not running, due campaigns will not start: qunfen run, or qunfen scheduler",
            )
        )
    elif (late := jobs_late(session, now)) is not None:
        found.append(
            Finding(
                "wrong",
                "workers",
                f"有任务晚了 {late} 秒没人执行，消息也不会发出：qunfen run 或 qunfen worker",
                f"a job is {late} s late, and no message leaves: qunfen run, or qunfen worker",
            )
        )
    if age is not None and age < -CLOCK_SKEW.total_seconds():
        found.append(
            Finding(
                "wrong",
                "clock",
                f"上次调度在未来 {-age:.0f} 秒，请校准各台机器的时钟 (NTP)",
                f"the last tick lies {-age:.0f} s in the future: set the machines' clocks (NTP)",
            )
        )
    offset = session.execute(
        sa.select(installation.c.value).where(installation.c.key == CLOCK_OFFSET)
    ).scalar()
    if offset:
        days = float(offset) / 86400
        found.append(
            Finding(
                "note",
                "demo",
                f"这个安装演示过一个月，时钟差 {days:+.1f} 天；请不要在这里接入真实公众号",
                f"a demo month was played here, the clock is {days:+.1f} days off: connect no real account",
            )
        )
    dead = jobs.dead(session, limit=1)
    if dead:
        found.append(
            Finding(
                "wrong",
                "jobs",
                f"有任务放弃了，最近一个是 {dead[0].name}：{dead[0].error[:120]}",
                f"a job was given up, the latest is {dead[0].name}: {dead[0].error[:120]}",
            )
        )
    return found


def _account(session: Session, account: Account, config: Config, now: datetime) -> list[Finding]:
    slug = account.slug
    found = []
    try:
        accounts.secrets_of(session, account.id, config.secret_key.get_secret_value())
    except Refused:
        found.append(
            Finding(
                "wrong",
                f"{slug}: secrets",
                "QUNFEN_SECRET_KEY 不是存密钥时的那一个；找回它，或用 qunfen apply 重新给出密钥",
                "QUNFEN_SECRET_KEY is not the one the secrets were stored with: find it, or give the secrets anew",
            )
        )
    if account.sandbox_url is None and not config.wechat_api_base.startswith("https://"):
        found.append(
            Finding(
                "wrong",
                f"{slug}: platform",
                f"真实公众号的接口地址是 {config.wechat_api_base}，没有加密；检查 QUNFEN_WECHAT_API_BASE",
                f"a real account talks to {config.wechat_api_base} without TLS: look at QUNFEN_WECHAT_API_BASE",
            )
        )
    if account.mode == "plain" and account.sandbox_url is None:
        found.append(
            Finding(
                "note",
                f"{slug}: mode",
                "明文模式，建议改用安全模式",
                "plain mode; safe mode is better",
            )
        )
    if account.stopped:
        found.append(
            Finding(
                "note",
                f"{slug}: stopped",
                f"已紧急停止（{account.stopped_reason}）；恢复：qunfen go {slug}",
                f"stopped ({account.stopped_reason}); to go on: qunfen go {slug}",
            )
        )
    found += _traffic(session, account, now) + _sending(session, account)
    return found + _answers(session, account, now)


def _traffic(session: Session, account: Account, now: datetime) -> list[Finding]:
    slug = account.slug
    found = []
    created_at = session.execute(
        sa.select(accounts_table.c.created_at).where(accounts_table.c.id == account.id)
    ).scalar_one()
    last_push_at = inbox.last_push_at(session, account.id)
    if now - (last_push_at or created_at) > SILENT:
        found.append(
            Finding(
                "wrong" if last_push_at else "note",
                f"{slug}: callback",
                f"超过 24 小时没有收到推送；检查平台上的服务器配置，再运行 qunfen account check {slug}",
                "no push for over 24 hours: look at the platform's settings, then run "
                f"qunfen account check {slug}",
            )
        )
    failed = session.execute(
        sa.select(sa.func.count())
        .select_from(inbound)
        .where(inbound.c.account_id == account.id, inbound.c.status == "failed")
    ).scalar_one()
    if failed:
        found.append(
            Finding(
                "wrong",
                f"{slug}: pushes",
                f"{failed} 条推送处理失败；修好后 qunfen replay {slug} --failed",
                f"{failed} push(es) failed; once mended: qunfen replay {slug} --failed",
            )
        )
    return found


def _answers(session: Session, account: Account, now: datetime) -> list[Finding]:
    """What the platform refuses, and what waits for it."""
    slug = account.slug
    found = []
    refused = sorted(name for name, granted in account.rights.items() if granted is False)
    if refused:
        names = ", ".join(refused)
        found.append(
            Finding(
                "wrong",
                f"{slug}: rights",
                f"平台没有给接口权限 (48001)：{names}；开通后运行 qunfen account check {slug}",
                f"the platform does not grant (48001): {names}; "
                f"once it does, run qunfen account check {slug}",
            )
        )
    wrong = overview.troubles(session, account.id, now)
    if wrong.given_up:
        found.append(
            Finding(
                "wrong",
                f"{slug}: outbox",
                f"24 小时内有 {wrong.given_up} 次发送失败，最近一次：{wrong.latest_given_up}",
                f"{wrong.given_up} send(s) failed within 24 hours, the latest: "
                f"{wrong.latest_given_up}",
            )
        )
    if wrong.waiting:
        found.append(
            Finding(
                "note",
                f"{slug}: retries",
                f"有 {wrong.waiting} 次发送等待重试，最近一次：{wrong.latest_waiting}",
                f"{wrong.waiting} send(s) are tried again later, the latest: {wrong.latest_waiting}",
            )
        )
    return found


def _sending(session: Session, account: Account) -> list[Finding]:
    slug = account.slug
    found = []
    if not account.opening_stated and any(
        "mass" in campaign.channels for campaign in definitions.every(session, account.id)
    ):
        found.append(
            Finding(
                "wrong",
                f"{slug}: opening",
                f"还没有说明本月接入前群发过几次，群发被挡住：qunfen account opening {slug} --sent-to-all N",
                f"mass is blocked until you say what was sent before: qunfen account opening {slug} --sent-to-all N",
            )
        )
    for msg_id in external_sends.unexplained(session, account.id):
        found.append(
            Finding(
                "wrong",
                f"{slug}: ledger",
                f"外部群发 {msg_id} 没有说明发给了谁，群发被挡住："
                f"qunfen ledger external {slug} --msg-id {msg_id} --went-to …",
                f"a send from elsewhere ({msg_id}) is not explained; mass is blocked: "
                f"qunfen ledger external {slug} --msg-id {msg_id} --went-to …",
            )
        )
    waiting = session.execute(
        sa.select(campaigns.c.name, campaign_runs.c.status, campaign_runs.c.reason)
        .join(campaigns, campaigns.c.id == campaign_runs.c.campaign_id)
        .where(
            campaign_runs.c.account_id == account.id,
            campaign_runs.c.status.in_(("waiting", "paused")),
        )
    )
    for name, status, reason in waiting:
        found.append(
            Finding(
                "note",
                f"{slug}: {name}",
                f"执行处于 {status}（{reason or '–'}）：qunfen campaigns show {slug} {name}",
                f"its run is {status} ({reason or '–'}): qunfen campaigns show {slug} {name}",
            )
        )
    return found
