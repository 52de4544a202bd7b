"""接口额度: how far each API's calls of the day are used, what is held back and why, and when they run out."""

from typing import Any

from flask import render_template, request
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response

from bot import db, governor, quotas
from bot.allowances import CAMPAIGN, LATER, REPLY, SYNC
from bot.clock import local
from bot.console.access import Here, done, page
from bot.console.lists import Column, Filter, Listing, asked, csv_file
from bot.quotas import Quota

NAMES = {
    "/cgi-bin/message/custom/send": _l("客服消息"),
    "/cgi-bin/message/template/send": _l("模板消息"),
    "/cgi-bin/message/subscribe/bizsend": _l("订阅通知"),
    "/cgi-bin/message/mass/send": _l("群发（按名单）"),
    "/cgi-bin/message/mass/sendall": _l("群发（按标签）"),
    "/cgi-bin/message/mass/preview": _l("群发预览"),
    "/cgi-bin/message/mass/get": _l("查询群发结果"),
    "/cgi-bin/message/mass/speed/get": _l("查询群发速度"),
    "/cgi-bin/user/get": _l("粉丝列表"),
    "/cgi-bin/user/info/batchget": _l("粉丝资料"),
    "/cgi-bin/user/info/updateremark": _l("修改备注"),
    "/cgi-bin/qrcode/create": _l("生成二维码"),
    "/cgi-bin/media/upload": _l("上传临时素材"),
    "/cgi-bin/media/uploadimg": _l("上传文章图片"),
    "/cgi-bin/media/uploadvideo": _l("上传群发视频"),
    "/cgi-bin/media/get": _l("下载素材"),
    "/cgi-bin/material/add_material": _l("上传永久素材"),
    "/cgi-bin/material/del_material": _l("删除永久素材"),
    "/cgi-bin/material/get_materialcount": _l("素材数量"),
    "/cgi-bin/draft/add": _l("新建草稿"),
    "/cgi-bin/draft/update": _l("修改草稿"),
    "/cgi-bin/draft/delete": _l("删除草稿"),
    "/cgi-bin/freepublish/submit": _l("发布文章"),
    "/cgi-bin/freepublish/get": _l("查询发布结果"),
    "/cgi-bin/freepublish/delete": _l("删除已发布文章"),
    "/cgi-bin/menu/create": _l("发布菜单"),
    "/cgi-bin/menu/addconditional": _l("发布个性化菜单"),
    "/cgi-bin/menu/get": _l("读取菜单"),
    "/cgi-bin/menu/delete": _l("删除菜单"),
    "/cgi-bin/menu/delconditional": _l("删除个性化菜单"),
    "/cgi-bin/menu/trymatch": _l("预览个性化菜单"),
    "/cgi-bin/tags/get": _l("标签列表"),
    "/cgi-bin/tags/create": _l("新建标签"),
    "/cgi-bin/tags/update": _l("修改标签"),
    "/cgi-bin/tags/delete": _l("删除标签"),
    "/cgi-bin/tags/members/batchtagging": _l("打标签"),
    "/cgi-bin/tags/members/batchuntagging": _l("去标签"),
    "/cgi-bin/user/tag/get": _l("标签下的粉丝"),
    "/cgi-bin/template/get_all_private_template": _l("读取模板消息的模板"),
    "/wxaapi/newtmpl/gettemplate": _l("读取订阅通知的模板"),
    "/cgi-bin/openapi/quota/get": _l("查询接口额度"),
    "/cgi-bin/callback/check": _l("检查回调网络"),
    "/cgi-bin/getcallbackip": _l("平台回调 IP"),
    "/cgi-bin/stable_token": _l("取 access_token"),
}
PRIORITIES = {
    REPLY: _l("回复"),
    LATER: _l("延时消息和预览"),
    CAMPAIGN: _l("营销活动"),
    SYNC: _l("同步和后台操作"),
}
STATES = {"open": _l("正常"), "held": _l("有消息暂缓"), "paused": _l("暂停调用")}
COLUMNS = (
    Column("name", _l("接口")),
    Column("used", _l("今日已用"), sort=True, number=True),
    Column("limit", _l("每日上限"), sort=True, number=True),
    Column("share", _l("用量"), sort=True),
    Column("runs_out", _l("预计")),
    Column("state", _l("暂缓")),
    Column("calls", _l("用在哪里"), shown=False),
    Column("refused", _l("被平台拒绝"), sort=True, number=True),
    Column("owed", _l("等待发送"), sort=True, number=True),
    Column("api", _l("接口地址"), shown=False),
)
FILTERS = (Filter("state", _l("状态"), tuple(STATES.items())),)


