"""Dividing a month's slots 预算分配: which campaigns want them, who gets which, and putting that in force."""

from typing import Any

from flask import Response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as Answer

from bot import db, jobs
from bot.campaigns import allocation, calendar, month_values
from bot.campaigns.allocation import DIVIDE, Divided
from bot.campaigns.month_values import Choice, Settings
from bot.clock import month_of, next_month
from bot.console.access import Here, confirm, done, go, missing, page
from bot.console.ledger import asked_month
from bot.console.lists import csv_file, whole
from bot.console.telling import told
from bot.errors import Invalid, Refused
from bot.overview import numbers

AT_ONCE = 50_000  # followers: more are divided by a job
SHOWN = 10  # divisions of a page
RATE_OF = {
    "groups": _l("各组预期"),
    "similar": _l("相似活动"),
    "past": _l("过去的活动"),
    "usual": _l("没有历史，按 5%"),
}
STATUS = {"proposed": _l("未生效"), "in_force": _l("生效中"), "replaced": _l("已替换")}


@page("/allocation", "ledger.read")
def allocation_page(here: Here) -> str | Response:
    """The campaigns of a month with their values, and the divisions made so far."""
    return _page(here, {})


@page("/allocation/propose", "campaigns.write", methods=("POST",))
def allocation_propose(here: Here) -> Answer | str | tuple[str, int]:
    """Divide the month's slots among the chosen campaigns."""
    month = asked_month(here)
    try:
        settings = _settings(month)
        with db.reading(here.rt.engine) as session:
            many = numbers(session, here.account.id, here.now).followers > AT_ONCE
        if many:
            with db.writing(here.rt.engine) as session:
                job_id = jobs.enqueue(
                    session,
                    DIVIDE,
                    {"settings": settings.to_json(), "by": here.operator.name},
                    now=here.now,
                    account_id=here.account.id,
                )
            then = url_for("console.allocation_page", month=month)
            return go(url_for("console.progress", job_id=job_id, then=then))
        made = allocation.propose(
            here.rt.engine, here.account.id, settings, here.now, by=here.operator.name
        )
    except Invalid as problem:
        return _page(here, {problem.field: told(problem.message)}), 422
    except Refused as refusal:
        return _page(here, {"": told(str(refusal))}), 422
    return go(url_for("console.allocation_result", allocation_id=made))


@page("/allocation/<int:allocation_id>", "ledger.read")
def allocation_result(here: Here, allocation_id: int) -> str | Response:
    """One division: who gets what, against sending to all, and who goes without."""
    with db.reading(here.rt.engine) as session:
        found = _found(here, session, allocation_id)
        if request.args.get("format") == "csv":
            people = allocation.people(session, here.account.id, found.id)
            rows = [
                (here.open_id(open_id), remark, line["name"])
                for line in found.figures["campaigns"]
                for _who, open_id, remark in calendar.names(
                    session, here.account.id, people[line["campaign_id"]]
                )
            ]
            return csv_file(
                f"{here.account.slug}-{_('预算分配')}-{found.month}",
                [_("粉丝"), _("备注"), _("活动")],
                rows,
            )
    figures = found.figures
    return render_template(
        "allocation/result.html",
        found=found,
        figures=figures,
        habit=figures["habit"],
        status=STATUS[found.status],
        gap=max(0.0, figures["bound"] - figures["total"]),
        over=found.month < month_of(here.now),
    )


@page("/allocation/<int:allocation_id>/enforce", "campaigns.write", methods=("GET", "POST"))
def allocation_enforce(here: Here, allocation_id: int) -> Answer | str:
    """Keep the places of a division: asks first."""
    with db.writing(here.rt.engine) as session:
        found = _found(here, session, allocation_id)
        if request.method == "GET":
            return _ask(found)
        allocation.put_in_force(session, here.account.id, found.id, here.now)
        here.audit(
            session,
            "allocation.enforce",
            f"allocation:{found.id}",
            after={"month": found.month, "count": found.figures["slots"]},
        )
    text = _("%(month)s 的分配已生效。", month=found.month)
    return done(text, "allocation_result", allocation_id=found.id)


