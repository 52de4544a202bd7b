"""What every page shares: navigation, language, light or dark, and the words templates may use."""

from dataclasses import dataclass
from typing import Any

from flask import Flask, g, has_request_context, request, url_for
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup

from bot import clock
from bot.console.access import RIGHT_OF, visible
from bot.console.blueprint import static_address
from bot.console.phone import phone
from bot.console.words import FILTERS
from bot.rights import ROLES, rights_of

LANGUAGES = {"zh": "中文", "en": "English"}
THEMES = {"auto": _l("跟随系统"), "light": _l("浅色"), "dark": _l("深色")}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the navigation. It shows where the operator has the right of its page."""

    endpoint: str
    label: Any
    icon: str


# 首页 · 粉丝 · 标签 · 渠道二维码 · 自动回复 · 规则体检与回放 · 自定义菜单 · 消息管理 · 系统
ACCOUNT_PAGES: tuple[tuple[Any, tuple[Entry, ...]], ...] = (
    ("", (Entry("home", _l("首页"), "house"),)),
    (
        _l("粉丝"),
        (
            Entry("followers_list", _l("粉丝"), "people"),
            Entry("tags_list", _l("标签"), "tags"),
            Entry("segments_list", _l("人群"), "funnel"),
            Entry("scenes_list", _l("渠道二维码"), "qr-code"),
        ),
    ),
    (
        _l("消息"),
        (
            Entry("messages_list", _l("会话"), "chat-dots"),
            Entry("rules_list", _l("自动回复"), "chat-left-text"),
            Entry("rule_check", _l("规则体检"), "shield-check"),
            Entry("dry_runs", _l("试运行"), "play"),
            Entry("unmatched", _l("未匹配消息"), "question-circle"),
            Entry("menu_edit", _l("自定义菜单"), "menu-button-wide"),
            Entry("materials_list", _l("素材库"), "image"),
            Entry("articles_list", _l("文章"), "journal-text"),
            Entry("notices", _l("模板与订阅通知"), "broadcast"),
        ),
    ),
    (
        _l("营销"),
        (
            Entry("campaigns_list", _l("营销活动"), "megaphone"),
            Entry("plans_list", _l("推广方案"), "list-nested"),
            Entry("playbooks_list", _l("策略库"), "journal-text"),
            Entry("campaigns_compare", _l("对比"), "graph-up"),
            Entry("calendar_page", _l("群发日历"), "clock-history"),
            Entry("ledger_page", _l("额度账本"), "layout-three-columns"),
            Entry("allocation_page", _l("预算分配"), "people"),
        ),
    ),
    (
        _l("公众号"),
        (
            Entry("account_settings", _l("公众号设置"), "gear"),
            Entry("quotas_list", _l("接口额度"), "funnel"),
            Entry("jobs_list", _l("后台任务"), "clock-history"),
            Entry("audit_log", _l("审计日志"), "journal-text"),
            Entry("tokens_list", _l("API 密钥"), "key"),
            Entry("webhooks_list", _l("Webhook"), "broadcast"),
        ),
    ),
)
SYSTEM_PAGES = (
    Entry("accounts_list", _l("公众号"), "building"),
    Entry("operators_list", _l("成员与角色"), "person-badge"),
    Entry("system_audit", _l("全部审计日志"), "journal-text"),
    Entry("system_jobs", _l("全部后台任务"), "clock-history"),
)


def language() -> str:
    """``zh`` or ``en``: what the operator chose, else what the browser asks for, else Chinese."""
    if not has_request_context():
        return "zh"
    chosen = request.cookies.get("lang")
    if chosen in LANGUAGES:
        return str(chosen)
    return str(request.accept_languages.best_match(list(LANGUAGES), "zh"))


def theme() -> str:
    """``auto``, ``light`` or ``dark``."""
    chosen = request.cookies.get("theme", "auto")
    return chosen if chosen in THEMES else "auto"


def entries(pages: tuple[Entry, ...]) -> list[Entry]:
    """Those of ``pages`` this operator may open."""
    mine = rights_of(current_user.operator.role)
    found = []
    for entry in pages:
        endpoint = f"console.{entry.endpoint}"
        right = RIGHT_OF.get(endpoint)
        if right is None or right in mine:
            found.append(entry)
    return found


def first_page(slug: str) -> str:
    """Where somebody lands who opens an account: the first page their role may see."""
    for _label, pages in ACCOUNT_PAGES:
        for entry in entries(pages):
            return url_for(f"console.{entry.endpoint}", slug=slug)
    return url_for("console.me")


def register(app: Flask) -> None:
    """Give templates their words, filters and globals."""
    for name, word in FILTERS.items():
        app.add_template_filter(word, name)
    app.add_template_filter(_count, "count")
    app.jinja_env.globals.update(
        csrf=_csrf,
        static=static_address,
        phone_of=phone,
        LANGUAGES=LANGUAGES,
        THEMES=THEMES,
    )
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.context_processor(_page)


def _page() -> dict[str, Any]:
    """``here`` (None beside the accounts), ``operator``, navigation, language and theme of this page."""
    shared: dict[str, Any] = {
        "here": g.get("here"),
        "operator": None,
        "lang": language(),
        "theme": theme(),
        "nav": [],
        "system_nav": [],
        "accounts": [],
        "endpoint": (request.endpoint or "").removeprefix("console."),
    }
    if not current_user or not current_user.is_authenticated:
        return shared
    shared["operator"] = current_user.operator
    shared["role"] = ROLES[current_user.operator.role].label[language()]
    if g.get("no_database"):
        return shared
    shared["accounts"] = [seen.account for seen in visible()]
    shared["system_nav"] = entries(SYSTEM_PAGES)
    if shared["here"] is not None:
        listed = [(label, entries(pages)) for label, pages in ACCOUNT_PAGES]
        shared["nav"] = [(label, found) for label, found in listed if found]
    return shared


def _csrf() -> Markup:
    return Markup('<input type="hidden" name="csrf_token" value="{}">').format(generate_csrf())


def _count(number: float | None) -> str:
    return "—" if number is None else f"{number:,}"


def shanghai(value: Any) -> str:
    """A moment as a form's ``datetime-local`` wants it, on the Shanghai clock."""
    return f"{clock.local(value):%Y-%m-%dT%H:%M}" if value else ""
