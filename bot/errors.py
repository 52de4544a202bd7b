"""The families of errors this program raises on purpose. Everything else is a bug and reaches the top."""


class Invalid(Exception):
    """An operator's or plug-in's input does not parse. Consoles show it beside the field (422).

    ``field`` is a dotted path such as ``rules.3.when.0.text_is.any``.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


class Refused(Exception):
    """Understood, but not allowed now: status, budget, or somebody else changed it (409)."""


class WeChatError(Exception):
    """The platform said no, or did not answer.

    ``errcode`` is None when no answer came: the outcome is unknown. ``action`` is the column
    of the same name in ``bot/wechat/errcodes.py``. ``wait_seconds`` says how long a repeat must wait.
    The text never holds a token, a secret or a whole OpenID.
    """

    def __init__(
        self,
        errcode: int | None,
        message: str,
        *,
        permanent: bool,
        wait_seconds: float = 0.0,
        action: str = "",
        body: dict[str, object] | None = None,
    ) -> None:
        super().__init__(f"errcode {errcode}: {message}" if errcode is not None else message)
        self.errcode = errcode
        self.message = message
        self.permanent = permanent
        self.wait_seconds = wait_seconds
        self.action = action
        self.body = body or {}


class BadPush(Exception):
    """A request to the callback that is not a push of the platform. Answered 4xx, counted, never stored."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
