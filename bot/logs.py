"""Log lines: key=value text or JSON, one event each. Secrets and whole OpenIDs never reach one."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_KEYS = re.compile(r"secret|token|aes_key|password|session|signature|echostr|openid|open_id")
# what may stand inside a longer text: query strings of the platform's API, and OpenIDs
_SECRET_TEXT = re.compile(
    r"((?:access_token|secret|appsecret|code|refresh_token|signature|msg_signature|echostr)=)[^&\s'\"]+"
)
_OPEN_ID = re.compile(r"\bo[A-Za-z0-9_-]{27}\b")


def clean(text: str) -> str:
    """``text`` without secrets in query strings and without whole OpenIDs."""
    text = _SECRET_TEXT.sub(r"\1…", text)
    return _OPEN_ID.sub(lambda found: f"{found[0][:2]}…{found[0][-4:]}", text)


def _redact(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in line.items():
        if key != "event" and _SECRET_KEYS.search(key.lower()):
            text = str(value)
            line[key] = f"{text[:2]}…{text[-4:]}" if len(text) > 8 and "id" in key.lower() else "…"
        elif isinstance(value, str):
            line[key] = clean(value)
    return line


class _CleanFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return clean(super().format(record))


def configure(log_format: str = "text", level: int = logging.INFO) -> None:
    """Send every log line, ours and libraries', to standard error in one shape."""
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if log_format == "json"
        else structlog.processors.KeyValueRenderer(
            key_order=["timestamp", "level", "event"], repr_native_str=False
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _CleanFormatter("timestamp=%(asctime)s level=%(levelname)s event=%(name)s %(message)s")
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def get() -> Any:
    """The logger. ``log.info("push_refused", account=slug, reason=reason)``."""
    return structlog.get_logger()
