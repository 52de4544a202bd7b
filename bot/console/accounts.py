"""Official accounts 公众号: the list, connecting one step by step, its settings, the live check, emergency stop.

Secrets are sealed when they come in and never shown again; what the page itself made is shown once, to be pasted.
"""

import secrets
import string
from typing import Any

import sqlalchemy as sa
from flask import Response, make_response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from pydantic import ValidationError

from bot import account_check, accounts, db, inbox, jobs, operators
from bot.accounts import Account
from bot.as_code.document import AccountPart, LimitsPart, limits_doc, limits_said, secret_problem
from bot.campaigns import external_sends
from bot.campaigns.document import LARGEST_HOLDOUT
from bot.console.access import Here, System, by_htmx, confirm, done, go, page, system_page, visible
from bot.console.channel_words import channel_choices
from bot.console.lists import Column, Filter, Listing, asked, csv_file, whole
from bot.console.telling import told
from bot.errors import Invalid, Refused
from bot.params import duration_text
from bot.tables.accounts import accounts as accounts_table

SECRETS = ("app_secret", "token", "aes_key")
CAP = ("messages", "days", "channel", "message_class")  # the parts of one further cap
EMPTY_CAPS = 2  # rows of the form to type further caps into
MOST_CAPS = 20  # an account has; the account file refuses more
CLASSES = (("marketing", _l("营销消息")), ("service", _l("服务消息")))
SWITCH = (("on", _l("开（建议）")), ("off", _l("关：一次全部发出")))
KINDS = (("service", _l("服务号")), ("subscription", _l("订阅号")))
MODES = (("safe", _l("安全模式")), ("compatible", _l("兼容模式")), ("plain", _l("明文模式")))
LETTERS = string.ascii_letters + string.digits
COLUMNS = (
    Column("name", _l("名称"), sort=True),
    Column("slug", _l("标识"), sort=True),
    Column("kind", _l("类型")),
    Column("app_id", _l("AppID"), shown=False),
    Column("mode", _l("消息加密"), shown=False),
    Column("last_push_at", _l("最近推送"), sort=True),
    Column("state", _l("状态")),
)


@system_page("/accounts", "accounts.add")
def accounts_list(system: System) -> str | Response:
    """Every account of this installation."""
    filters = (Filter("kind", _("类型"), KINDS),)
    wanted = asked(request.args, COLUMNS, filters, sort="slug")
    with db.reading(system.rt.engine) as session:
        pushed = {one.account.id: inbox.last_push_at(session, one.account.id) for one in visible()}
    rows = [
        one.account
        for one in visible()
        if wanted.q.casefold() in f"{one.account.name} {one.account.slug}".casefold()
        and wanted.has("kind") in ("", one.account.kind)
    ]

    def value(one: Account, name: str) -> Any:
        return pushed[one.id] if name == "last_push_at" else getattr(one, name)

    rows.sort(
        key=lambda one: (value(one, wanted.sort) is not None, value(one, wanted.sort)),
        reverse=wanted.down,
    )
    if wanted.format == "csv":
        names = ("name", "slug", "kind", "app_id", "mode", "last_push_at", "stopped")
        return csv_file("accounts", names, [[value(one, key) for key in names] for one in rows])
    listing = Listing(wanted, COLUMNS, filters, rows, len(rows), unit=_("个公众号"))
    return render_template(
        "accounts/list.html", listing=listing, pushed=pushed, kinds=dict(KINDS), modes=dict(MODES)
    )


