"""What each step of the wizard knows: counts, the needed reach and its odds, channels with reasons, findings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random
from typing import Any

from flask import render_template
from flask_babel import gettext as _

from bot import channels as channel_rules
from bot import content as contents
from bot import db
from bot.audiences import catalogue, index, overlap, segments
from bot.audiences.index import Look
from bot.campaigns import document as documents
from bot.campaigns import estimate as reach_needed
from bot.campaigns import estimates, pasts, plan_checks, plan_files, plans
from bot.campaigns.estimate import Added, GroupEstimate, Needed, Odds
from bot.campaigns.estimates import Estimate
from bot.campaigns.pasts import Activity
from bot.campaigns.plans import Burst, Plan
from bot.clock import local
from bot.console import known_names, wizard_forms, wizard_words
from bot.console.access import Here
from bot.console.form_words import WEEKDAYS
from bot.console.look import language
from bot.console.phone import Phone, phone
from bot.console.telling import told
from bot.db import Session
from bot.errors import Invalid, Refused
from bot.registry import members

Json = dict[str, Any]
Problems = Sequence[tuple[str, str]]
LIVE = {"crowd": 2, "odds": 3, "reach": 4, "phones": 4, "findings": 5}  # fragment -> its step
WANTED_ODDS = 0.8
MOST_OFFERED = 12  # other segments that are offered as groups
# which step a part of the document belongs to
_STEPS: Mapping[str, int] = {
    "name": 1, "goal": 1, "brief": 1,
    "segment": 2, "groups": 2, "holdout": 2,
    "channels": 4, "content": 4, "contents": 4, "links": 4, "message_class": 4, "experiment": 4,
    "at": 5, "repeat": 5, "pace": 5, "follow_ups": 5, "after": 5, "worth": 5,
}  # fmt: skip


@dataclass(frozen=True)
class Reckoning:
    """Step 3: what the past says of this goal and these groups."""

    target: int | None
    activities: Sequence[Activity]
    chosen: Sequence[Activity]
    needed: Needed | None
    groups: Sequence[GroupEstimate]
    typed: frozenset[str]  # groups whose rate somebody typed
    reached: int
    odds: Odds | None
    added: Added | None
    offered: Sequence[GroupEstimate]
    counted_at: datetime | None


def step_of(place: str) -> int:
    """The step where a problem of the document is put right."""
    return _STEPS.get(place.split(".")[0], 5)


def burst_of(given: Mapping[str, Any]) -> Burst:
    """Whether the activity bursts, by its factors and dates."""
    brief = given.get("brief") or {}
    begins = wizard_forms.moment_of(brief.get("begins"))
    return plans.burst(brief, begins, wizard_forms.moment_of(brief.get("ends")))


def unfinished(step: int, given: Json) -> list[tuple[str, str]]:
    """What keeps a step from the next one."""
    if step == 2 and not wizard_forms.groups_of(given):
        return [("groups", "Field required")]
    if step == 4:
        found = documents.problems({**_with_time(given), "status": "draft"})
        return [one for one in found if step_of(one[0]) == 4]
    return []


def late_problems(given: Json, now: datetime) -> list[tuple[str, str]]:
    """A time that is over, or nearly."""
    at = wizard_forms.moment_of(given.get("at"))
    return [("at", "is past")] if at is not None and at <= now else []


def context(here: Here, step: int, given: Json, problems: Problems, plan: Plan | None) -> Json:
    """What the template of a step shows beside the document."""
    if step == 1:
        return {"factors": wizard_words.FACTORS, "burst": burst_of(given)}
    if step == 2:
        return _crowd_context(here, given)
    if step == 3:
        return {"reckoning": reckon(here, given, plan.id if plan else 0, recount=True)}
    if step == 4:
        return _channels_context(here, given, problems)
    return _schedule_context(here, given)


def live(here: Here, name: str, given: Json, plan_id: int) -> str:
    """One fragment that follows what is typed."""
    if name == "crowd":
        return render_template("plans/_crowd.html", **_crowd(here, given))
    if name == "odds":
        return render_template("plans/_odds.html", reckoning=reckon(here, given, plan_id))
    if name == "reach":
        found, problem = _estimate(here, given)
        return render_template(
            "plans/_reach.html",
            found=found,
            problem=problem,
            goal=given.get("goal") or {},
            label=channel_label,
            about=wizard_words.reason_about,
        )
    if name == "phones":
        return render_template("plans/_phones.html", phones=_phones(given))
    return render_template("plans/_findings.html", **_findings(here, given))


def channel_label(name: str) -> str:
    """A channel as operators know it."""
    member = members("bot.channels").get(name)
    return str(member.LABEL[language()]) if member is not None else name


def send_previews(here: Here, plan: Plan) -> int:
    """Owe the testers every content; how many messages.

    Raises:
        Refused: there are no testers, or nothing to show.
    """
    with db.writing(here.rt.engine) as session:
        count = plan_checks.preview(
            session, here.account, plan.document, here.now, by=here.operator.name
        )
        here.audit(session, "plan.preview", f"plan:{plan.id}", after={"count": count})
    return count


def _crowd_context(here: Here, given: Json) -> Json:
    with db.reading(here.rt.engine) as session:
        listed = segments.every(session, here.account.id)
        names = known_names.known(session, here.account.id)
    sentences = {}
    for one in listed:
        try:
            sentences[one.name] = one.sentence
        except Invalid:
            sentences[one.name] = ""
    return {
        "groups": wizard_forms.groups_of(given),
        "segments": sentences,
        "tags": names["tag"],
        "limits": here.account.limits,
        **_crowd(here, given),
    }


def _crowd(here: Here, given: Json) -> Json:
    """Counts of the groups, what they share, and how many are left out to measure."""
    with db.reading(here.rt.engine) as session:
        look = Look(session, here.account.id, here.now)
        missing = estimates.check_names(look, given)
        sets = {}
        for group in wizard_forms.groups_of(given):
            if group["segment"] not in missing:
                where = segments.get(session, here.account.id, group["segment"]).where
                sets[group["name"]] = look.people(where)
        own = overlap.first_wins(list(sets.items()))
        everybody = len(look.everybody())
        union = sum(len(people) for people in own.values())
        shared = {
            name: len(people) - len(own[name]) for name, people in sets.items() if name in own
        }
        cells = overlap.cells(sets) if 1 < len(sets) <= overlap.MOST_TOGETHER else []
    index.keep(here.rt.engine, look)
    holdout = float(given.get("holdout") or 0)
    return {
        "sizes": {name: len(people) for name, people in sets.items()},
        "own_sizes": {name: len(people) for name, people in own.items()},
        "shared": shared,
        "cells": cells,
        "cell_names": list(sets),
        "union": union,
        "everybody": everybody,
        "held_out": round(union * holdout),
        "holdout": holdout,
        "missing_segments": missing,
        "counted_at": look.counted_at,
    }


def reckon(here: Here, given: Json, plan_id: int, *, recount: bool = False) -> Reckoning:
    """What similar activities say: the rate, people needed, the odds with these groups, and groups to add."""
    if recount:
        pasts.recount(here.rt.engine, here.account.id, here.now)
    similar = (given.get("brief") or {}).get("similar") or ()
    target = (given.get("goal") or {}).get("target")
    with db.reading(here.rt.engine) as session:
        activities = pasts.every(session, here.account.id)
        chosen = pasts.chosen(activities, similar)
        look = Look(session, here.account.id, here.now)
        try:
            found: Estimate | None = estimates.estimate(
                look, here.account, _with_channels(here, given), at=_when(given, here.now)
            )
            others = _other_groups(here, look, given)
        except (Refused, Invalid):
            found, others = None, {}
    index.keep(here.rt.engine, look)
    groups, offered, typed = _group_estimates(given, chosen, found, others)
    known = all(group.rate for group in groups)
    odds = added = None
    if target and groups and known:
        # the same plan shows the same odds: the dice are the plan's own
        odds = reach_needed.odds(target, groups, Random(plan_id))  # noqa: S311
        if odds.probability < WANTED_ODDS and offered:
            added = reach_needed.groups_to_add(
                target,
                groups,
                offered,
                Random(plan_id),  # noqa: S311
                wanted=WANTED_ODDS,
            )
    return Reckoning(
        target,
        activities,
        chosen,
        reach_needed.needed(target, [one.as_past() for one in chosen])
        if target and chosen
        else None,
        groups,
        typed,
        sum(group.people for group in groups),
        odds,
        added if added and added.groups else None,
        offered,
        look.counted_at,
    )


def _group_estimates(
    given: Json,
    chosen: Sequence[Activity],
    found: Estimate | None,
    others: Mapping[str, int],
) -> tuple[list[GroupEstimate], list[GroupEstimate], frozenset[str]]:
    """The groups with their rates: typed, or what the chosen activities say; and those that could be added."""
    # what was ticked is of one kind, whatever it was called
    past = [replace(one, kind="") for activity in chosen for one in activity.by_group()]
    reach = {group.name: group.reached for group in found.groups} if found else {}
    listed = reach_needed.group_estimates(past, "", {**reach, **others}) if past else []
    rates = {
        group["name"]: group["rate"]
        for group in wizard_forms.groups_of(given)
        if group.get("rate") is not None
    }
    if not past:
        listed = [
            GroupEstimate(name, people, rates.get(name, 0.0), 50.0)
            for name, people in reach.items()
        ]
    groups = [
        replace(one, rate=rates.get(one.name, one.rate)) for one in listed if one.name in reach
    ]
    return groups, [one for one in listed if one.name not in reach], frozenset(rates)


def _other_groups(here: Here, look: Look, given: Json) -> dict[str, int]:
    """Segments that could be added: people of theirs who are in none of the groups, of the expected reach."""
    have = estimates.group_people(look, given)
    taken = {segment for _name, segment in estimates.group_segments(given)}
    people = overlap.first_wins(list(have.items()))
    found: dict[str, int] = {}
    ready = catalogue.look_for_list(look.session, look.account_id, look.now)
    for one in segments.every(look.session, look.account_id):
        if one.name in taken or len(found) >= MOST_OFFERED:
            continue
        theirs = catalogue.people(ready, one.where)
        if theirs is None or theirs == look.everybody():
            continue
        for mine in people.values():
            theirs = theirs - mine
        share = 1 - float(given.get("holdout") or 0)
        if theirs:
            found[one.name] = round(len(theirs) * share)
    return found


def _channels_context(here: Here, given: Json, problems: Problems) -> Json:
    with db.reading(here.rt.engine) as session:
        names = known_names.known(session, here.account.id)
    known = [member.NAME for member in estimates.known_channels(here.account)]
    chosen = [name for name in given.get("channels") or () if name in known]
    in_usual_order = chosen == [name for name in known if name in chosen]
    listed = known if in_usual_order else [*chosen, *(name for name in known if name not in chosen)]
    found, problem = _estimate(here, given)
    experiment = given.get("experiment") or {}
    return {
        "channels": [
            {
                "name": name,
                "label": channel_label(name),
                "on": name in chosen,
                "about": wizard_words.channel_about(name),
                "unfit": told(_unfit(here, name, given)),
                "own": name in (given.get("contents") or {}),
                "must_own": not wizard_forms.default_kinds(name),
            }
            for name in listed
        ],
        "written": wizard_forms.written(given, problems, names, chosen),
        "experiment": experiment if experiment.get("of") == "content" else {},
        "names": names,
        "found": found,
        "problem": problem,
        "label": channel_label,
        "about": wizard_words.reason_about,
        "phones": _phones(given),
        "hours_of": wizard_forms.hours_of,
    }


def _unfit(here: Here, name: str, given: Json) -> str:
    member = members("bot.channels")[name]
    message_class = str(given.get("message_class") or "marketing")
    return channel_rules.unfit(member, here.account.kind, message_class) or ""


def _schedule_context(here: Here, given: Json) -> Json:
    brief = given.get("brief") or {}
    when = brief.get("when") or ("repeat" if given.get("repeat") else "at")
    experiment = given.get("experiment") or {}
    with db.reading(here.rt.engine) as session:
        names = known_names.known(session, here.account.id)
        testers = plan_checks.testers(session, here.account.id)
    hours = [one.get("at") for one in experiment.get("variants") or ()]
    return {
        "when": when,
        "weekdays": WEEKDAYS,
        "repeat": given.get("repeat") or {},
        "pace": given.get("pace") or {},
        "pace_minutes": wizard_forms.minutes_of((given.get("pace") or {}).get("every")),
        "hours": " ".join(hours) if experiment.get("of") == "hour" else "",
        "tests_content": experiment.get("of") == "content",
        "follow_ups": given.get("follow_ups") or [],
        "after": given.get("after") or {},
        "worth": given.get("worth") or {},
        "hours_of": wizard_forms.hours_of,
        "wall_clock": _wall_clock(given.get("at")),
        "soon": _wall_clock(wizard_forms.soon(here.now)),
        "channel_choices": [
            (member.NAME, channel_label(member.NAME))
            for member in estimates.known_channels(here.account)
        ],
        "tags": names["tag"],
        "limits": here.account.limits,
        "testers": testers,
        "label": channel_label,
        **_findings(here, given),
    }


def _findings(here: Here, given: Json) -> Json:
    """What the checks say of the contents, and what the invited words would be answered with when it goes out."""
    at = _when(given, here.now)
    with db.reading(here.rt.engine) as session:
        answers = plan_checks.answers(session, here.account, given, at)
    found, problem = _estimate(here, given)
    return {
        "findings": plan_checks.findings(given),
        "answers": answers,
        "found": found,
        "problem": problem,
        "lang": language(),
        "said_labels": {
            **{one.place: said_label(one, given) for one in plan_checks.said(given)},
            **{f"links.{name}": _("链接 %(name)s", name=name) for name in given.get("links") or {}},
        },
    }


def said_label(one: plan_checks.Said, given: Json) -> str:
    """Which content this is, in words."""
    if one.channel:
        return channel_label(one.channel)
    if one.place.startswith("follow_ups."):
        return str(_("第 %(number)s 波", number=int(one.place.split(".")[1]) + 2))
    return str(_("内容 %(name)s", name=one.label) if one.label else _("内容"))


def _phones(given: Json) -> list[tuple[str, Phone | None]]:
    """(label, content as a follower whose fields are empty sees it)."""
    return [(said_label(one, given), phone(one.content)) for one in plan_checks.said(given)]


def _estimate(here: Here, given: Json) -> tuple[Estimate | None, str]:
    """The live estimate, or the sentence why there is none."""
    with db.reading(here.rt.engine) as session:
        look = Look(session, here.account.id, here.now)
        try:
            found = estimates.estimate(look, here.account, given, at=_when(given, here.now))
            found = _with_expected(look, given, found)
        except (Refused, Invalid) as problem:
            return None, told(getattr(problem, "message", str(problem)))
    index.keep(here.rt.engine, look)
    return found, ""


def _with_expected(look: Look, given: Json, found: Estimate) -> Estimate:
    """Groups whose rate nobody typed take the one the ticked activities say."""
    similar = (given.get("brief") or {}).get("similar") or ()
    if not similar or all(group.rate is not None for group in found.groups):
        return found
    chosen = pasts.chosen(pasts.every(look.session, look.account_id), similar)
    groups, _offered, _typed = _group_estimates(given, chosen, found, {})
    rates = {one.name: one.rate for one in groups}
    return replace(
        found,
        groups=[
            replace(group, rate=rates[group.name], expected=group.reached * rates[group.name])
            if group.rate is None and rates.get(group.name)
            else group
            for group in found.groups
        ],
    )


def filled(here: Here, given: Json) -> Json:
    """The document with what is expected of it, as it was when it was handed in."""
    found, _problem = _estimate(here, given)
    with db.reading(here.rt.engine) as session:
        sentences = segment_sentences(session, here.account.id, given)
    brief = {
        key: value
        for key, value in (given.get("brief") or {}).items()
        if key not in ("features", "people", "reached", "slots", "expected")
    }
    return plan_files.filled({**given, "brief": brief}, found, sentences)


def segment_sentences(
    session: Session, account_id: int, document: Mapping[str, Any]
) -> dict[str, str]:
    """The conditions of the segments a document names, in Chinese."""
    found = {}
    for _group, name in estimates.group_segments(document):
        try:
            found[name] = segments.get(session, account_id, name).sentence
        except (Refused, Invalid):
            found[name] = ""
    return found


def _with_channels(here: Here, given: Json) -> Json:
    """Before channels are chosen, the reach of the usual two."""
    if given.get("channels"):
        return given
    known = members("bot.channels")
    usual = [name for name in (contents.CUSTOMER_SERVICE, contents.MASS) if name in known]
    return {**given, "channels": usual}


def _with_time(given: Json) -> Json:
    """A document whose time is not chosen yet is not wrong for that in an earlier step."""
    if given.get("at") or given.get("repeat"):
        return given
    return {**given, "at": "2100-01-01T00:00:00+08:00"}


def _when(given: Json, now: datetime) -> datetime:
    """When the campaign would go out; now, where no time was chosen."""
    at = wizard_forms.moment_of(given.get("at"))
    return at if at is not None and at > now else now


def _wall_clock(text: Any) -> str:
    moment = wizard_forms.moment_of(text)
    return f"{local(moment):%Y-%m-%dT%H:%M}" if moment is not None else ""
