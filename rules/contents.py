"""Contents inside actions: checked models on one side, the plain JSON of effects on the other."""

from typing import Any

from bot.content import Content


def plain(content: Content) -> dict[str, Any]:
    """The content as canonical JSON."""
    if content.text is not None:
        return {"text": content.text}
    found: dict[str, Any] = content.model_dump(exclude_none=True, exclude_defaults=True)
    return found
