"""The HTML of articles: made safe, and its pictures named. Pure.

Of what an operator writes or pastes stays what an article may have; scripts, forms, frames and handlers go.
Pictures of our own are written ``material:<name>`` and get the platform's address when they are told to it.
"""

import re
from collections.abc import Callable, Mapping
from html import escape, unescape
from urllib.parse import urlsplit

import nh3

OURS = "material:"
_TAGS = """a abbr b blockquote br caption cite code col colgroup dd del div dl dt em figcaption figure
h1 h2 h3 h4 h5 h6 hr i img ins li mark ol p pre q s section small span strong sub sup table tbody td tfoot
th thead tr u ul"""
TAGS = frozenset(_TAGS.split())
ATTRIBUTES = {
    "*": {"style"},
    "a": {"href", "title"},
    "img": {"src", "alt", "width", "height"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan"},
    "ol": {"start"},
}
# looks only: nothing that loads, covers or moves
_STYLES = """background-color border border-bottom border-color border-left border-radius border-right
border-style border-top border-width box-shadow box-sizing clear color display float font-family font-size
font-style font-weight height letter-spacing line-height list-style-type margin margin-bottom margin-left
margin-right margin-top max-width min-height opacity padding padding-bottom padding-left padding-right
padding-top text-align text-decoration text-indent vertical-align white-space width word-break"""
STYLES = frozenset(_STYLES.split())
# where the platform keeps pictures that may stand in an article. Source: docs/wechat-limits.md 8 (read 2026-11)
PICTURE_HOSTS = ("mmbiz.qpic.cn", "mmbiz.qlogo.cn")
ARTICLE_HOST = "mp.weixin.qq.com"
_IMAGE = re.compile(r'<img\b[^>]*?\bsrc="([^"]*)"[^>]*>')
_LINK = re.compile(r'<a\b[^>]*?\bhref="([^"]*)"')
_TEXT = re.compile(r"<[^>]*>")


def clean(html: str) -> str:
    """The HTML with only what an article may have; cleaning it again changes nothing."""
    return nh3.clean(
        html,
        tags=set(TAGS),
        attributes=ATTRIBUTES,
        url_schemes={"http", "https", "material"},
        link_rel=None,
        filter_style_properties=set(STYLES),
        strip_comments=True,
    )


def pictures(html: str) -> list[str]:
    """Sources of the pictures of cleaned HTML, in order, each once."""
    return list(dict.fromkeys(unescape(source) for source in _IMAGE.findall(html)))


def materials(html: str) -> list[str]:
    """Names of our own pictures in it."""
    return [source.removeprefix(OURS) for source in pictures(html) if source.startswith(OURS)]


def with_pictures(html: str, address: Callable[[str], str | None]) -> str:
    """The HTML with every picture at ``address(source)``; a picture without one is left out."""

    def moved(found: re.Match[str]) -> str:
        new = address(unescape(found[1]))
        if new is None:
            return ""
        return found[0].replace(f'src="{found[1]}"', f'src="{escape(new)}"', 1)

    return _IMAGE.sub(moved, html)


def with_addresses(html: str, addresses: Mapping[str, str]) -> str:
    """The HTML as the platform gets it: our pictures at the addresses it gave them."""

    def address(source: str) -> str | None:
        if source.startswith(OURS):
            return addresses.get(source.removeprefix(OURS))
        return source if _on(source, PICTURE_HOSTS) else None

    return with_pictures(html, address)


def plain(html: str) -> str:
    """The words of it, for checks and searches."""
    return " ".join(unescape(_TEXT.sub(" ", html)).split())


def warnings(html: str) -> list[str]:
    """What the platform would silently leave out or refuse, as sentences."""
    found = []
    for source in pictures(html):
        if not source.startswith(OURS) and not _on(source, PICTURE_HOSTS):
            found.append(
                f"the picture {source[:80]} is not from the materials: the platform leaves it out"
            )
    for address in _LINK.findall(html):
        if not _on(unescape(address), (ARTICLE_HOST,)):
            found.append(
                f"the link {unescape(address)[:80]} leads outside: an article links to articles only, "
                "use the address of 阅读原文"
            )
    return list(dict.fromkeys(found))


def _on(address: str, hosts: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.hostname in hosts