@system_page("/accounts/new", "accounts.add", methods=("GET", "POST"))
def account_new(system: System) -> Any:
    """Step 1 of 4: which account it is. It is stored here, so the other steps can wait."""
    if request.method == "GET":
        return render_template(
            "accounts/new.html", typed={}, errors={}, kinds=KINDS, active="accounts_list"
        )
    form = request.form
    typed = {
        key: form.get(key, "").strip() for key in ("slug", "name", "kind", "app_id", "original_id")
    }
    errors = _problems({**typed, "verified": form.get("verified") == "1"})
    app_secret = form.get("app_secret", "").strip()
    wrong = secret_problem("app_secret", app_secret)
    if wrong:
        errors["app_secret"] = told(wrong)
    if not typed["name"]:
        errors["name"] = told("Field required")
    if not typed["kind"]:
        errors["kind"] = told("Field required")
    if not typed["app_id"]:
        errors["app_id"] = told("Field required")
    if not errors:
        try:
            with db.writing(system.rt.engine) as session:
                account_id = accounts.add(
                    session,
                    slug=typed["slug"],
                    name=typed["name"],
                    kind=typed["kind"],
                    app_id=typed["app_id"],
                    original_id=typed["original_id"],
                    verified=form.get("verified") == "1",
                    mode="safe",
                    app_secret=app_secret,
                    # what the platform will be told is made or typed in the next step
                    token=_letters(32),
                    aes_key=_letters(43),
                    secret_key=system.rt.secret_key,
                    now=system.now,
                )
                operators.audit(
                    session,
                    "account.add",
                    typed["slug"],
                    operator=system.operator.name,
                    account_id=account_id,
                    after=typed,
                    now=system.now,
                )
        except Refused as problem:
            errors["slug"] = told(str(problem))
        except Invalid as problem:
            errors[problem.field] = told(problem.message)
    if errors:
        shown = {**typed, "verified": form.get("verified") == "1"}
        page_ = render_template(
            "accounts/new.html", typed=shown, errors=errors, kinds=KINDS, active="accounts_list"
        )
        return make_response(page_, 422)
    return done(_("已保存公众号，接着配置服务器。"), ".account_server", slug=typed["slug"])


@page("/setup/server", "account.write", methods=("GET", "POST"))
def account_server(here: Here) -> Any:
    """Step 2: token and AES key, and what to paste into the platform's own page."""
    made: dict[str, str] = {}
    errors: dict[str, str] = {}
    if request.method == "POST":
        if request.form.get("action") == "generate":
            made = {"token": _letters(32), "aes_key": _letters(43)}
            _change(here, made)
        else:
            given, errors = _secrets(("token", "aes_key"))
            mode = request.form.get("mode", here.account.mode)
            if mode not in dict(MODES):
                errors["mode"] = _("没有这种模式")
            if not errors:
                _change(here, {**given, "mode": mode})
                return go(url_for("console.account_opening"))
    shown = render_template(
        "accounts/server.html",
        made=made,
        errors=errors,
        modes=MODES,
        callback=_callback(here),
        active="account_settings",
        step=2,
    )
    return make_response(shown, 422 if errors else 200)


@page("/setup/opening", "account.write", methods=("GET", "POST"))
def account_opening(here: Here) -> Any:
    """Step 3: what was mass-sent this month before; mass messages are locked until this is said."""
    problem = None
    if request.method == "POST":
        given = request.form.get("sent_to_all", "").strip()
        sent = whole(given)
        if sent is not None and sent <= 31:
            try:
                with db.writing(here.rt.engine) as session:
                    external_sends.opening(
                        session,
                        here.account.id,
                        sent,
                        None,
                        here.now,
                        by=here.operator.name,
                    )
                    here.audit(
                        session,
                        "account.opening",
                        here.account.slug,
                        after={"sent_to_all": sent},
                    )
                external_sends.catch_up(here.rt.engine, here.account.id, here.now)
                return go(url_for("console.account_live"))
            except Refused as wrong:
                problem = told(str(wrong))
        else:
            problem = _("请填 0 到 31 的整数")
    shown = render_template(
        "accounts/opening.html",
        problem=problem,
        typed=request.form.get("sent_to_all", ""),
        active="account_settings",
        step=3,
    )
    return make_response(shown, 422 if problem else 200)


