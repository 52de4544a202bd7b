"""The wizard's five steps as forms: what was typed goes into the plan's document, and comes out again as fields.

Nothing here raises: a plan may be unfinished, and what is wrong the document's own check says (``document.problems``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bot.campaigns import document as documents
from bot.campaigns import plans
from bot.campaigns.plans import FACTORS
from bot.clock import local, parse_moment
from bot.console import forms
from bot.console.form_reading import Form
from bot.console.forms import Field, Names
from bot.content import Message
from bot.params import Params
from bot.registry import members

Json = dict[str, Any]
Problems = Sequence[tuple[str, str]]
TEXTS = ("persona", "need", "form", "product", "stage", "owner", "begins", "ends")
MOST_GROUPS, MOST_LINKS, MOST_VARIANTS, MOST_FOLLOW_UPS = 20, 20, 8, 5
SOON = timedelta(minutes=15)  # how soon "as soon as possible" is thought to be approved
FIVE_MINUTES = 300
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Said(Params):
    """A content on its own, so that the same fields draw it everywhere."""

    content: Message


@dataclass(frozen=True)
class Written:
    """One content of step 4: its dotted place in the document, its fields, and the channel it is for alone."""

    place: str
    name: str
    fields: Sequence[Field]
    channel: str | None = None


def read(step: int, form: Form, given: Json, now: datetime) -> Json:
    """The document after what was typed in one step; the other steps' parts stay."""
    found = dict(given.items())
    (_read_activity, _read_crowd, _read_reach, _read_channels, _read_schedule)[step - 1](
        form, found, now
    )
    return plans.without_empty(found)


def _read_activity(form: Form, found: Json, now: datetime) -> None:
    found["name"] = _text(form, "name", plans.LONGEST_NAME)
    brief = {**(found.get("brief") or {})}
    for key in (*FACTORS, *TEXTS):
        brief[key] = _text(form, f"brief.{key}", 2000)
    chosen = form.get("brief.burst", "")
    begins, ends = moment_of(brief["begins"]), moment_of(brief["ends"])
    computed = plans.burst(brief, begins, ends).verdict
    brief["burst"] = computed if chosen not in ("yes", "no") else chosen == "yes"
    brief["burst_by"] = "operator" if chosen in ("yes", "no") else ""
    found["brief"] = brief
    metric = "event" if form.get("goal.metric") == "event" else "guided"
    goal: Json = {"metric": metric, "target": _whole(form.get("goal.target", ""))}
    if metric == "event":
        goal["event"] = _text(form, "goal.event", 60)
    found["goal"] = goal if goal["target"] is not None else None


def _read_crowd(form: Form, found: Json, now: datetime) -> None:
    rates = {group.get("segment"): group.get("rate") for group in groups_of(found)}
    listed: list[Json] = []
    verb, _colon, place = form.get("do", "").partition(":")
    numbers = forms.indexes(form, "group")[:MOST_GROUPS]
    for number in numbers:
        segment = form.get(f"group.{number}.segment", "").strip()
        if not segment:
            continue
        name = _text(form, f"group.{number}.name", 20) or segment[:20]
        listed.append({"name": name, "segment": segment, "rate": rates.get(segment)})
    if place in numbers:
        here = numbers.index(place)
        other = {"up": here - 1, "down": here + 1}.get(verb)
        if verb == "remove" and here < len(listed):
            del listed[here]
        if other is not None and 0 <= other < len(listed) and here < len(listed):
            listed[here], listed[other] = listed[other], listed[here]
    added = form.get("add:segment", "").strip()
    if verb == "add" and added and all(one["segment"] != added for one in listed):
        listed.append({"name": added[:20], "segment": added, "rate": None})
    found.pop("segment", None)
    found["groups"] = [plans.without_empty(one) for one in _own_names(listed)]
    percent = _number(form.get("holdout", ""))
    found["holdout"] = round(min(50.0, max(0.0, percent or 0.0)) / 100, 4) or None


def _read_reach(form: Form, found: Json, now: datetime) -> None:
    brief = {**(found.get("brief") or {})}
    brief["similar"] = [name for name in form.getlist("similar") if name][:50]
    found["brief"] = brief
    listed = []
    for number, group in enumerate(groups_of(found)):
        percent = _number(form.get(f"group.{number}.rate", ""))
        rate = None if percent is None else round(min(100.0, max(0.0, percent)) / 100, 6)
        listed.append({**group, "rate": rate} if rate is not None else _without(group, "rate"))
    verb, _colon, segment = form.get("do", "").partition(":")
    if verb == "add" and segment and all(one["segment"] != segment for one in listed):
        listed.append({"name": segment[:20], "segment": segment})
    found["groups"] = _own_names(listed)
    found.pop("segment", None)


