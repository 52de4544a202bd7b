"""Marketing by customer-service message that does not say how to get no more of it: a hint, nobody forces one."""

from collections.abc import Mapping
from typing import Any

from bot.checks import WARNING, Finding
from bot.checks._texts import texts

NAME = "missing_unsubscribe"
LABEL = {"zh": "缺少退订提示", "en": "No hint how to opt out"}

# what a follower writes to opt out, and the ways to say it. Source: bot/accounts.py, OPT_OUT_WORDS
_HINTS = ("退订", "回复td", "回td", "不再接收", "取消接收", "拒收", "unsubscribe")
# kinds whose words stand elsewhere: a picture, an article behind a card
_WITH_WORDS = ("text", "menu_message")


def applies(message_class: str, channel: str | None) -> bool:
    """The platform lists messages of mass sends with a way to refuse them; a service message has none."""
    return message_class == "marketing" and channel == "customer_service"


def findings(content: Mapping[str, Any], place: str) -> list[Finding]:
    """One finding when no text of the content says how to opt out."""
    kind = next((kind for kind in _WITH_WORDS if content.get(kind)), None)
    if kind is None:
        return []
    if any(hint in text.letters for text in texts(content, place) for hint in _HINTS):
        return []
    return [
        Finding(
            NAME,
            WARNING,
            f"{place}.{kind}" if place else kind,
            "",
            "客服消息里的营销内容没有说明怎样不再接收，容易被投诉。",
            "在结尾加上“回复 退订 不再接收”。",
            why_en="Marketing by customer-service message says nowhere how to get no more of it.",
            suggestion_en="End with 回复 退订 不再接收.",
        )
    ]
