"""Checks a file against the modules that own its parts, and its names against file and database."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bot import checks, events, menus
from bot.as_code import files
from bot.as_code.document import ALLOW, Json, Wanted
from bot.as_code.files import File
from bot.as_code.pull import Existing
from bot.as_code.reading import Problem, Source
from bot.audiences import segments
from bot.campaigns import definitions, plan_checks
from bot.campaigns.document import RESULT_TAGS
from bot.clock import parse_moment
from rules import model

LONGEST_REASON = 500  # characters
LABELS = {
    "tag": "tag",
    "scene": "scene",
    "segment": "segment",
    "campaign": "campaign",
    "event": "event",
}


@dataclass(frozen=True)
class Context:
    """What a file is checked against. ``stored_files`` and ``seen_events`` are what the database knows."""

    existing: Existing | None
    reader: files.Reader
    now: datetime
    prune: bool = False
    stored_files: frozenset[tuple[str, str]] = frozenset()
    seen_events: Callable[[str], bool] = lambda _kind: False


@dataclass
class Checked:
    """``rule_names`` are what rules and fallback mention: (kind, name, place)."""

    wanted: Wanted
    files: list[File] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    rule_names: set[tuple[str, str, str]] = field(default_factory=set)


def check(source: Source, wanted: Wanted, context: Context) -> Checked:
    """Everything wrong with a document that parsed; the document in canonical form."""
    result = Checked(wanted)
    found = result.problems
    _account(source, wanted, context, found)
    _renames(source, wanted, context, found)
    positions = {
        section: {name: index for index, name in enumerate(getattr(wanted, section))}
        for section in ("rules", "segments", "campaigns", "scenes", "tags")
    }
    body = {"rules": list(wanted.rules.values()), "fallback": wanted.fallback}
    examined = model.examine(body)
    broken = list(examined.problems)
    found += [source.problem(place, message) for place, message in broken]
    for name, index in positions["segments"].items():
        place = f"segments.{index}.where"
        wrong = segments.problems(wanted.segments[name]["where"], place)
        broken += wrong
        found += [source.problem(*item) for item in wrong]
    for name, index in positions["campaigns"].items():
        place = f"campaigns.{index}"
        document = wanted.campaigns[name]
        wrong = definitions.problems(document, place)
        if not wrong and _is_late(document, context):
            wrong = [(f"{place}.at", "is more than 10 minutes past")]
        broken += wrong
        found += [source.problem(*item) for item in wrong]
        if not wrong:
            found += _content(source, wanted, context, name, place)
    _menus(source, wanted, context, found)
    if not broken and examined.canonical is not None:
        result.wanted = canonical(wanted, examined.canonical)
    result.rule_names = examined.names
    if not wanted.partial:  # else names of a section that was left out would seem unknown
        _references(source, result, context, bool(broken), found)
    _files(source, wanted, context, result)
    return result


def canonical(wanted: Wanted, body: Json) -> Wanted:
    """The same with every part as its owner writes it (``body``: the rules), so that it compares with the database."""
    return replace(
        wanted,
        rules={rule["name"]: rule for rule in body["rules"]},
        fallback=body.get("fallback") or None,
        segments={
            name: {"name": name, "where": segments.normal(item["where"])}
            for name, item in wanted.segments.items()
        },
        campaigns={name: definitions.parse(item) for name, item in wanted.campaigns.items()},
    )


def _content(
    source: Source, wanted: Wanted, context: Context, name: str, place: str
) -> Iterator[Problem]:
    """Errors of the content checks in a campaign the file approves; one that is stored like this passed them.

    One without ``approved_for`` is checked when somebody approves it.
    """
    reason = wanted.allowed.get(name)
    if name in wanted.allowed and not _is_reason(reason):
        yield source.problem(
            f"{place}.{ALLOW}", f"must say why, in 1 to {LONGEST_REASON} characters"
        )
    document = definitions.parse(wanted.campaigns[name])
    stored = context.existing.campaigns.get(name) if context.existing else None
    if "approved_for" not in document or name in wanted.allowed or stored == document:
        return
    for finding in plan_checks.findings(document):
        if finding.severity == checks.ERROR:
            yield source.problem(
                f"{place}.{finding.place}",
                f"content check: '{finding.found}' ({finding.check}); "
                "mend it, or say why it may go: allow_findings",
            )


def _is_reason(reason: Any) -> bool:
    return isinstance(reason, str) and 0 < len(reason.strip()) <= LONGEST_REASON


def _is_late(document: Json, context: Context) -> bool:
    """Whether a campaign the file would schedule had its only time already. One that ran is not new."""
    document = definitions.parse(document)
    if "at" not in document or document["status"] != "scheduled":
        return False
    stored = context.existing.campaigns.get(document["name"]) if context.existing else None
    same = stored is not None and (stored["status"], stored.get("at")) == (
        "scheduled",
        document["at"],
    )
    return not same and parse_moment(document["at"]) < context.now - definitions.LATE


def _account(source: Source, wanted: Wanted, context: Context, found: list[Problem]) -> None:
    account = wanted.account
    if context.existing is None:
        written = source.data["account"]
        for key in ("name", "kind", "app_id"):
            if key not in written:
                found.append(source.problem("account", f"'{key}' is missing: the account is new"))
        for key in ("app_secret", "token"):
            if key not in written:
                found.append(source.problem("account", f"'{key}' is missing: the account is new"))
        if account.get("mode", "plain") != "plain" and "aes_key" not in wanted.secrets:
            found.append(source.problem("account.mode", f"mode {account['mode']} needs an aes_key"))
        return
    stored = context.existing.account
    if "app_id" in account and account["app_id"] != stored["app_id"]:
        found.append(
            source.problem(
                "account.app_id",
                f"account '{stored['slug']}' has another AppID; followers belong to it, make a new account",
            )
        )


def _renames(source: Source, wanted: Wanted, context: Context, found: list[Problem]) -> None:
    for (section, new), old in wanted.was.items():
        index = list(getattr(wanted, section)).index(new)
        known = getattr(context.existing, section) if context.existing else {}
        if old in known and new in known:
            found.append(
                source.problem(f"{section}.{index}.was", f"both '{old}' and '{new}' exist already")
            )
        elif old not in known and new not in known:
            found.append(
                source.problem(
                    f"{section}.{index}.was", f"there is no '{old}' that could be renamed"
                )
            )


def _menus(source: Source, wanted: Wanted, context: Context, found: list[Problem]) -> None:
    stored = context.existing
    menu = wanted.menu if "menu" in wanted.given or stored is None else stored.menu
    for place, message in menus.problems(menu, wanted.personal_menus or []):
        found.append(source.problem(place, message))


def _references(
    source: Source,
    checked: Checked,
    context: Context,
    broken: bool,
    found: list[Problem],
) -> None:
    wanted = checked.wanted
    known = known_names(checked, context)
    mentions = mentioned(wanted, checked.rule_names)
    for kind, name, place in sorted(mentions, key=lambda item: source.line(item[2])):
        if kind not in LABELS:
            continue
        if kind == "scene" and _scene_exists(name, known["scene"]):
            continue
        if kind == "event" and (name in known["event"] or context.seen_events(name)):
            continue
        if name in known[kind]:
            continue
        where = "in the file" if context.prune and kind != "tag" else "in the file or the database"
        found.append(source.problem(place, f"there is no {LABELS[kind]} '{name}' {where}"))
    ring = segments.circle(_wheres(wanted, context)) if not broken else []
    if ring:
        index = next((i for i, name in enumerate(wanted.segments) if name in ring), 0)
        found.append(
            source.problem(f"segments.{index}", f"segments name each other: {' → '.join(ring)}")
        )
    _personal_tags(source, wanted, context, found)


def mentioned(wanted: Wanted, rule_names: set[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """Every (kind, name, place) the file's rules, segments, scenes, menus and campaigns mention."""
    found = set(rule_names)
    for index, item in enumerate(wanted.segments.values()):
        found |= segments.names(item["where"], f"segments.{index}.where")
    for index, scene in enumerate(wanted.scenes.values()):
        found |= {("tag", tag, f"scenes.{index}.tags") for tag in scene.get("tags", [])}
    for index, personal in enumerate(wanted.personal_menus or []):
        found.add(("tag", personal["tag"], f"personal_menus.{index}.tag"))
    for index, campaign in enumerate(wanted.campaigns.values()):
        found |= set(_named_by_campaign(campaign, f"campaigns.{index}"))
    return found


