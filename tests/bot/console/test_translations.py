"""Everything an operator reads can be read in English: each Chinese sentence is marked, and has its English one."""

import ast
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
import sqlalchemy as sa
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from flask.testing import FlaskClient
from jinja2 import Environment

import bot.console
from bot import db
from bot.accounts import Account
from tests.bot.console.everything import one_of_everything
from tests.bot.console.test_roles import (
    account,  # noqa: F401 - a fixture: on a sandbox where nobody listens
    address,
    rules_of,
)

CONSOLE = Path(bot.console.__file__).parent
CATALOGUE = CONSOLE / "translations/en/LC_MESSAGES/messages.po"
METHODS = [("**.py", "python"), ("**/templates/**.html", "jinja2")]
KEYWORDS = {"_": None, "_l": None, "gettext": None, "lazy_gettext": None, "ngettext": (1, 2)}
MARKS = ("_", "_l", "gettext", "lazy_gettext", "ngettext")
MARKS_OF_CHINESE = "，。：、（）「」；！？［］【】《》"
CHINESE = re.compile(rf"[{MARKS_OF_CHINESE}\u3400-\u9fff]")
HOLE = re.compile(r"%\((\w+)\)([sd])")
# words of both languages: the switch between them; a follower's own words an operator starts from
# Chinese that is meant in both languages, by file
MEANT = {
    "look.py": {"中文"},
    "follower_page.py": {"删除"},  # what is typed to confirm
    "form_reading.py": {"是", "否"},  # what may be typed
    # what parts names that are typed, or stand in a file that can be read in again
    "accounts.py": {"，"},
    "lists.py": {"、"},
    "notices.py": {"，", "、"},
    "unmatched.py": {"、"},
    "webhooks.py": {"，"},
    "wizard_forms.py": {"，", "、"},
    # headings of a file that can be read in again
    "followers.py": {
        *("备注", "标签", "状态", "首次来源", "最近扫码", "关注时间", "取关时间"),
        *("最后互动", "消息数", "退订", "可下发"),
    },
}
# words an English sentence quotes: what followers send, columns of files, samples of placeholders
KEPT = re.compile(
    "、 \\(the Chinese comma\\)|中文|订阅|备注|标签|字段|名称|场景值|分组|回复|成本|称呼|您|我想要|券|昵称|你好"
)
BRAND = "Qunfen 群分"


@pytest.fixture(scope="module")
def catalogue() -> Catalog:
    with CATALOGUE.open("rb") as file:
        return read_po(file, locale="en")


@pytest.fixture(scope="module")
def sentences() -> dict[str, str]:
    """Every marked sentence and where it stands."""
    found = extract_from_dir(
        CONSOLE, METHODS, {"**/templates/**.html": {"trimmed": "true"}}, keywords=KEYWORDS
    )
    listed = {}
    for file, line, message, _comments, _context in found:
        for one in message if isinstance(message, tuple) else (message,):
            listed.setdefault(one, f"{file}:{line}")
    return listed


def test_every_sentence_of_the_console_has_an_english_one(
    catalogue: Catalog, sentences: dict[str, str]
) -> None:
    missing = [
        f"{place}: {one}" for one, place in sentences.items() if not _english(catalogue, one)
    ]
    assert missing == [], "`make translations` adds them to messages.po: fill them in"


def test_no_english_sentence_is_left_without_its_chinese(
    catalogue: Catalog, sentences: dict[str, str]
) -> None:
    assert [message.id for message in _messages(catalogue) if message.id not in sentences] == []


def test_translations_keep_their_placeholders_and_are_english(catalogue: Catalog) -> None:
    for message in _messages(catalogue):
        chinese, english = str(message.id), str(message.string)
        assert not message.fuzzy, chinese
        assert set(HOLE.findall(english)) == set(HOLE.findall(chinese)), chinese
        assert not CHINESE.search(KEPT.sub("", english)), english


def test_no_chinese_stands_unmarked_in_a_template() -> None:
    unmarked = [
        f"{path.relative_to(CONSOLE)}:{line}: {text}"
        for path in sorted(CONSOLE.glob("templates/**/*.html"))
        for line, text in _unmarked_in_template(path.read_text(encoding="utf-8"))
    ]
    assert unmarked == [], "write {{ _('…') }}"


def test_no_chinese_stands_unmarked_in_the_code_of_the_console() -> None:
    unmarked = [
        f"{path.relative_to(CONSOLE)}:{line}: {text}"
        for path in sorted(CONSOLE.glob("**/*.py"))
        for line, text in _unmarked_in_code(path.read_text(encoding="utf-8"))
        if text not in MEANT.get(path.name, ())
    ]
    assert unmarked == [], "write _('…'), or _l('…') outside a request"


