"""What channels are called, and what the platform's refusals of a message mean."""

from flask_babel import get_locale
from flask_babel import lazy_gettext as _l

from bot.registry import members

# why the platform did not take a message. Source: docs/wechat-limits.md 9 and 10 (read 2026-11)
REFUSALS = {
    43004: _l("已经取关"),
    43101: _l("对方没有同意接收（授权已用完或被撤回）"),
    45015: _l("平台说客服窗口已关闭"),
    45047: _l("平台说窗口内的条数已用完"),
    45009: _l("接口当天的调用次数用完"),
    48001: _l("公众号没有这个接口的权限"),
}


def channel_label(name: str) -> str:
    """A channel as operators know it."""
    member = members("bot.channels").get(name)
    label = getattr(member, "LABEL", None)
    locale = get_locale()
    language = "en" if locale is not None and locale.language == "en" else "zh"
    return str(label[language]) if label else name


def channel_choices() -> list[tuple[str, str]]:
    """Every channel, to choose from."""
    return [(name, channel_label(name)) for name in sorted(members("bot.channels"))]