def _read_channels(form: Form, found: Json, now: datetime) -> None:
    verb, _colon, place = form.get("do", "").partition(":")
    numbers = forms.indexes(form, "channel")
    listed = [form.get(f"channel.{number}:name", "") for number in numbers]
    if place in numbers and verb in ("up", "down"):
        here = numbers.index(place)
        other = here - 1 if verb == "up" else here + 1
        if 0 <= other < len(listed):
            listed[here], listed[other] = listed[other], listed[here]
    on = set(form.getlist("channels"))
    known = members("bot.channels")
    found["channels"] = [name for name in listed if name in on and name in known]
    found["message_class"] = "service" if form.get("message_class") == "service" else None
    found["links"] = _read_links(form)
    main = _read_content(form, "content")
    variants = [
        {
            "name": _text(form, f"variant.{number}.name", 20) or "ABCDEFGH"[place_of],
            "content": main if place_of == 0 else _read_content(form, f"variant.{number}.content"),
            "share": _number(form.get(f"variant.{number}.share", "")),
        }
        for place_of, number in enumerate(forms.indexes(form, "variant")[:MOST_VARIANTS])
    ]
    if verb == "variant" and place == "add":
        variants = variants or [{"name": "A", "content": main, "share": None}]
        if len(variants) < MOST_VARIANTS:
            name = next(one for one in "ABCDEFGHI" if all(v["name"] != one for v in variants))
            variants.append({"name": name, "content": main, "share": None})
    if verb == "variant" and place.isdigit() and 0 < int(place) < len(variants):
        del variants[int(place)]
    found["content"] = main
    found["experiment"] = _experiment(form, found.get("experiment"), variants)
    contents = {}
    for name in found["channels"]:
        if form.get(f"own.{name}") or not default_kinds(name):
            # one that is just to be written begins as a copy: an empty one would be dropped again
            copied = main if default_kinds(name) else {}
            contents[name] = _read_content(form, f"contents.{name}") or copied
    found["contents"] = contents


def _experiment(form: Form, before: Any, variants: Sequence[Json]) -> Json | None:
    if len(variants) < 2:  # one of hours belongs to the next step
        return dict(before) if isinstance(before, Mapping) and before.get("of") == "hour" else None
    experiment: Json = {
        "of": "content",
        "variants": [{"name": one["name"], "content": one["content"]} for one in variants],
    }
    shares = [one["share"] for one in variants]
    if all(share and share > 0 for share in shares):
        whole = sum(shares)
        experiment["shares"] = [round(share / whole, 4) for share in shares]
        experiment["shares"][-1] = round(1 - sum(experiment["shares"][:-1]), 4)
        if len(set(experiment["shares"])) == 1:
            del experiment["shares"]
    percent = _number(form.get("experiment.test_share", ""))
    if percent and 0 < percent < 100:
        experiment["test_share"] = round(percent / 100, 4)
    hours = _whole(form.get("experiment.decide_after", ""))
    if hours and hours != 24:
        experiment["decide_after"] = f"{hours}h"
    least = _whole(form.get("experiment.min_sample", ""))
    if least and least != documents.MIN_SAMPLE:
        experiment["min_sample"] = least
    if form.get("experiment.winner") == "manual":
        experiment["winner"] = "manual"
    if form.get("experiment.winner") == "bandit":
        experiment["bandit"] = True
        experiment.pop("test_share", None)
    return experiment


def _read_links(form: Form) -> Json:
    found: Json = {}
    for number in forms.indexes(form, "link")[:MOST_LINKS]:
        name = _text(form, f"link.{number}.name", 60)
        url = _text(form, f"link.{number}.url", 1024)
        if name or url:
            found[name or f"link{len(found) + 1}"] = url
    return found


def _read_content(form: Form, prefix: str) -> Json:
    return dict(forms.read(Said, form, prefix).get("content") or {})