def _named_by_campaign(campaign: Json, place: str) -> Iterator[tuple[str, str, str]]:
    """What a campaign that may not have parsed names."""
    groups, after, goal = (campaign.get(key) for key in ("groups", "after", "goal"))
    named = [("segment", campaign.get("segment"), f"{place}.segment")]
    for index, group in enumerate(groups if isinstance(groups, list) else ()):
        if isinstance(group, dict):
            named.append(("segment", group.get("segment"), f"{place}.groups.{index}.segment"))
    if isinstance(after, dict):
        named += [("tag", after.get(key), f"{place}.after.{key}") for key in RESULT_TAGS]
    if isinstance(goal, dict):
        named.append(("event", goal.get("event"), f"{place}.goal.event"))
    for kind, name, at in named:
        if isinstance(name, str):
            yield kind, name, at


def known_names(checked: Checked, context: Context) -> Mapping[str, set[str]]:
    """The names that may be mentioned: the file's, and the database's that stay."""
    wanted = checked.wanted
    known = {
        "tag": set(wanted.tags),
        "scene": set(wanted.scenes),
        "segment": set(wanted.segments),
        "campaign": set(wanted.campaigns),
        "event": set(events.KINDS),
    }
    others: list[Json] = []
    if context.existing is not None:
        gone = {(section, old) for (section, _new), old in wanted.was.items()}
        for kind, section in (
            ("tag", "tags"),
            ("scene", "scenes"),
            ("segment", "segments"),
            ("campaign", "campaigns"),
        ):
            if not context.prune or kind == "tag":
                stored = getattr(context.existing, section)
                known[kind] |= {name for name in stored if (section, name) not in gone}
        if not context.prune:
            stored = context.existing.rules
            others = [rule for name, rule in stored.items() if name not in wanted.rules]
    recorded = checked.rule_names | model.names({"rules": others})
    known["event"] |= {
        name for kind, name, place in recorded if kind == "event" and ".record." in f"{place}."
    }
    return known