def test_a_page_speaks_the_language_that_was_chosen(client: FlaskClient) -> None:
    assert "登录" in client.get("/console/login").get_data(as_text=True)
    client.set_cookie("lang", "en", path="/console")
    english = client.get("/console/login").get_data(as_text=True)
    assert 'lang="en"' in english


@pytest.mark.sqlite
def test_no_english_page_has_chinese_punctuation(
    as_role: Callable[..., FlaskClient],
    engine: sa.Engine,
    account: Account,  # noqa: F811
    now: datetime,
) -> None:
    with db.writing(engine) as session:
        one_of_everything(session, account.id, now)
    client = as_role("admin")
    client.set_cookie("lang", "en", path="/console")
    wrong, seen = set(), 0
    for path in _english_addresses(client, account.slug):
        answer = client.get(path)
        if answer.status_code != 200 or answer.mimetype != "text/html":
            continue
        seen += 1
        for text in _Read.texts(answer.get_data(as_text=True)):
            for theirs in WRITTEN:
                text = text.replace(theirs, "")
            if re.search(f"[{MARKS_OF_CHINESE}]", text):
                wrong.add((path, " ".join(text.split())))
    assert seen > 100
    assert wrong == set()


# what people of the account wrote, and segments in a sentence, which are Chinese in both languages
WRITTEN = ("请你喝奶茶：", "群发：", "有标签「B」", "separated by 、 (the Chinese comma)")
TABS = ("people", "waves", "experiment", "funnel", "log")


def _english_addresses(client: FlaskClient, slug: str) -> Iterator[str]:
    for rule in rules_of(client.application):
        if "GET" not in (rule.methods or ()):
            continue
        found = address(rule, slug)
        yield found
        if rule.endpoint == "console.campaign":
            yield from (f"{found}?tab={tab}" for tab in TABS)
        if rule.endpoint == "console.plan_step":
            yield from (f"{found[:-1]}{step}" for step in range(2, 6))


class _Read(HTMLParser):
    """What is read on a page, beside scripts and what is marked as Chinese."""

    @classmethod
    def texts(cls, html: str) -> list[str]:
        parser = cls()
        parser.feed(html)
        return parser.found

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._hidden: list[str] = []  # open elements, the outermost is the one that hides

    def handle_starttag(self, tag: str, given: list[tuple[str, str | None]]) -> None:
        named = dict(given)
        if self._hidden or tag in ("script", "style") or named.get("lang") == "zh-CN":
            if tag not in VOID:
                self._hidden.append(tag)
            return
        self.found += [named[name] or "" for name in SPOKEN if name in named]

    def handle_endtag(self, tag: str) -> None:
        if self._hidden and tag == self._hidden[-1]:
            self._hidden.pop()

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.found.append(data)


VOID = {"br", "img", "input", "hr", "meta", "link", "path", "use"}
SPOKEN = ("title", "alt", "placeholder", "aria-label", "data-label")


def _messages(catalogue: Catalog) -> Iterator[Message]:
    return (message for message in catalogue if message.id)


def _english(catalogue: Catalog, sentence: str) -> bool:
    message = catalogue.get(sentence)
    return message is not None and bool(message.string)


def _unmarked_in_template(text: str) -> Iterator[tuple[int, str]]:
    """Chinese in the page's own text, or in a string of an expression that is not given to ``_``."""
    tokens = list(Environment().lex(text))
    depth, marked = 0, 0  # parentheses open; the depth at which a marked call opened
    previous = ""
    for line, kind, value in tokens:
        if kind == "whitespace":
            continue
        if kind == "operator" and value == "(":
            depth += 1
            if previous in MARKS and not marked:
                marked = depth
        elif kind == "operator" and value == ")":
            if marked == depth:
                marked = 0
            depth -= 1
        elif kind == "data" or (
            kind == "string" and not (marked and _is_sentence(value, previous))
        ):
            text_ = value.replace(BRAND, "").replace("中文", "").strip("'\"")
            if CHINESE.search(text_):
                yield line, text_.strip()[:60]
        previous = value


def _is_sentence(string: str, previous: str) -> bool:
    """Not a mark that joins values inside a marked call: it has to be given to ``_`` itself."""
    return previous == "(" or string.strip("'\"") not in MARKS_OF_CHINESE


def _unmarked_in_code(text: str) -> Iterator[tuple[int, str]]:
    tree = ast.parse(text)
    marked: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in MARKS:
            marked |= {id(one) for argument in node.args for one in ast.walk(argument)}
        elif isinstance(node, ast.Expr):  # a docstring
            marked.add(id(node.value))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if id(node) not in marked and CHINESE.search(node.value):
            yield node.lineno, node.value[:60]