def _read_schedule(form: Form, found: Json, now: datetime) -> None:
    brief = {**(found.get("brief") or {})}
    when = form.get("when", "at")
    brief["when"] = when if when in ("now", "repeat") else ""
    found.pop("at", None)
    found.pop("repeat", None)
    if when == "now":
        found["at"] = soon(now)
    elif when == "repeat":
        every = form.get("repeat.every", "week")
        repeat: Json = {"every": every, "at": _text(form, "repeat.at", 8)}
        if every == "week":
            repeat["on"] = [day for day in WEEKDAYS if day in form.getlist("repeat.on")]
        if every == "month":
            listed = form.get("repeat.days", "").replace("，", ",").replace("、", ",").split(",")
            days = [_whole(one.strip()) for one in listed]
            repeat["on"] = [day for day in days if day is not None]
        found["repeat"] = repeat
    else:
        found["at"] = _moment_text(_text(form, "at", 40))
    batches, every_minutes = _whole(form.get("pace.batches", "")), form.get("pace.every", "")
    minutes = _whole(every_minutes)
    found["pace"] = (
        {"batches": batches, "every": f"{minutes}m"}
        if batches and batches > 1 and minutes
        else None
    )
    _read_hours(form, found)
    found["follow_ups"] = _read_follow_ups(form)
    hours = _whole(form.get("after.wait", ""))
    tags = {key: _text(form, f"after.{key}", 60) for key in documents.RESULT_TAGS}
    after = plans.without_empty(tags)
    if after and hours and hours != 72:
        after["wait"] = f"{hours}h"
    found["after"] = after
    worth: Json = {"protect": True} if form.get("worth.protect") else {}
    click = _number(form.get("worth.click", ""))
    if click is not None and click != 1:
        worth["click"] = float(click)
    found["worth"] = worth
    lines = form.get("brief.monitoring", "").replace("\r", "").split("\n")
    brief["monitoring"] = [line.strip()[:2000] for line in lines if line.strip()][:50]
    brief["meaning"] = _text(form, "brief.meaning", 2000)
    found["brief"] = brief


def _read_hours(form: Form, found: Json) -> None:
    """Times of day that are tested against each other; contents and hours are not tested at once."""
    if (found.get("experiment") or {}).get("of") == "content":
        return
    typed = form.get("hours", "").replace("，", " ").replace(",", " ").replace("、", " ").split()
    times = list(dict.fromkeys(one[:8] for one in typed))[:MOST_VARIANTS]
    if len(times) < 2:
        found["experiment"] = None
        return
    found["experiment"] = {"of": "hour", "variants": [{"name": one, "at": one} for one in times]}


def _read_follow_ups(form: Form) -> list[Json]:
    verb, _colon, place = form.get("do", "").partition(":")
    numbers = forms.indexes(form, "follow")[:MOST_FOLLOW_UPS]
    listed = []
    for number in numbers:
        hours = _whole(form.get(f"follow.{number}.after", ""))
        step: Json = {"after": f"{hours}h" if hours else ""}
        if form.get(f"follow.{number}.to") == "not_converted":
            step["to"] = "not_converted"
        step["channels"] = form.getlist(f"follow.{number}.channels")
        text = form.get(f"follow.{number}.text", "").replace("\r\n", "\n").strip()
        if text:
            step["content"] = {"text": text}
        listed.append(plans.without_empty(step))
    if verb == "follow" and place == "add" and len(listed) < MOST_FOLLOW_UPS:
        listed.append({"after": "48h", "channels": ["customer_service"]})
    if verb == "unfollow" and place in numbers:
        del listed[numbers.index(place)]
    return listed


# drawing


def written(
    given: Json, problems: Problems, names: Names, channels: Sequence[str]
) -> list[Written]:
    """The contents of step 4: the main one or its variants, then those of channels that say something of their own."""
    own = given.get("contents") or {}
    shared = [name for name in channels if name not in own and default_kinds(name)]
    experiment = given.get("experiment") or {}
    variants = experiment.get("variants") if experiment.get("of") == "content" else None
    found = []
    if shared or not channels:
        kinds = _kinds_of(shared)
        main = (variants or [{"content": given.get("content")}])[0]
        fields = draw_content(
            "content", main.get("content") or given.get("content"), problems, names, kinds
        )
        found.append(Written("content", str(main.get("name") or ""), fields))
        for number, variant in enumerate((variants or [])[1:], 1):
            place = f"variant.{number}.content"
            at = f"experiment.variants.{number}.content"
            mine = [
                (place + one.removeprefix(at), text) for one, text in problems if one.startswith(at)
            ]
            fields = draw_content(place, variant.get("content"), mine, names, kinds)
            found.append(Written(place, str(variant.get("name") or ""), fields))
    for name in channels:
        if name in own or not default_kinds(name):
            place = f"contents.{name}"
            fields = draw_content(place, own.get(name), problems, names, _kinds_of([name]))
            found.append(Written(place, "", fields, name))
    return found