@page("/setup/check", "account.write", methods=("GET", "POST"))
def account_live(here: Here) -> Any:
    """Step 4, and whenever somebody wants to know: callback, token, rights, really asked."""
    if request.method == "POST":
        with db.writing(here.rt.engine) as session:
            if not jobs.open_arguments(session, account_check.JOB, here.account.id):
                account_check.begin(session, here.account.id, here.now)
                jobs.enqueue(
                    session,
                    account_check.JOB,
                    {"account_id": here.account.id},
                    now=here.now,
                    account_id=here.account.id,
                )
                here.audit(session, "account.check", here.account.slug)
        return go(url_for("console.account_live"))
    with db.reading(here.rt.engine) as session:
        report = account_check.report(session, here.account.id, here.now)
        pushed = inbox.last_push_at(session, here.account.id)
    shown = {
        "report": report,
        "lines": _lines(report),
        "callback": _callback(here),
        "pushed": pushed,
    }
    if by_htmx():
        return render_template("accounts/_check.html", **shown)
    return render_template("accounts/check.html", active="account_settings", step=4, **shown)


@page("/settings", "account.write", methods=("GET", "POST"))
def account_settings(here: Here) -> Any:
    """Name, limits, mode and secrets of an account."""
    if request.method == "GET":
        return _settings(here, _typed_as_is(here.account))
    typed: dict[str, Any] = {
        key: request.form.get(key, "").strip() for key in _typed_as_is(here.account)
    }
    typed["verified"] = request.form.get("verified") == "1"
    typed["caps"] = [
        {part: request.form.get(f"caps.{number}.{part}", "").strip() for part in CAP}
        for number in range(MOST_CAPS)
    ]
    about = {key: typed[key] for key in ("name", "mode", "verified", "original_id", "brand")}
    errors = _problems({"slug": here.account.slug, **about})
    about["brand"] = about["brand"] or None
    if not typed["name"]:
        errors["name"] = told("Field required")
    if not typed["mode"]:
        errors["mode"] = told("Field required")
    limits, wrong = _limits(typed)
    given, bad_secrets = _secrets(SECRETS)
    errors |= wrong | bad_secrets
    if errors:
        return make_response(_settings(here, typed, errors), 422)
    _change(here, {**about, "limits": limits, **given})
    return done(_("设置已保存，几秒内在每个进程生效。"), ".account_settings")


@page("/settings/<any(stop,go):action>", "account.write", methods=("GET", "POST"))
def account_stop(here: Here, action: str) -> Any:
    """The emergency stop of every send, and its end: both ask first."""
    if request.method == "GET":
        return _ask_stop(here, action)
    reason = request.form.get("reason", "").strip()[:200] or _("在后台停止")
    with db.writing(here.rt.engine) as session:
        if action == "stop":
            accounts.stop(session, here.account.id, reason, here.now)
            here.audit(session, "account.stop", here.account.slug, after={"reason": reason})
        else:
            accounts.go(session, here.account.id)
            here.audit(session, "account.go", here.account.slug)
    message = _("已停止一切主动发送，被动回复照常。") if action == "stop" else _("已恢复发送。")
    return done(message, ".account_settings")


def _ask_stop(here: Here, action: str) -> str:
    with db.reading(here.rt.engine) as session:
        waiting = accounts.waiting_sends(session, here.account.id)
    if action == "stop":
        title, button = _("紧急停止"), _("马上停止发送")
        what = [
            _(
                "「%(name)s」的一切主动发送马上停下：群发、客服消息、定时活动。",
                name=here.account.name,
            ),
            _(
                "发件箱里等着的 %(count)s 条留在原处，恢复后没过期的会继续发。粉丝来消息时的被动回复照常。",
                count=waiting,
            ),
        ]
    else:
        title, button = _("恢复发送"), _("恢复发送")
        what = [
            _("停止原因：%(reason)s", reason=here.account.stopped_reason or "—"),
            _(
                "发件箱里等着的 %(count)s 条会马上继续发，先确认里面没有不该发的内容。",
                count=waiting,
            ),
        ]
    return confirm(
        title,
        what,
        action=url_for("console.account_stop", action=action),
        button=button,
        back=url_for("console.account_settings"),
    )


