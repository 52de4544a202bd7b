"""The ledger of mass slots 额度账本: how many have how many left, what took them, what is still wanted of them."""

import re
from collections.abc import Iterable, Mapping, Sequence

from flask import Response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from bot import db
from bot.audiences import index
from bot.audiences.index import Look
from bot.campaigns import ledger, slot_people, slot_story
from bot.campaigns.budget import PER_FOLLOWER_AND_MONTH
from bot.campaigns.slot_people import Person, Wanted
from bot.campaigns.slot_story import Taker
from bot.clock import month_of
from bot.console.access import Here, page
from bot.console.lists import PAGE_SIZE, Asked, Column, Filter, Listing, asked, csv_file, whole
from bot.errors import Invalid

# up to so many followers the page tells everything at once; of more, sets of the last minutes are believed and
# the story of the month comes after the page
AT_ONCE = 100_000
AUDIENCES = {
    "all": _l("全部关注者"),
    "tag": _l("标签或人群"),
    "listed": _l("名单"),
    "none": _l("没有发给任何人"),
    "unknown": _l("未说明"),
    "unplaced": _l("等待核对"),
}
SOURCES = {"opening": _l("接入前"), "event": _l("平台通知"), "operator": _l("手工登记")}
COLUMNS = (
    Column("open_id", _l("粉丝")),
    Column("remark", _l("备注")),
    Column("left", _l("剩余"), number=True),
    Column("spent", _l("已发"), number=True),
    Column("reserved", _l("预留"), number=True),
    Column("external", _l("其中站外"), number=True, shown=False),
    Column("took", _l("用在哪里")),
)


@page("/ledger", "ledger.read")
def ledger_page(here: Here) -> str | Response:
    """One month: the histogram, its sums, sends made elsewhere, what is planned."""
    with db.reading(here.rt.engine) as session:
        months = slot_story.months(session, here.account.id, here.now)
        month = asked_month(here)
        people = ledger.histogram(session, here.account.id, month)
        totals = slot_story.totals(session, here.account.id, month)
        sends = slot_story.external(session, here.account.id, month)
        look = Look(session, here.account.id, here.now, fresh=sum(people.values()) <= AT_ONCE)
        coming = (
            slot_story.kept(
                session, here.account.id, month, index.slots_left(look, month), here.now
            )
            if month >= month_of(here.now)
            else []
        )
        by_day = here.account.kind != "service"
        today = slot_story.day(session, here.account.id, here.now) if by_day else None
        at_once = sum(people.values()) <= AT_ONCE
        story = _story(here, session, month) if at_once else None
    if not look.fresh:
        index.keep(here.rt.engine, look)
    return render_template(
        "ledger/ledger.html",
        month=month,
        months=months if month in months else sorted([*months, month], reverse=True),
        people=people,
        bar=bar(people),
        totals=totals,
        sends=sends,
        unexplained=[send for send in sends if send.audience == "unknown"],
        coming=coming,
        story=story,
        today=today,
        this_month=month_of(here.now),
        most=PER_FOLLOWER_AND_MONTH,
        audiences=AUDIENCES,
        sources=SOURCES,
    )


@page("/ledger/story", "ledger.read")
def ledger_story(here: Here) -> str | Response:
    """What took the slots of a month and what was left after each: part of the page, or a CSV."""
    month = asked_month(here)
    with db.reading(here.rt.engine) as session:
        story = _story(here, session, month)
    if request.args.get("format") != "csv":
        return render_template("ledger/_story.html", story=story, month=month, audiences=AUDIENCES)
    left = [_("剩 %(left)s 条", left=number) for number in range(PER_FOLLOWER_AND_MONTH, -1, -1)]
    header = [_("时间"), _("来源"), _("人数"), _("已发"), _("预留"), *left]
    rows = (
        (
            taker.at if taker else None,
            taker_name(taker),
            len(taker.people) if taker else None,
            taker.spent if taker else None,
            taker.reserved if taker else None,
            *(counts[number] for number in range(PER_FOLLOWER_AND_MONTH, -1, -1)),
        )
        for taker, counts in story
    )
    return csv_file(f"{here.account.slug}-{_('额度账本')}-{month}", header, rows)


