"""Words that the advertising law forbids: 最佳, 国家级, 第一 … The pack: packs/advertising_words.toml."""

from collections.abc import Mapping
from typing import Any

from bot.checks import Finding, _packs

NAME = "advertising_words"
LABEL = {"zh": "广告法绝对化用语", "en": "Absolute words of the advertising law"}


def findings(content: Mapping[str, Any], place: str) -> list[Finding]:
    """Every word of the pack in the texts of a content."""
    return _packs.found(NAME, content, place)