def _lines(report: account_check.Report | None) -> list[dict[str, Any]]:
    """Each step of the check in words; those still to come too."""
    names = {
        "callback": _("回调地址能验证"),
        "token": _("能取得 access_token"),
        "menu": _("自定义菜单接口"),
        "tags": _("标签接口"),
        "users": _("粉丝接口"),
        "mass": _("群发接口"),
        "material": _("素材接口"),
    }
    found = {one.what: one for one in report.findings} if report is not None else {}
    lines = []
    for step in account_check.STEPS:
        one = found.get(step)
        lines.append(
            {
                "name": names[step],
                "ok": one.ok if one is not None else None,
                "skipped": one is not None and one.code == "skipped",
                "says": _says(one) if one is not None else "",
            }
        )
    return lines


def _says(found: account_check.Finding) -> str:
    known = {
        "granted": _("已开通"),
        "not_granted": _("平台没有给这个权限 (48001)，已记下；开通后再检查一次"),
        "unreachable": _(
            "从这台服务器连不上这个地址，公网域名和反向代理配好了吗？(%(detail)s)",
            detail=found.detail,
        ),
        "no_echo": _("回答了 HTTP %(detail)s，不是验证串", detail=found.detail),
        "skipped": _("取不到 access_token，没有检查"),
    }
    return known.get(found.code) or found.detail or _("可用")


def _callback(here: Here) -> str:
    return f"{here.rt.config.base_url}/callback/{here.account.slug}"


def _problems(values: dict[str, Any]) -> dict[str, str]:
    """Field -> what is wrong with it, by the account file's own rules."""
    try:
        AccountPart.model_validate({key: value for key, value in values.items() if value != ""})
    except ValidationError as error:
        return _beside(error)
    return {}


def _beside(error: ValidationError) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in error.errors(include_url=False, include_input=False):
        found.setdefault(str(item["loc"][0]), told(str(item["msg"])))
    return found


def _secrets(names: tuple[str, ...]) -> tuple[dict[str, str], dict[str, str]]:
    """The secrets that were typed anew, and what is wrong with them; an empty field keeps what is stored."""
    given = {key: request.form.get(key, "").strip() for key in names}
    given = {key: value for key, value in given.items() if value}
    wrong = {key: secret_problem(key, value) for key, value in given.items()}
    return given, {key: told(problem) for key, problem in wrong.items() if problem}


