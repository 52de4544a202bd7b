"""A gateway that answers by script and remembers every call. The platform itself is played by the sandbox elsewhere."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from bot.errors import WeChatError

Answer = Mapping[str, Any] | Exception
NO_ANSWER = WeChatError(
    None, "no answer in time", permanent=False, wait_seconds=60, action="unknown"
)
NEVER_LEFT = WeChatError(None, "no connection", permanent=False, wait_seconds=10, action="retry")


def refusal(errcode: int, *, permanent: bool = True, **body: Any) -> WeChatError:
    return WeChatError(errcode, "refused", permanent=permanent, action="drop", body=body)


class Gateway:
    """Stands for ``WeChat``: ``call`` gives the scripted answers in turn, then the usual one."""

    def __init__(self, *answers: Answer, hook: Callable[[], None] = lambda: None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._answers = list(answers)
        self._hook = hook
        self._lock = threading.Lock()

    def of(self, account_id: int) -> Any:
        """What ``drain`` asks: the gateway of an account."""
        return self

    def call(
        self, path: str, payload: dict[str, Any] | None = None, **_more: Any
    ) -> Mapping[str, Any]:
        with self._lock:
            self.calls.append((path, payload or {}))
            number = len(self.calls)
            answer = self._answers.pop(0) if self._answers else {"errcode": 0, "msg_id": number}
        self._hook()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def texts(self) -> list[str]:
        return [payload["text"]["content"] for _path, payload in self.calls]

    def ids(self) -> list[str]:
        return [payload["clientmsgid"] for _path, payload in self.calls if "clientmsgid" in payload]
