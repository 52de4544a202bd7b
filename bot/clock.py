"""The only reader of time, and the calendar of Asia/Shanghai. Inside the program time is aware UTC."""

import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")


def now() -> datetime:
    """The present, aware UTC, in microseconds. Doors read it once and pass it on as ``now``."""
    return datetime.now(UTC)


def tick_seconds() -> float:
    """A steady clock in seconds, for measuring how long something took."""
    return time.perf_counter()


def pause(seconds: float) -> None:
    """Let other threads and processes work for so long. Only for asking again; never to make an order come true."""
    time.sleep(seconds)


@dataclass
class Clock:
    """A clock that may be moved: the sandbox, the demo and tests live on one. Calling it reads it.

    ``frozen_at`` stops it at a moment; otherwise it runs ``offset`` away from the real one.
    """

    offset: timedelta = field(default=timedelta(0))
    frozen_at: datetime | None = None

    def __call__(self) -> datetime:
        return self.frozen_at if self.frozen_at is not None else now() + self.offset

    def move_to(self, moment: datetime) -> None:
        """Set the clock to ``moment``; a frozen clock stays frozen, a running one runs on from there."""
        if self.frozen_at is not None:
            self.frozen_at = moment.astimezone(UTC)
        else:
            self.offset = moment - now()


def local(moment: datetime) -> datetime:
    """The same moment on a Shanghai wall clock."""
    return moment.astimezone(SHANGHAI)


def day_of(moment: datetime) -> date:
    """The Shanghai calendar day of a moment."""
    return local(moment).date()


def month_of(moment: datetime) -> str:
    """The Shanghai calendar month of a moment, as ``2025-11``. The mass budget lives in these months."""
    return f"{local(moment):%Y-%m}"


def start_of_day(day: date) -> datetime:
    """The moment, in UTC, at which a Shanghai day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=SHANGHAI).astimezone(UTC)


def start_of_month(month: str) -> datetime:
    """The moment, in UTC, at which a Shanghai month such as ``2025-11`` begins."""
    year, number = month.split("-")
    return start_of_day(date(int(year), int(number), 1))


def next_month(month: str) -> str:
    """``2025-12`` after ``2025-11``."""
    year, number = (int(part) for part in month.split("-"))
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"


def parse_moment(text: str | datetime) -> datetime:
    """ISO 8601 to aware UTC; without a zone it means Asia/Shanghai.

    Raises:
        ValueError: the text is not ISO 8601, or of a year no clock here can count from.
    """
    moment = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    if not 1970 <= moment.year <= 9000:
        raise ValueError("must be a time")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=SHANGHAI)
    return moment.astimezone(UTC)
