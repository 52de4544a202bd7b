"""Cosmetics that promise to heal: 治疗, 消炎, 药妆 … The pack: packs/medical_claims.toml."""

from collections.abc import Mapping
from typing import Any

from bot.checks import Finding, _packs

NAME = "medical_claims"
LABEL = {"zh": "化妆品医疗用语", "en": "Medical claims for cosmetics"}


def findings(content: Mapping[str, Any], place: str) -> list[Finding]:
    """Every word of the pack in the texts of a content."""
    return _packs.found(NAME, content, place)