@page("/allocation/<int:allocation_id>/lift", "campaigns.write", methods=("GET", "POST"))
def allocation_lift(here: Here, allocation_id: int) -> Answer | str:
    """Take a division back: slots go to who comes first again."""
    with db.writing(here.rt.engine) as session:
        found = _found(here, session, allocation_id)
        if request.method == "GET":
            return confirm(
                _("撤销 %(month)s 的分配", month=found.month),
                [
                    _(
                        "%(count)s 个保留的名额放开，回到先到先得；已经发出的不变。",
                        count=f"{found.figures['slots']:,}",
                    )
                ],
                action=url_for("console.allocation_lift", allocation_id=found.id),
                button=_("撤销分配"),
                back=url_for("console.allocation_result", allocation_id=found.id),
            )
        allocation.lift(session, here.account.id, found.id)
        here.audit(session, "allocation.lift", f"allocation:{found.id}")
    return done(_("分配已撤销。"), "allocation_result", allocation_id=found.id)


def _ask(found: Divided) -> str:
    return confirm(
        _("让 %(month)s 的分配生效", month=found.month),
        [
            _(
                "%(slots)s 个名额按方案保留给 %(count)s 个活动，别的活动不能占用。",
                slots=f"{found.figures['slots']:,}",
                count=len(found.figures["campaigns"]),
            ),
            _("这个月原来生效的分配会被替换。活动的人群和时间不变，草稿仍要排期和审批。"),
        ],
        action=url_for("console.allocation_enforce", allocation_id=found.id),
        button=_("生效"),
        back=url_for("console.allocation_result", allocation_id=found.id),
    )


def _page(here: Here, errors: dict[str, str]) -> str:
    month, after = asked_month(here), request.args.get("after", "")
    with db.reading(here.rt.engine) as session:
        offers = allocation.offers(session, here.account, month, here.now)
        made = allocation.page(
            session, here.account.id, month, limit=SHOWN + 1, before=whole(after)
        )
        risk = month_values.measured_risk(session, here.account.id)
    present = month_of(here.now)
    return render_template(
        "allocation/month.html",
        month=month,
        months=sorted({present, next_month(present), month}),
        offers=offers,
        made=made[:SHOWN],
        after=after,
        more=made[SHOWN - 1].id if len(made) > SHOWN else None,
        risk=risk,
        worth=month_values.FOLLOWER_WORTH,
        typed=request.form,
        errors=errors,
        rate_of=RATE_OF,
        statuses=STATUS,
    )


def _found(here: Here, session: db.Session, allocation_id: int) -> Divided:
    found = (
        allocation.find(session, here.account.id, allocation_id) if allocation_id < 2**63 else None
    )
    if found is None:
        missing()
    return found


def _settings(month: str) -> Settings:
    chosen = [one for one in (whole(given) for given in request.form.getlist("campaign")) if one]
    choices = []
    for one in dict.fromkeys(chosen):
        rate = _number(f"rate_{one}", 0, 100)
        most, least = _number(f"most_{one}", 0, 10**8), _number(f"least_{one}", 0, 10**8)
        click = _number(f"click_{one}", 0, 10**6)
        choices.append(
            Choice(
                one,
                rate=None if rate is None else rate / 100,
                click=1.0 if click is None else click,
                least=int(least or 0),
                most=None if most is None else int(most),
                kind=request.form.get(f"kind_{one}", "").strip()[:40],
            )
        )
    risk, worth = _number("risk", 0, 100), _number("worth", 0, 10**6)
    return Settings(
        month,
        tuple(choices),
        follower_worth=month_values.FOLLOWER_WORTH if worth is None else worth,
        risk=None if risk is None else risk / 100,
        gap_days=int(_number("gap", 0, 31) or 0),
        per_kind=int(_number("per_kind", 0, 4) or 0),
    )


def _number(name: str, least: float, most: float) -> float | None:
    given: Any = request.form.get(name, "").replace(",", "").strip()
    if not given:
        return None
    try:
        found = float(given)
    except ValueError:
        found = -1.0
    if not least <= found <= most:
        raise Invalid(name, f"must be a number from {least} to {most}")
    return found