def _wheres(wanted: Wanted, context: Context) -> dict[str, Any]:
    stored = {} if context.existing is None or context.prune else context.existing.segments
    return {name: item["where"] for name, item in (stored | wanted.segments).items()}


def _personal_tags(source: Source, wanted: Wanted, context: Context, found: list[Problem]) -> None:
    stored = context.existing.tags if context.existing else {}
    for index, personal in enumerate(wanted.personal_menus or []):
        tag = wanted.tags.get(personal["tag"]) or stored.get(personal["tag"])
        if tag is not None and not tag.get("sync"):
            found.append(
                source.problem(
                    f"personal_menus.{index}.tag",
                    f"the platform does not know the tag '{personal['tag']}': give it sync: true",
                )
            )


def _scene_exists(pattern: str, known: Iterable[str]) -> bool:
    if not pattern or pattern == "*":
        return True
    written = re.compile(".*".join(re.escape(part) for part in pattern.split("*")))
    return any(written.fullmatch(key) for key in known)


def _files(source: Source, wanted: Wanted, context: Context, result: Checked) -> None:
    parts: list[tuple[Any, str]] = [
        (list(wanted.rules.values()), "rules"),
        (wanted.fallback, "fallback"),
        (list(wanted.scenes.values()), "scenes"),
    ]
    parts.append((list(wanted.campaigns.values()), "campaigns"))
    seen: dict[tuple[str, str], File | str] = {}
    for kind, name, place in (item for value, at in parts for item in files.named(value, at)):
        if (kind, name) not in seen:
            seen[kind, name] = context.reader(kind, name)
            read = seen[kind, name]
            if isinstance(read, File):
                result.files.append(read)
        read = seen[kind, name]
        # a pulled file lies elsewhere than its pictures: what is stored already stays
        if isinstance(read, str) and not (
            (kind, name) in context.stored_files and "no file" in read
        ):
            result.problems.append(source.problem(place, read))