@page("/ledger/people", "ledger.read")
def ledger_people(here: Here) -> str | Response:
    """Followers by how many slots they have left, with what took the others."""
    month = asked_month(here)
    with db.reading(here.rt.engine) as session:
        charging = slot_people.charging(session, here.account.id, month)
        months = slot_story.months(session, here.account.id, here.now)
        filters = [
            Filter("month", _("月份"), [(one, one) for one in sorted({*months, month})[::-1]]),
            Filter(
                "left",
                _("剩余"),
                [
                    (str(number), _("剩 %(left)s 条", left=number))
                    for number in range(PER_FOLLOWER_AND_MONTH, -1, -1)
                ],
            ),
            Filter("campaign", _("用在哪个活动"), [(str(one), name) for one, name in charging]),
        ]
        wanted = asked(request.args, COLUMNS, filters)
        narrowed = _wanted(wanted)
        if wanted.format == "csv":
            return _as_csv(here, month, narrowed)
        after = whole(wanted.after) or 0
        rows = slot_people.people(
            session, here.account.id, month, narrowed, after=after, limit=PAGE_SIZE + 1
        )
        if narrowed.query or narrowed.campaign_id is not None:
            total = slot_people.count(session, here.account.id, month, narrowed)
        else:
            people = ledger.histogram(session, here.account.id, month)
            total = sum(people.values()) if narrowed.left is None else people[narrowed.left]
    listing = Listing(
        wanted,
        COLUMNS,
        filters,
        rows[:PAGE_SIZE],
        total,
        more=str(rows[PAGE_SIZE - 1].id) if len(rows) > PAGE_SIZE else None,
        unit=_("人"),
    )
    return render_template("ledger/people.html", listing=listing, month=month)


def asked_month(here: Here) -> str:
    """The month in the address; the present one without.

    Raises:
        Invalid: it is no month.
    """
    given = request.values.get("month", "").strip()
    if not given:
        return month_of(here.now)
    if not re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", given):
        raise Invalid("month", "must be written as 2026-11")
    return given


def taker_name(taker: Taker | None) -> str:
    """What took slots, in words."""
    if taker is None:
        return str(_("月初"))
    if taker.campaign_id is not None:
        return taker.name
    where = taker.name or str(AUDIENCES[taker.audience])
    return str(_("站外群发：%(where)s", where=where))


def bar(people: dict[int, int]) -> list[dict[str, object]]:
    """The histogram as bars, most slots first; ``wide`` is in percent of the largest."""
    largest, everybody = max(people.values()) or 1, sum(people.values()) or 1
    return [
        {
            "left": left,
            "people": count,
            "wide": f"{100 * count / largest:.2f}",
            "share": f"{100 * count / everybody:.1f}",
        }
        for left, count in sorted(people.items(), reverse=True)
    ]


def _story(
    here: Here, session: db.Session, month: str
) -> Sequence[tuple[Taker | None, Mapping[int, int]]]:
    listed = slot_story.takers(session, here.account.id, month)
    return slot_story.changes(session, here.account.id, listed)


def _wanted(wanted: Asked) -> Wanted:
    left, campaign = wanted.has("left"), wanted.has("campaign")
    return Wanted(int(left) if left else None, wanted.q, int(campaign) if campaign else None)


def _as_csv(here: Here, month: str, wanted: Wanted) -> Response:
    header = [_("粉丝"), _("备注"), _("剩余"), _("已发"), _("预留"), _("其中站外"), _("用在哪里")]

    def rows() -> Iterable[Sequence[object]]:
        with db.reading(here.rt.engine) as session:
            for person in slot_people.walk(session, here.account.id, month, wanted):
                yield (
                    here.open_id(person.open_id),
                    person.remark,
                    person.left,
                    person.spent,
                    person.reserved,
                    person.external,
                    took(person),
                )

    return csv_file(f"{here.account.slug}-{_('剩余名额')}-{month}", header, rows())


def took(person: Person) -> list[str]:
    """What took a follower's slots, in words."""
    return [
        name
        if campaign_id is not None
        else str(_("站外群发：%(where)s", where=name or _("全部关注者")))
        for name, campaign_id in person.took
    ]


def month_url(endpoint: str, month: str, here: Here) -> str:
    """A page of the ledger for a month; the present one is not written into the address."""
    return url_for(f"console.{endpoint}", month=None if month == month_of(here.now) else month)