def _limits(typed: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The limits that were typed, as the account file writes them, and what is wrong with them."""
    given: dict[str, Any] = {
        "quiet_hours": typed["quiet_hours"],
        "cap": _cap(typed["cap_messages"], typed["cap_days"]),
        "approve_above": _number(typed["approve_above"]),
        "opt_out": typed["opt_out"].replace("，", " ").replace(",", " ").split(),
        "holdout": _share(typed["holdout"]),
        "caps": [
            {
                **(_cap(one["messages"], one["days"]) or {}),
                **{part: one[part] for part in ("channel", "message_class") if one[part]},
            }
            for one in typed["caps"]
            if any(one.values())
        ],
        "person_cap": _cap(typed["person_messages"], typed["person_days"]),
        "most_people": _number(typed["most_people"]),
        "all_send_hold": typed["all_send_hold"],
        "guard": False if typed["guard"] == "off" else None,
        "guard_every": typed["guard_every"],
    }
    wrong: dict[str, str] = {}
    if isinstance(given["holdout"], str):
        wrong["holdout"] = _("应为 0 到 %(most)s 之间的百分比", most=round(LARGEST_HOLDOUT * 100))
        del given["holdout"]
    try:
        parsed = LimitsPart.model_validate(
            {key: value for key, value in given.items() if value not in (None, "", [])}
        )
    except ValidationError as error:
        return {}, _beside(error) | wrong
    return limits_doc(limits_said(parsed)), wrong


def _cap(messages: str, days: str) -> dict[str, Any] | None:
    """A cap of which something was typed; what is missing is refused beside it."""
    given = {"messages": _number(messages), "days": _number(days)}
    found = {key: value for key, value in given.items() if value is not None}
    return found or None


def _share(text: str) -> float | str | None:
    """A share of the followers from per cent; what is none goes on as it was typed."""
    if not text:
        return None
    try:
        share = round(float(text) / 100, 6)
    except ValueError:
        return text
    return share if 0 <= share <= LARGEST_HOLDOUT else text


def _number(text: str) -> Any:
    """A whole number; what is none goes on as it is, to be refused beside its field."""
    if not text:
        return None
    return int(text[:9]) if text.isascii() and text.isdigit() else text


def _typed_as_is(account: Account) -> dict[str, Any]:
    limits = account.limits
    quiet, person = limits.quiet_hours, limits.person_cap
    return {
        "name": account.name,
        "mode": account.mode,
        "verified": account.verified,
        "original_id": account.original_id,
        "quiet_hours": f"{quiet[0]:%H:%M}-{quiet[1]:%H:%M}" if quiet else "",
        "cap_messages": "" if limits.cap_messages is None else str(limits.cap_messages),
        "cap_days": "" if limits.cap_days is None else str(limits.cap_days),
        "approve_above": str(limits.approve_above),
        "opt_out": " ".join(limits.opt_out),
        "brand": account.brand or "",
        "holdout": f"{limits.holdout * 100:g}" if limits.holdout else "",
        "caps": [
            {
                "messages": str(one.messages),
                "days": str(one.days),
                "channel": one.channel or "",
                "message_class": one.message_class or "",
            }
            for one in limits.caps
        ],
        "person_messages": str(person.messages) if person else "",
        "person_days": str(person.days) if person else "",
        "most_people": "" if limits.most_people is None else str(limits.most_people),
        "all_send_hold": duration_text(int(limits.all_send_hold.total_seconds())),
        "guard": "on" if limits.guard else "off",
        "guard_every": duration_text(int(limits.guard_every.total_seconds())),
    }


def _change(here: Here, values: dict[str, Any]) -> None:
    """Store what changed, with an audit row that tells of secrets only that they are new."""
    with db.writing(here.rt.engine) as session:
        stored = session.execute(
            sa.select(accounts_table).where(accounts_table.c.id == here.account.id)
        ).one()
        changed = {
            key: value
            for key, value in values.items()
            if key in SECRETS or value != getattr(stored, key)
        }
        if not changed:
            return
        accounts.change(session, here.account.id, here.rt.secret_key, changed)
        plain = [key for key in changed if key not in SECRETS]
        after = {key: changed[key] for key in plain}
        after |= {key: "***" for key in changed if key in SECRETS}
        here.audit(
            session,
            "account.change",
            here.account.slug,
            before={key: getattr(stored, key) for key in plain},
            after=after,
        )


def _settings(here: Here, typed: dict[str, Any], errors: dict[str, str] | None = None) -> str:
    filled = [one for one in typed["caps"] if any(one.values())]
    empty = min(EMPTY_CAPS, MOST_CAPS - len(filled))
    sisters = [
        one.account.name
        for one in visible()
        if one.account.brand == here.account.brand and one.account.id != here.account.id
    ]
    return render_template(
        "accounts/settings.html",
        typed=typed,
        errors=errors or {},
        modes=MODES,
        kinds=dict(KINDS),
        callback=_callback(here),
        caps=filled + [dict.fromkeys(CAP, "")] * empty,
        channels=channel_choices(),
        classes=CLASSES,
        switch=SWITCH,
        sisters=sisters if here.account.brand else [],
    )


def _letters(count: int) -> str:
    return "".join(secrets.choice(LETTERS) for _number in range(count))
