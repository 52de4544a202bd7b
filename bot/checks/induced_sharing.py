"""Rewards for forwarding, likes and follows; accounts are closed for them. The pack: packs/induced_sharing.toml."""

from collections.abc import Mapping
from typing import Any

from bot.checks import Finding, _packs

NAME = "induced_sharing"
LABEL = {"zh": "诱导分享与关注", "en": "Induced sharing and following"}


def findings(content: Mapping[str, Any], place: str) -> list[Finding]:
    """Every word of the pack in the texts of a content."""
    return _packs.found(NAME, content, place)
