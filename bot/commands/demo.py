"""demo: the brand 沐颜集, and a month of its life."""

from dataclasses import replace

import click
import requests
import sqlalchemy as sa

from bot import accounts, db, migrate, operators, serve
from bot.app import create_app
from bot.clock import Clock, local, now, parse_moment
from bot.commands.shared import Tool, doc, pass_tool, print_table, say, t
from bot.config import INSTANCE
from bot.demo import crew, load, play, truth
from bot.errors import Refused
from bot.kept import DatabaseStore
from bot.runtime import Runtime, move_clock
from bot.sandbox import control, inprocess
from bot.sandbox.app import create_app as sandbox_app
from bot.sandbox.platform import Platform
from bot.sandbox.serve import DEFAULT_PORT
from bot.tables.campaigns import campaigns

ADDRESS = f"http://127.0.0.1:{DEFAULT_PORT}"


@click.command(
    "demo",
    help=doc(
        "载入演示品牌「沐颜集」，在沙箱的时钟上从 2025-11-14 08:00 过到 11-24 10:00，打开时活动都已做完。"
        "--play 另外比较精准触达和全量群发；已经载入的品牌从现在起再过十天。",
        "Load the demo brand and let the sandbox's clock run from 2025-11-14 08:00 to 11-24 10:00, so that it "
        "opens with its campaign done. --play compares the targeted campaign with a send to all too; a brand "
        "that was loaded before lives ten more days for it.",
        "qunfen demo --size small --play",
    ),
)
@click.option(
    "--size",
    type=click.Choice(list(load.SIZES)),
    default="small",
    show_default=True,
    help=t("粉丝数：small 2,000，full 20,000", "followers: small 2,000, full 20,000"),
)
@click.option("--play", "plays", is_flag=True, help=t("过十天并比较", "live ten days and compare"))
@pass_tool
def demo(tool: Tool, size: str, plays: bool) -> None:
    migrate.upgrade(tool.engine)
    if serve.is_sandbox(ADDRESS):
        raise Refused(
            t(
                "沙箱正在运行，请先停止 qunfen run 或 qunfen sandbox",
                "the sandbox is running: stop `qunfen run` or `qunfen sandbox` first",
            )
        )
    with tool.reading() as session:
        loaded = load.is_loaded(session)
        campaign = sa.select(campaigns.c.id).where(campaigns.c.name == truth.CAMPAIGN)
        played = session.execute(campaign).first() is not None
    frozen = Clock(frozen_at=tool.now() if loaded else parse_moment(play.BEGIN))
    INSTANCE.mkdir(parents=True, exist_ok=True)
    platform = Platform(str(INSTANCE / "sandbox.db"), frozen)
    rt = _on_one_clock(tool, platform, frozen)
    product = create_app(rt.config, rt)
    platform.deliver = inprocess.deliver_to(product)
    stage = load.Stage(
        rt, ADDRESS, lambda name, words: control.handle(platform, name, "POST", words)[1]
    )
    count = load.load(stage, size, frozen())
    if count:
        say(t(f"已载入「沐颜集」：{count:,} 位粉丝", f"loaded the brand: {count:,} followers"))
        with db.writing(tool.engine) as session:
            password = None if operators.every(session) else crew.add(session, frozen())
        if password:
            say(
                t(
                    f"演示成员 小林（运营）、周姐（主管）等的密码：{password}（只显示这一次）",
                    f"password of the demo's people, 小林 (operator), 周姐 (lead) …: {password} (shown once)",
                )
            )
    elif not plays:
        say(t("「沐颜集」已经在这里了", "the brand is here already"))
    if count or (plays and not played):
        say(t("十天过去：", "ten days pass:"))
        play.play(stage, platform, frozen, product, size, _tell)
        click.echo()
        with db.writing(tool.engine) as session:
            move_clock(session, frozen() - now())
        platform.set_clock(frozen(), frozen=False)
        when = f"{local(frozen()):%Y-%m-%d %H:%M}"
        say(t(f"现在是 {when}，活动已经做完", f"it is {when} now, and the campaign is done"))
    if plays:
        _compare(tool, stage)


def _tell(day: str) -> None:
    click.echo(f"{day} ", nl=False)


def _on_one_clock(tool: Tool, platform: Platform, frozen: Clock) -> Runtime:
    def http() -> requests.Session:
        session = requests.Session()
        inprocess.mount(session, ADDRESS, sandbox_app(platform))
        return session

    rt = tool.runtime
    return replace(rt, clock=frozen, store=DatabaseStore(rt.engine, frozen), http=http)


def _compare(tool: Tool, stage: load.Stage) -> None:
    with tool.reading() as session:
        account_id = accounts.get(session, truth.SLUG).id
    rows = list(play.told(play.outcomes(stage, account_id, stage.rt.clock())))
    print_table(
        ["", t("全量群发", "send to all"), t("精准触达", "targeted")],
        rows,
        t("同一批粉丝，两种发法（沙箱演示数据）", "The same followers, two ways (sandbox figures)"),
    )
