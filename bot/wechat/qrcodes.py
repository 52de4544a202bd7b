"""Parameter QR codes 带参数二维码; verified service accounts only. Source: docs/wechat-limits.md 6 (read 2026-11)."""

from dataclasses import dataclass
from urllib.parse import quote

from bot.errors import Refused, WeChatError
from bot.wechat.client import WeChat

MAX_SECONDS = 2_592_000  # 30 days
MAX_SCENE = 64  # characters
SHOW = "https://mp.weixin.qq.com/cgi-bin/showqrcode?ticket="


@dataclass(frozen=True, slots=True)
class Ticket:
    """A code made by the platform. ``url`` is what a QR image of it says; no ``expire_seconds``: for ever."""

    ticket: str
    url: str
    expire_seconds: int | None

    @property
    def image_url(self) -> str:
        """Where the platform shows the code as JPEG."""
        return SHOW + quote(self.ticket, safe="")


def create(
    wechat: WeChat, scene: str, *, permanent: bool, expire_seconds: int = MAX_SECONDS
) -> Ticket:
    """Make a code for a scene key. Permanent codes can never be deleted, and there are 100,000 an account.

    Raises:
        Refused: the scene key or the number of seconds is out of range.
        WeChatError: 40053 or 45029 the permanent codes are used up, …
    """
    if not 1 <= len(scene) <= MAX_SCENE:
        raise Refused(f"a scene key has 1 to {MAX_SCENE} characters")
    if not permanent and not 1 <= expire_seconds <= MAX_SECONDS:
        raise Refused(f"a temporary code lives 1 to {MAX_SECONDS:,} seconds")
    payload: dict[str, object] = {"action_info": {"scene": {"scene_str": scene}}}
    if permanent:
        payload["action_name"] = "QR_LIMIT_STR_SCENE"
    else:
        # always said: without it a code lives 30 or 60 s
        payload |= {"action_name": "QR_STR_SCENE", "expire_seconds": expire_seconds}
    body = wechat.call("/cgi-bin/qrcode/create", payload)
    ticket, url, seconds = body.get("ticket"), body.get("url"), body.get("expire_seconds")
    if not isinstance(ticket, str) or not ticket:
        raise WeChatError(
            None, "微信接口的回答里没有 ticket", permanent=False, wait_seconds=10, action="unknown"
        )
    lives = None if permanent else (seconds if isinstance(seconds, int) else expire_seconds)
    return Ticket(ticket, url if isinstance(url, str) else "", lives)
