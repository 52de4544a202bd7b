"""How the platform says no: an errcode, an errmsg with a rid, and sometimes more."""

from typing import Any

# Texts: docs/wechat-limits.md 13 (read 2026-11). The product must never compare them
MESSAGES = {
    -1: "system error",
    40001: "invalid credential, access_token is invalid or not latest",
    40002: "invalid grant_type",
    40003: "invalid openid",
    40013: "invalid appid",
    40031: "invalid openid list",
    40032: "invalid openid list size",
    40033: "invalid charset",
    40037: "invalid template_id",
    40125: "invalid appsecret",
    40130: "invalid openid list size, at least two openid",
    40152: "invalid tag id",
    41001: "access_token missing",
    42001: "access_token expired",
    42010: "masssend fast, retry again",
    43001: "require GET method",
    43002: "require POST method",
    43004: "require subscribe",
    43019: "in blacklist",
    43101: "user refuse to accept the msg",
    44002: "empty post data",
    44004: "empty content",
    45002: "content size out of limit",
    45009: "reach max api daily quota limit",
    45011: "api minute-quota reach limit, must slower, retry next minute",
    45015: "response out of time limit or subscription is canceled",
    45028: "has no masssend quota",
    45047: "out of response count limit",
    45065: "clientmsgid exist",
    45066: "same clientmsgid retry too fast",
    45067: "clientmsgid size out of limit",
    47001: "data format error",
    48001: "api unauthorized",
    48002: "user refuse messages",
}


class Refusal(Exception):
    """The platform refuses; ``extra`` goes into the answer beside errcode and errmsg."""

    def __init__(self, errcode: int, why: str = "", **extra: Any) -> None:
        super().__init__(f"{errcode} {why}")
        self.errcode = errcode
        self.why = why
        self.extra = extra

    def answer(self, rid: str) -> dict[str, Any]:
        text = self.why or MESSAGES.get(self.errcode, "refused")
        return {"errcode": self.errcode, "errmsg": f"{text} rid: {rid}", **self.extra}
