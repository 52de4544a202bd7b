"""Addresses that the platform blocks, that show where nobody can see, or that pretend to be another's.

Short-link hosts and the places that need no https stand in packs/unsafe_link.toml.
"""

import ipaddress
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from bot.checks import Finding
from bot.checks._packs import FOLDER
from bot.checks._texts import addresses

NAME = "unsafe_link"
LABEL = {"zh": "不安全的链接", "en": "Unsafe links"}

_RUNS = ("javascript", "vbscript", "data")


def findings(content: Mapping[str, Any], place: str) -> list[Finding]:
    """At most one finding an address, the worst."""
    found = []
    for where, address, start, end in addresses(content, place):
        key = next(_problems(address), None)
        if key is not None:
            said = _pack()["problems"][key]
            found.append(
                Finding(
                    NAME,
                    said["severity"],
                    where,
                    address,
                    said["why"],
                    said["suggestion"],
                    start,
                    end,
                    _pack()["source"],
                    said["why_en"],
                    said["suggestion_en"],
                )
            )
    return found


@cache
def _pack() -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{NAME}.toml").read_text(encoding="utf-8"))


def _problems(address: str) -> Iterator[str]:
    """Names of what is wrong, worst first."""
    ours = ("{link:", "material:", "#", "/", "data:image/")
    if address.startswith(ours) and not address.startswith("//"):
        return
    scheme = address.partition(":")[0].strip().lower()
    if scheme in _RUNS:
        yield "runs"
        return
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        yield "broken"
        return
    if not host:
        if scheme in ("http", "https"):
            yield "broken"
        return
    if "@" in parts.netloc:
        yield "disguised"
    if _is_number(host):
        yield "number"
    if not host.isascii() or any(label.startswith("xn--") for label in host.split(".")):
        yield "lookalike"
    if _within(host, _pack()["short_hosts"]):
        yield "short"
    if parts.scheme.lower() == "http" and not _within(host, _pack()["plain_hosts"]):
        yield "plain"


def _within(host: str, hosts: list[str]) -> bool:
    return any(host == one or host.endswith(f".{one}") for one in hosts)


def _is_number(host: str) -> bool:
    """An IP address in any way browsers read: four numbers, one number, hexadecimal, IPv6."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        labels = host.rstrip(".").split(".")
        return all(
            label.isdecimal() or (label.startswith("0x") and label[2:].isalnum())
            for label in labels
        )
    return True
