"""What operators read above the fields of declared parameters. A parameter that is not here shows its own title."""

from collections.abc import Mapping
from typing import Any

from flask_babel import lazy_gettext as _

from bot.console.shapes import Param
from bot.console.words import KIND

# by "module.parameter" first, then by the parameter alone
LABELS: Mapping[str, Any] = {
    "scenereply.reply": _("回复内容"),
    "keywords.any": _("关键词"),
    "menu_key.any": _("菜单 Key"),
    "message_kind.any": _("消息类型"),
    "text_pattern.pattern": _("通配写法"),
    "text_regex.pattern": _("正则表达式"),
    "scan_scene.scene": _("渠道二维码"),
    "subscribed_from.scene": _("从哪个渠道二维码关注"),
    "follower_tag.has": _("有标签"),
    "follower_tag.lacks": _("没有标签"),
    "follower_field.name": _("字段"),
    "set_field.name": _("字段"),
    "field.name": _("字段"),
    "cooldown.hours": _("多少小时内不再触发"),
    "days.on": _("日期或星期"),
    "reply_one_of.choices": _("候选回复"),
    "hand_over.agent": _("客服账号"),
    "send_later.after": _("多久以后"),
    "rule.from": _("开始时间"),
    "rule.until": _("结束时间"),
    "rule.hours": _("每天的时段"),
    "time_of_day.from": _("从几点"),
    "time_of_day.until": _("到几点"),
    "did.event": _("做过"),
    "did_not.event": _("没有做过"),
    "tag.any": _("有其中任一标签"),
    "tag.has": _("有标签"),
    "tag.lacks": _("没有标签"),
    "last_active.within_days": _("多少天内活跃"),
    "last_active.not_within_days": _("多少天内不活跃"),
    "scene.first": _("首次扫码"),
    "scene.last": _("最近扫码"),
    "scene.ever": _("扫过"),
    "got_campaign.name": _("营销活动"),
    "in_segment.name": _("人群"),
    "subscribed_between.from": _("关注时间从"),
    "subscribed_between.until": _("关注时间到"),
    "agent": _("客服账号"),
    "content": _("内容"),
    "description": _("描述"),
    "event": _("行为事件"),
    "file": _("素材文件"),
    "from": _("从"),
    "gte": _("大于等于"),
    "hq_url": _("高音质地址"),
    "image": _("图片"),
    "in": _("是其中之一"),
    "is": _("等于"),
    "lte": _("小于等于"),
    "media_id": _("平台素材 ID"),
    "missing": _("没有填写"),
    "music": _("音乐"),
    "name": _("名称"),
    "news": _("图文"),
    "pattern": _("写法"),
    "scene": _("渠道二维码"),
    "tags": _("标签"),
    "text": _("文字"),
    "thumb": _("封面图"),
    "times": _("次数"),
    "title": _("标题"),
    "until": _("到"),
    "url": _("链接"),
    "template": _("模板编号"),
    "notice": _("通知"),
    "article": _("文章"),
    "menu_message": _("菜单消息"),
    "head": _("开头"),
    "tail": _("结尾"),
    "data": _("模板里的各项内容"),
    "mini_program": _("打开的小程序"),
    "value": _("值"),
    "video": _("视频"),
    "voice": _("语音"),
    "within_days": _("多少天内"),
    "days": _("天数"),
    "month": _("月份"),
}

HINTS: Mapping[str, Any] = {
    "keywords.any": _("一行一个；全角半角、大小写、繁体简体都当作一样"),
    "menu_key.any": _("一行一个"),
    "text_pattern.pattern": _("* 代表任意文字，例如「我想要*券」；回复里用 {1} 引用 * 的内容"),
    "text_regex.pattern": _("RE2 语法，最多 200 个字符；能用关键词或通配就不用正则"),
    "scan_scene.scene": _("二维码的场景值，可用 *，例如 store_*"),
    "subscribed_from.scene": _("留空代表任何方式关注"),
    "hand_over.agent": _("留空代表任一空闲客服"),
    "days.on": _("勾选星期，或一行写一个日期，例如 2026-11-11"),
    "media_id": _("素材文件和平台素材 ID 填一个"),
    "news.url": _("http:// 或 https:// 开头，或 {link:短链名}"),
}
HINTS_BY_KIND: Mapping[str, Any] = {
    "words": _("一行一个"),
    "lines": _("一行一个，可以写新的"),
    "values": _("一行一个"),
    "numbers": _("一行一个数字"),
    "json": _("按 YAML 或 JSON 书写"),
    "moment": _("北京时间"),
    "time": _("北京时间"),
    "hours": _("北京时间；结束早于开始代表跨过午夜"),
}
WEEKDAYS = (
    ("mon", _("周一")),
    ("tue", _("周二")),
    ("wed", _("周三")),
    ("thu", _("周四")),
    ("fri", _("周五")),
    ("sat", _("周六")),
    ("sun", _("周日")),
)
UNITS = (("s", _("秒")), ("m", _("分钟")), ("h", _("小时")), ("d", _("天")))
VALUE_TYPES = (("text", _("文字")), ("number", _("数字")), ("flag", _("是 / 否")))
MAYBE = (("", _("不限")), ("true", _("是")), ("false", _("否")))


def label(model: type[Any], param: Param) -> str:
    """The words above a parameter's field."""
    key = _key(model, param)
    found = LABELS.get(key) or param.title or LABELS.get(param.name) or param.name
    return str(found)


def hint(model: type[Any], param: Param) -> str:
    """The small words below it."""
    found = HINTS.get(_key(model, param)) or param.hint or HINTS.get(param.name)
    return str(found or HINTS_BY_KIND.get(param.shape.kind, ""))


def choice(value: Any) -> str:
    """One of a closed list, as operators know it."""
    return str(KIND.get(value, value))


def _key(model: type[Any], param: Param) -> str:
    module = model.__module__.rpartition(".")[2]
    inner = module if model.__name__ in ("Params", "Keywords", "Active") else model.__name__
    return f"{inner.lower()}.{param.name}"