@page("/quotas", "quotas.read")
def quotas_list(here: Here) -> str | Response:
    """Every API that was called lately, the fullest first."""
    wanted = asked(request.args, COLUMNS, FILTERS, sort="-share")
    with db.reading(here.rt.engine) as session:
        found = quotas.today(session, here.rt.store, here.account.id, here.now)
    words, state = wanted.q.casefold(), wanted.has("state")
    rows = [
        one
        for one in found
        if words in f"{name_of(one.api)} {one.api}".casefold() and state in ("", state_of(one))
    ]
    rows.sort(key=lambda one: (getattr(one, wanted.sort) or 0, one.api), reverse=wanted.down)
    if wanted.format == "csv":
        lines = ([one_line[column.name] for column in COLUMNS] for one_line in map(_cells, rows))
        return csv_file("quotas", [column.label for column in COLUMNS], lines)
    listing = Listing(wanted, COLUMNS, FILTERS, rows, len(rows), None, unit=_("个接口"))
    return render_template(
        "quotas/list.html",
        listing=listing,
        cells=_cells,
        state_of=state_of,
        any=bool(found),
        late=sum(one.late for one in found),
    )


@page("/quotas/ask", "quotas.read", methods=("POST",))
def quotas_ask(here: Here) -> Any:
    """Ask the platform for its own figures, by a job."""
    with db.writing(here.rt.engine) as session:
        governor.ask_platform(session, here.account.id, here.now)
        here.audit(session, "quotas.ask", "quotas")
    return done(_("正在向平台核对，稍后刷新本页。十五分钟内只核对一次。"), "quotas_list")


def name_of(api: str) -> str:
    """What an operator calls an API; its address where we have no word."""
    return str(NAMES.get(api, api.removeprefix("/cgi-bin/")))


def state_of(one: Quota) -> str:
    """``paused``, ``held`` or ``open``."""
    if one.pause is not None:
        return "paused"
    return "held" if one.held_back else "open"


def _cells(one: Quota) -> dict[str, str]:
    """The texts of a row."""
    return {
        "name": name_of(one.api),
        "api": one.api,
        "used": f"{one.used:,}",
        "limit": f"{one.limit:,}" if one.limit is not None else _("未公布"),
        "share": f"{one.share:.0%}" if one.limit is not None else "",
        "runs_out": _forecast(one),
        "state": _why(one),
        "calls": _("、").join(f"{PRIORITIES[name]} {n:,}" for name, n in one.calls.items() if n),
        "refused": f"{one.refused:,}",
        "owed": f"{one.owed:,}",
    }


def _forecast(one: Quota) -> str:
    if one.limit is None:
        return ""
    if one.left == 0:
        return str(_("今日已用完，0 点恢复"))
    if one.runs_out_at is None:
        return str(_("今日够用"))
    return str(_("%(time)s 用完", time=f"{local(one.runs_out_at):%H:%M}"))


def _why(one: Quota) -> str:
    """What is held back, and why."""
    if one.pause is not None:
        until = f"{local(one.pause.until):%m-%d %H:%M}"
        if one.pause.why == "day":
            return str(_("平台说今日次数已用完，%(until)s 前不再调用", until=until))
        return str(_("平台说调用太频繁，%(until)s 前不再调用", until=until))
    if one.held_back:
        held = _("、").join(str(PRIORITIES[name]) for name in one.held_back)
        return str(
            _("%(held)s暂缓：剩下的 %(kept)s 次留给回复", held=held, kept=f"{one.left or 0:,}")
        )
    if one.late:
        return str(_("有 %(count)s 条今天发不完，会等到明天", count=f"{one.late:,}"))
    return ""