def draw_content(
    place: str, value: Any, problems: Problems, names: Names, kinds: Sequence[str]
) -> list[Field]:
    """A content with only those kinds its channels carry."""
    prefix = f"{place}.content"
    mine = [
        (prefix + at.removeprefix(place), text)
        for at, text in problems
        if at == place or at.startswith(f"{place}.")
    ]
    shown = []
    for field in forms.draw(Said, {"content": value or {}}, mine, place, names):
        if field.kind == "content":
            choices = tuple(one for one in field.choices if one[0] in kinds)
            children = tuple(child for child in field.children if child.value in kinds)
            chosen = field.value if field.value in kinds else (choices[0][0] if choices else "")
            field = replace(field, label="", choices=choices, children=children, value=chosen)
        shown.append(field)
    return shown


def default_kinds(channel: str) -> list[str]:
    """Kinds of content a channel shares with mass or customer service; none: it needs content of its own."""
    known = members("bot.channels")
    common = {
        kind
        for name in ("customer_service", "mass")
        if name in known
        for kind in known[name].CONTENT_KINDS
    }
    member = known.get(channel)
    return [kind for kind in (member.CONTENT_KINDS if member else ()) if kind in common]


def _kinds_of(channels: Sequence[str]) -> list[str]:
    """The kinds all these channels carry; those of any channel, where none was chosen."""
    known = members("bot.channels")
    listed = [list(known[name].CONTENT_KINDS) for name in channels if name in known]
    if not listed:
        return default_kinds("customer_service")
    return [kind for kind in listed[0] if all(kind in other for other in listed)]


def groups_of(given: Mapping[str, Any]) -> list[Json]:
    """The groups of a document; a lone segment is a group of its name."""
    listed = [dict(one) for one in given.get("groups") or () if isinstance(one, Mapping)]
    if not listed and given.get("segment"):
        return [{"name": str(given["segment"])[:20], "segment": given["segment"]}]
    return listed


def soon(now: datetime) -> str:
    """The next five minutes on the clock that leave time for the approval."""
    stamp = (now + SOON).timestamp()
    rounded = datetime.fromtimestamp(-(-stamp // FIVE_MINUTES) * FIVE_MINUTES, tz=now.tzinfo)
    return local(rounded).isoformat()


def moment_of(text: Any) -> datetime | None:
    """A moment or a day somebody typed; None for anything else."""
    try:
        return parse_moment(str(text)) if text else None
    except (ValueError, OverflowError):
        return None


def hours_of(text: Any, usual: int) -> int:
    """``48h`` or ``2d`` as hours."""
    unit = {"s": 1 / 3600, "m": 1 / 60, "h": 1, "d": 24}
    text = str(text or "")
    number = _whole(text[:-1]) if text[-1:] in unit else None
    return round(number * unit[text[-1]]) if number else usual


def minutes_of(text: Any) -> int | str:
    """``30m`` or ``1h`` as minutes; empty where there is none."""
    unit = {"s": 1 / 60, "m": 1, "h": 60, "d": 1440}
    text = str(text or "")
    number = _whole(text[:-1]) if text[-1:] in unit else None
    return round(number * unit[text[-1]]) if number else ""


def _own_names(listed: Sequence[Json]) -> list[Json]:
    """Two groups have two names."""
    taken: set[str] = set()
    found = []
    for one in listed:
        name, number = str(one["name"]), 2
        while name in taken:
            name = f"{str(one['name'])[:17]} {number}"
            number += 1
        taken.add(name)
        found.append({**one, "name": name})
    return found


def _moment_text(text: str) -> str:
    moment = moment_of(text)
    return local(moment).isoformat() if moment is not None else text


def _text(form: Form, name: str, most: int) -> str:
    return form.get(name, "").replace("\x00", "").replace("\r\n", "\n").strip()[:most]


def _whole(text: str) -> int | None:
    text = text.replace(",", "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _number(text: str) -> float | None:
    text = text.replace(",", "").replace("%", "").strip()
    if not text or len(text) > 20 or not text.isascii():
        return None
    try:
        found = float(text)
    except ValueError:
        return None
    return found if found == found and abs(found) < 1e12 else None


def _without(group: Json, key: str) -> Json:
    return {name: value for name, value in group.items() if name != key}
