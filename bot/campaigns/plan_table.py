"""The plan table: one row a segment with size, product, content, channel, time, stage, goal and owner; CSV in and out.

Every row is a plan of its own that somebody may go on writing. Columns are Chinese in the file, as it is handed on.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bot.campaigns.plan_files import CHANNEL_NAMES
from bot.campaigns.plans import without_empty
from bot.clock import local, parse_moment
from bot.errors import Invalid

Json = dict[str, Any]
COLUMNS = (
    ("name", "名称"),
    ("segment", "人群"),
    ("size", "人数"),
    ("product", "产品"),
    ("content", "内容"),
    ("channels", "渠道"),
    ("at", "时间"),
    ("stage", "生命周期阶段"),
    ("goal", "目标"),
    ("owner", "负责人"),
)
NEEDED = ("segment",)
MOST_ROWS, MOST_BYTES = 500, 1_000_000
ARROW = " → "
_TEMPTING = ("=", "+", "-", "@", "\t", "\r")


def row(document: Mapping[str, Any], size: int | None) -> dict[str, str]:
    """One plan as a row of the table."""
    brief, goal = document.get("brief") or {}, document.get("goal") or {}
    groups = document.get("groups") or ()
    names = [str(group.get("segment")) for group in groups if group.get("segment")]
    if not names and document.get("segment"):
        names = [str(document["segment"])]
    content = document.get("content") or {}
    return {
        "name": str(document.get("name") or ""),
        "segment": "、".join(names),
        "size": "" if size is None else str(size),
        "product": str(brief.get("product") or ""),
        "content": str(content.get("text") or next(iter(content), "")),
        "channels": ARROW.join(
            CHANNEL_NAMES.get(name, name) for name in document.get("channels") or ()
        ),
        "at": _clock(document.get("at")),
        "stage": str(brief.get("stage") or ""),
        "goal": str(goal.get("target") or ""),
        "owner": str(brief.get("owner") or ""),
    }


def document(given: Mapping[str, str]) -> Json:
    """A row as the beginning of a plan.

    Raises:
        Invalid: a goal that is no number, a time that is none, or a channel nobody knows.
    """
    goal, at = given.get("goal", "").strip().replace(",", ""), given.get("at", "").strip()
    if goal and not (goal.isascii() and goal.isdigit() and len(goal) < 10):
        raise Invalid("goal", "must be a whole number")
    names = [one.strip() for one in given.get("segment", "").split("、") if one.strip()]
    text = given.get("content", "").strip()
    return without_empty(
        {
            "name": given.get("name", "").strip()[:60],
            "groups": [{"name": name[:20], "segment": name} for name in names],
            "content": {"text": text} if text else {},
            "channels": [_channel(one) for one in _parts(given.get("channels", ""))],
            "at": _moment(at),
            "goal": {"metric": "guided", "target": int(goal)} if goal else {},
            "brief": {
                "product": given.get("product", "").strip(),
                "stage": given.get("stage", "").strip(),
                "owner": given.get("owner", "").strip(),
            },
        }
    )


def to_csv(rows: Sequence[Mapping[str, str]]) -> str:
    """The table as CSV, with the mark by which Excel knows UTF-8."""
    buffer = io.StringIO()
    buffer.write("\ufeff")
    writer = csv.writer(buffer)
    writer.writerow([label for _key, label in COLUMNS])
    for one in rows:
        writer.writerow([_guarded(one.get(key, "")) for key, _label in COLUMNS])
    return buffer.getvalue()


def from_csv(text: str) -> list[Json]:
    """The plans a table holds, one a row; sizes are not read, they are counted.

    Raises:
        Invalid: it is no table of plans, or a row of it does not parse.
    """
    if len(text) > MOST_BYTES:
        raise Invalid("file", "is larger than 1 MB")
    try:
        listed = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    except csv.Error as problem:
        raise Invalid("file", f"is no CSV: {problem}") from None
    header = [cell.strip() for cell in listed[0]] if listed else []
    places = {key: header.index(label) for key, label in COLUMNS if label in header}
    missing = [label for key, label in COLUMNS if key in NEEDED and key not in places]
    if missing:
        raise Invalid("file", f"has no column {'、'.join(missing)}")
    if len(listed) > MOST_ROWS + 1:
        raise Invalid("file", f"has more than {MOST_ROWS} rows")
    found = []
    for number, cells in enumerate(listed[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        given = {
            key: _unguarded(cells[place]) for key, place in places.items() if place < len(cells)
        }
        try:
            found.append(document(given))
        except Invalid as problem:
            raise Invalid("file", f"row {number}: {problem.field} {problem.message}") from None
    return found


def _parts(text: str) -> list[str]:
    for mark in ("→", "、", "，", ","):
        text = text.replace(mark, "\n")
    return [one.strip() for one in text.split("\n") if one.strip()]


def _channel(text: str) -> str:
    known = {label: name for name, label in CHANNEL_NAMES.items()}
    name = known.get(text, text)
    if name not in CHANNEL_NAMES:
        raise Invalid("channels", f"there is no channel '{text}'")
    return name


def _clock(text: Any) -> str:
    try:
        return f"{local(parse_moment(str(text))):%Y-%m-%d %H:%M}" if text else ""
    except ValueError:
        return str(text)


def _moment(text: str) -> str:
    if not text:
        return ""
    try:
        moment: datetime = parse_moment(text)
    except ValueError:
        raise Invalid("at", "must be a time such as 2026-11-25 20:30") from None
    return local(moment).isoformat()


def _guarded(text: str) -> str:
    return f"'{text}" if text.lstrip("'").startswith(_TEMPTING) else text


def _unguarded(text: str) -> str:
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_TEMPTING) else text
