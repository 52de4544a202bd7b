"""What applying a file would change: one line an object, ``+`` new, ``~`` changed, ``-`` archived. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bot.as_code.document import SECTIONS, Json, Wanted, limits_doc
from bot.as_code.pull import Existing

NEW, CHANGED, GONE = "+", "~", "-"
SINGLE = {
    "tags": "tag",
    "scenes": "scene",
    "rules": "rule",
    "segments": "segment",
    "campaigns": "campaign",
}
EMPTY = Existing(account={})
SHOWN = 70  # characters of a value that a plan shows


@dataclass(frozen=True, slots=True)
class Change:
    """``kind`` is account, tag, scene, rule, order, fallback, segment, menu, personal_menus, limits or campaign."""

    sign: str
    kind: str
    name: str
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.sign} {self.kind} {self.name}".rstrip()]
        return "\n".join(lines + [f"    {detail}" for detail in self.details])


@dataclass(frozen=True, slots=True)
class Plan:
    slug: str
    changes: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.changes)

    def of(self, kind: str) -> dict[str, str]:
        """Names of one kind with their sign."""
        return {change.name: change.sign for change in self.changes if change.kind == kind}

    def as_json(self) -> Json:
        names = {NEW: "add", CHANGED: "change", GONE: "archive"}
        return {
            "account": self.slug,
            "changes": [
                {
                    "do": names[change.sign],
                    "kind": change.kind,
                    "name": change.name,
                    "details": list(change.details),
                }
                for change in self.changes
            ],
        }


def plan(
    wanted: Wanted,
    existing: Existing | None,
    *,
    changed_secrets: frozenset[str] = frozenset(),
    opening: bool = False,
    new_files: tuple[str, ...] = (),
    prune: bool = False,
    tags_in_use: frozenset[str] = frozenset(),
) -> Plan:
    """Compare what a file asks for with what there is. ``tags_in_use`` are not archived by ``prune``."""
    now = existing or EMPTY
    found = list(_account(wanted, existing, changed_secrets, opening))
    for section in SECTIONS:
        found += _section(section, wanted, now, prune, tags_in_use)
    found += _order(wanted, now, prune)
    for key in ("fallback", "menu", "personal_menus"):
        found += _whole(key, getattr(wanted, key), getattr(now, key), key in wanted.given)
    limits = limits_after(wanted, now)
    if limits != now.limits:
        found.append(Change(CHANGED, "limits", "", tuple(_differences(now.limits, limits))))
    found += [Change(NEW, "file", name) for name in new_files]
    return Plan(wanted.account["slug"], tuple(found))


def limits_after(wanted: Wanted, existing: Existing | None) -> Json:
    """The limits once the file is applied: what it does not name stays, null goes back to the default."""
    return limits_doc(((existing or EMPTY).limits) | wanted.limits)


def order_after(wanted: Wanted, existing: Existing | None, prune: bool) -> list[str]:
    """Names of all rules in their order: the file's first, then those that stay."""
    if "rules" not in wanted.given and not prune:
        return list((existing or EMPTY).rules)
    gone = {old for (section, _new), old in wanted.was.items() if section == "rules"}
    others = (
        []
        if prune
        else [
            name
            for name in (existing or EMPTY).rules
            if name not in wanted.rules and name not in gone
        ]
    )
    return [*wanted.rules, *others]


def _account(
    wanted: Wanted, existing: Existing | None, changed_secrets: frozenset[str], opening: bool
) -> Iterator[Change]:
    slug = wanted.account["slug"]
    stated = [f"opening: sent_to_all {wanted.opening}"] if opening else []
    if existing is None:
        yield Change(NEW, "account", slug, tuple(stated))
        return
    after = existing.account | wanted.account
    details = list(_differences(existing.account, after))
    details += [f"{name}: (a new secret)" for name in sorted(changed_secrets)] + stated
    if details:
        yield Change(CHANGED, "account", slug, tuple(details))


def _section(
    section: str, wanted: Wanted, now: Existing, prune: bool, tags_in_use: frozenset[str]
) -> Iterator[Change]:
    kind = SINGLE[section]
    asked: Mapping[str, Json] = getattr(wanted, section)
    known: Mapping[str, Json] = getattr(now, section)
    gone = set()
    for name, item in asked.items():
        old = wanted.was.get((section, name))
        renamed = old is not None and old in known and name not in known
        if renamed and old is not None:
            gone.add(old)
            changed = _differences(known[old], item, skip=("name", "key"))
            yield Change(CHANGED, kind, name, (f"was: {old}", *changed))
        elif name not in known:
            yield Change(NEW, kind, name)
        elif details := tuple(_differences(known[name], item, skip=_unsaid(section, item))):
            yield Change(CHANGED, kind, name, details)
    if prune:
        for name in known:
            if name in asked or name in gone or (section == "tags" and name in tags_in_use):
                continue
            yield Change(GONE, kind, name)


def _unsaid(section: str, item: Json) -> tuple[str, ...]:
    # an approval given before stays when the file does not repeat it
    return ("approved_for",) if section == "campaigns" and "approved_for" not in item else ()


def _order(wanted: Wanted, now: Existing, prune: bool) -> Iterator[Change]:
    """A change of order among the rules that were there before."""
    after = order_after(wanted, now, prune)
    renamed = {old: new for (section, new), old in wanted.was.items() if section == "rules"}
    before = [renamed.get(name, name) for name in now.rules]
    kept = set(before) & set(after)
    old = [name for name in before if name in kept]
    if old != [name for name in after if name in kept]:
        yield Change(CHANGED, "order", "of the rules", (" → ".join(after)[:300],))


def _whole(key: str, asked: Any, known: Any, given: bool) -> Iterator[Change]:
    if not given or (asked or None) == (known or None):
        return
    sign = NEW if not known else (CHANGED if asked else GONE)
    details = (f"{_short(known)} → {_short(asked)}",) if sign == CHANGED else ()
    yield Change(sign, key, "", details)


def _differences(
    old: Mapping[str, Any], new: Mapping[str, Any], skip: tuple[str, ...] = ()
) -> Iterator[str]:
    for key in [*new, *(key for key in old if key not in new)]:
        if key in skip or old.get(key) == new.get(key):
            continue
        yield f"{key}: {_short(old.get(key))} → {_short(new.get(key))}"


def _short(value: Any) -> str:
    if value is None:
        return "–"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
