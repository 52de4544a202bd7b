"""What programs may see of stored JSON: without the platform's names of people, OpenIDs whole only by scope."""

from typing import Any

from bot.api.frame import OPEN_ID, Call
from bot.logs import clean

_NAMES = frozenset({"FromUserName", "ToUserName", "open_id", "openid", "union_id"})


def masked(call: Call, value: Any) -> Any:
    """A copy of stored JSON as this token may see it."""
    if call.may(OPEN_ID):
        return value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list | tuple):
        return [masked(call, one) for one in value]
    if isinstance(value, dict):
        return {key: masked(call, one) for key, one in value.items() if key not in _NAMES}
    return value
