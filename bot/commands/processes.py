"""run, web, scheduler, worker and sandbox: what stays running."""

from contextlib import ExitStack
from datetime import timedelta

import click

from bot import accounts, db, migrate, operators, serve
from bot.commands.shared import Tool, doc, pass_tool, say, t
from bot.config import INSTANCE
from bot.demo import campaigns, crew, load
from bot.demo.live import Life
from bot.sandbox.serve import DEFAULT_PORT
from bot.sandbox.serve import serve as serve_sandbox

HOST = click.option("--host", default="127.0.0.1", show_default=True)
PORT = click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
FIRST_OPERATOR = "admin"
FIRST_CAMPAIGN = timedelta(minutes=2)


@click.command(
    "run",
    help=doc(
        "一个进程里运行全部：回调、后台、定时任务和发送。--sandbox 另外启动本机沙箱和演示品牌。",
        "Everything in one process: callback, console, scheduler, workers. "
        "--sandbox adds the local platform and the demo brand.",
        "qunfen run --sandbox",
    ),
)
@HOST
@PORT
@click.option(
    "--sandbox", is_flag=True, help=t("同时启动本机沙箱平台", "start the local platform beside it")
)
@click.option(
    "--sandbox-port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True
)
@pass_tool
def run(tool: Tool, host: str, port: int, sandbox: bool, sandbox_port: int) -> None:
    tool.listens_at(serve.address(host, port))
    migrate.upgrade(tool.engine)
    with ExitStack() as beside:
        if sandbox:
            address = beside.enter_context(serve.sandbox(sandbox_port))
            _demo(tool, address, beside)
        password = _first_operator(tool)

        def ready(address: str) -> None:
            say(t(f"群分已启动：{address}/console/", f"Qunfen is running: {address}/console/"))
            if password:
                say(
                    t(
                        f"首次登录：用户名 {FIRST_OPERATOR}，密码 {password}（只显示这一次）",
                        f"first login: {FIRST_OPERATOR} / {password} (shown this once)",
                    )
                )
            else:
                say(
                    t(
                        "忘记密码：qunfen operator passwd 用户名",
                        "forgot the password: qunfen operator passwd NAME",
                    )
                )
            say(t("按 Ctrl-C 停止", "Ctrl-C stops"))

        serve.run_all(tool.runtime, host, port, ready)
    say(t("已停止", "stopped"))


def _first_operator(tool: Tool) -> str | None:
    with tool.writing() as session:
        # the people of the demo brand are there to be looked at; somebody must be in charge of the installation
        if any(one.role == operators.ADMIN for one in operators.every(session)):
            return None
        return operators.add(session, FIRST_OPERATOR, "admin", tool.now())


def _demo(tool: Tool, address: str, beside: ExitStack) -> None:
    stage = load.Stage(tool.runtime, address, load.http_control(address))
    with tool.reading() as session:
        empty = not accounts.every(session)
    if empty:
        say(t("正在准备演示品牌「沐颜集」……", "preparing the demo brand…"))
        load.load(stage, "small", tool.now())
        due = tool.now() + FIRST_CAMPAIGN
        with db.writing(tool.engine) as session:
            file = campaigns.targeted(due, load.SIZES["small"])
            load.apply_file(session, tool.runtime, file, tool.now())
            password = crew.add(session, tool.now())
        say(
            t(
                f"演示成员 小林（运营）、周姐（主管）等的密码：{password}（只显示这一次）",
                f"password of the demo's people, 小林 (operator), 周姐 (lead) …: {password} (shown once)",
            )
        )
        say(
            t(
                "两分钟后会有一场活动自动发出，在首页可以看到。",
                "a campaign goes out in two minutes; watch it on the home page.",
            )
        )
    with tool.reading() as session:
        loaded = load.is_loaded(session)
    if loaded:
        load.meet(stage)
        life = Life(stage.control)
        life.start()
        beside.callback(life.stop)


@click.command(
    "web",
    help=doc(
        "只运行网页和回调；生产环境也可以用任何 WSGI 服务器运行 wsgi:application。",
        "The HTTP doors alone; any WSGI server on wsgi:application does the same.",
        "qunfen web --host 0.0.0.0 --port 8000 --workers 2",
    ),
)
@HOST
@PORT
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=None,
    help=t("进程数；SQLite 默认 1，PostgreSQL 默认 2", "processes; SQLite 1, PostgreSQL 2"),
)
@pass_tool
def web(tool: Tool, host: str, port: int, workers: int | None) -> None:
    tool.check_revision()
    usual = 1 if tool.engine.dialect.name == "sqlite" else 2
    serve.run_web(host, port, workers or usual)


@click.command(
    "scheduler",
    help=doc(
        "只运行定时任务的钟；多开一个也没有关系。",
        "The bell of periodic jobs alone; a second one is harmless.",
        "qunfen scheduler",
    ),
)
@pass_tool
def scheduler_command(tool: Tool) -> None:
    serve.run_scheduler(tool.runtime)


@click.command(
    "worker",
    help=doc(
        "只负责发送和执行任务；需要几个就在几台机器上开几个。设了 Redis 时由 Celery 通知任务。",
        "Sends and runs jobs; as many processes on as many machines as needed. With Redis, Celery tells of jobs.",
        "qunfen worker --threads 4",
    ),
)
@click.option("--threads", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option(
    "--plain",
    is_flag=True,
    help=t(
        "设了 Redis 也不用 Celery，自己查任务表", "look for jobs itself even where Redis is set"
    ),
)
@pass_tool
def worker(tool: Tool, threads: int, plain: bool) -> None:
    serve.run_worker(tool.runtime, threads, plain=plain)


@click.command(
    "sandbox",
    help=doc(
        "只运行本机沙箱平台，状态保存在 instance/sandbox.db。",
        "The local platform alone; its state is instance/sandbox.db.",
        "qunfen sandbox --port 8001",
    ),
)
@click.option("--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True)
def sandbox_command(port: int) -> None:
    INSTANCE.mkdir(parents=True, exist_ok=True)
    say(t(f"沙箱：http://127.0.0.1:{port}", f"sandbox: http://127.0.0.1:{port}"))
    serve_sandbox(str(INSTANCE / "sandbox.db"), port=port)
