"""Marketing inside template messages and subscription notices, which are for service alone.

The pack: packs/template_marketing.toml.
"""

from collections.abc import Mapping
from typing import Any

from bot.checks import Finding, _packs

NAME = "template_marketing"
LABEL = {"zh": "模板消息里的营销内容", "en": "Marketing inside notices"}


def applies(message_class: str, channel: str | None) -> bool:
    """Notices are told by their content; where the channel is known to be another, nothing is asked."""
    return channel in (None, "template", "subscription")


def findings(content: Mapping[str, Any], place: str) -> list[Finding]:
    """Words of the pack in a notice's values: other kinds of content cannot become one."""
    notice = content.get("notice")
    if not isinstance(notice, Mapping):
        return []
    within = f"{place}.notice" if place else "notice"
    return _packs.found(NAME, notice, within)
