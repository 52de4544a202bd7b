"""Bodies of pushes to plain mappings: XML by expat with everything dangerous off, or the platform's JSON format."""

import json
import re
from typing import Any
from xml.parsers import expat

from bot.errors import BadPush

# the deepest documented push has 5 levels, the largest (8 articles checked for originality) about 100 elements
MAX_DEPTH = 10
MAX_ELEMENTS = 1000
# XML 1.0 cannot say these; JSON can smuggle them in, and databases choke on some
NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def parse_body(body: bytes) -> dict[str, Any]:
    """The elements of a push: text, a mapping where nested, a list where repeated (``item``: always a list).

    Source: docs/wechat-limits.md 1 (the console offers XML and JSON; JSON keys equal the XML names), 2.

    Raises:
        BadPush: ``bad_xml``, whatever is wrong with it.
    """
    if body.lstrip()[:1] == b"{":
        return parse_json(body)
    flat = parse_flat(body)
    return parse_xml(body) if flat is None else flat


# one element with text and nothing that needs thinking: no attribute, entity, nesting or "]" in the text
_ELEMENT = re.compile(
    r"[ \t\n]*<([A-Za-z][A-Za-z0-9_]*)>(?:<!\[CDATA\[([^\]]*)\]\]>|([^<>&\]]*))</\1>"
).match
# the outside of an encrypted push, whose two texts have alphabets of their own
_ENVELOPE = re.compile(
    rb"<xml>[ \t\r\n]*<ToUserName><!\[CDATA\[([A-Za-z0-9_-]*)\]\]></ToUserName>[ \t\r\n]*"
    rb"<Encrypt><!\[CDATA\[([A-Za-z0-9+/=]+)\]\]></Encrypt>[ \t\r\n]*</xml>[ \t\r\n]*"
).fullmatch


def parse_flat(body: bytes) -> dict[str, Any] | None:
    """What ``parse_xml`` gives, at a fraction of its cost, for the flat bodies that nearly all pushes have.

    None for everything it is not sure of; a test compares the two.
    """
    envelope = _ENVELOPE(body)
    if envelope is not None:
        to, sealed = envelope.groups()
        return {"ToUserName": to.decode(), "Encrypt": sealed.decode()}
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    # printable text, cheap to ask for, has neither forbidden characters nor carriage returns
    if not text.startswith("<xml>") or (
        not text.isprintable() and ("\r" in text or NOT_XML.search(text))
    ):
        return None
    fields: dict[str, Any] = {}
    place = 5
    # one element after the other and no searching ahead, so the cost stays linear
    while found := _ELEMENT(text, place):
        name, section, plain = found.groups()
        if name in fields or name == "item":
            return None
        fields[name] = plain if section is None else section
        place = found.end()
    ended = text[place:].strip(" \t\n") == "</xml>"
    return fields if ended and fields and len(fields) < MAX_ELEMENTS else None


def parse_xml(body: bytes) -> dict[str, Any]:
    """Parse ``<xml>…</xml>`` in UTF-8. No DTD, no entities of its own, bounded depth and number of elements.

    Raises:
        BadPush: ``bad_xml``.
    """
    # one entry per open element: its children, None until there is one
    open_elements: list[dict[str, Any] | None] = []
    count = 0
    text = ""
    root: dict[str, Any] | str = ""

    def start(name: str, _attributes: dict[str, str]) -> None:
        nonlocal count, text
        count += 1
        depth = len(open_elements)
        if count > MAX_ELEMENTS or depth >= MAX_DEPTH or (depth == 0 and name != "xml"):
            raise BadPush("bad_xml")
        open_elements.append(None)
        text = ""

    def end(name: str) -> None:
        nonlocal root, text
        children = open_elements.pop()
        value: Any = text if children is None else children
        text = ""
        if not open_elements:
            root = value
            return
        siblings = open_elements[-1]
        if siblings is None:
            open_elements[-1] = {name: [value] if name == "item" else value}
        elif name not in siblings:
            siblings[name] = [value] if name == "item" else value
        elif isinstance(siblings[name], list):
            siblings[name].append(value)
        else:
            siblings[name] = [siblings[name], value]

    def characters(data: str) -> None:
        nonlocal text
        text += data

    # the encoding is given, so a declaration inside cannot choose another
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError):
        # ValueError: a declared encoding Python does not know
        raise BadPush("bad_xml") from None
    if isinstance(root, dict):
        return root
    if root.strip():
        raise BadPush("bad_xml")
    return {}


def _refuse(*_details: Any) -> None:
    raise BadPush("bad_xml")


def parse_json(body: bytes) -> dict[str, Any]:
    """Parse the JSON format into what the XML of the same push would give: numbers become text.

    Raises:
        BadPush: ``bad_xml``.
    """
    try:
        # numbers as they are written: ids have 64 bits
        value = json.loads(
            body, parse_int=str, parse_float=str, parse_constant=_refuse, strict=False
        )
    except (ValueError, RecursionError):
        raise BadPush("bad_xml") from None
    if not isinstance(value, dict):
        raise BadPush("bad_xml")
    plain: dict[str, Any] = _plain(value, MAX_DEPTH)
    return plain


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return NOT_XML.sub("", value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if depth == 0:
        raise BadPush("bad_xml")
    if isinstance(value, list):
        return [_plain(item, depth - 1) for item in value]
    return {NOT_XML.sub("", key): _plain(item, depth - 1) for key, item in value.items()}
