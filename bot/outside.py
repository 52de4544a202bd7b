"""Posts to addresses that operators typed. Never to this machine or its network, never where a redirect leads.

The name is resolved once, each address it has is checked, and the connection is made to a checked one: a
name that changes its mind in between changes nothing.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from bot.errors import Invalid

SECONDS = 10.0  # for the whole exchange, however slowly the other side speaks
URL_CHARACTERS = 2000
# a name may lead to any port that is no system service but the web's own
WEB_PORTS = {80, 443}
FIRST_FREE_PORT = 1024
# IPv6 that carries IPv4: what counts is the address inside. RFC 6052, 3056
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PROTOCOLS = ipaddress.ip_network("192.0.0.0/24")  # RFC 6890: some of it counts as global
_6TO4 = ipaddress.ip_network("2002::/16")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], list[str]]


@dataclass(frozen=True, slots=True)
class Posted:
    """What came of it: the HTTP status, or why there is none."""

    status: int | None
    error: str | None = None


def check_url(url: str, *, private: bool = False) -> SplitResult:
    """An address that may be posted to, as far as its text shows.

    ``private``: also on this machine or its network, for accounts that live on the sandbox.

    Raises:
        Invalid: it is not one.
    """
    if len(url) > URL_CHARACTERS or not all("!" <= letter <= "~" for letter in url):
        raise Invalid("url", "must be an address of visible ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise Invalid("url", "is not an address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Invalid("url", "must begin with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise Invalid("url", "must not hold a user name or password")
    if private:
        return parts
    if port not in WEB_PORTS and port < FIRST_FREE_PORT:
        raise Invalid("url", "this port is a system service")
    with contextlib.suppress(ValueError):
        if not allowed(ipaddress.ip_address(parts.hostname)):
            raise Invalid("url", "leads to this machine or its network")
    if parts.hostname == "localhost" or parts.hostname.endswith(".localhost"):
        raise Invalid("url", "leads to this machine or its network")
    return parts


def allowed(address: Address) -> bool:
    """Whether an address is out on the Internet."""
    if isinstance(address, ipaddress.IPv6Address):
        inside = _inside(address)
        if inside is not None:
            return allowed(inside)
        if address.is_site_local:  # fec0::/10, long out of use, and still some networks' own
            return False
    if address in _PROTOCOLS:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _inside(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _6TO4:
        return address.sixtofour
    return address.teredo[1] if address.teredo is not None else None


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    private: bool = False,
    names: Resolve = resolve,
    seconds: float = SECONDS,
) -> Posted:
    """Post once. Whatever goes wrong is told in ``error``, in words that hold nothing of the answer.

    1. Check the address and every address its name has.
    2. Connect to the first of them, with the name for TLS.
    3. Read the status; the body of the answer is nobody's business.
    """
    try:
        parts = check_url(url, private=private)
    except Invalid as problem:
        return Posted(None, problem.message)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = names(host, port)
    except (OSError, UnicodeError):
        return Posted(None, "the name is not known")
    if not found:
        return Posted(None, "the name is not known")
    if not private and not all(
        allowed(ipaddress.ip_address(one.partition("%")[0])) for one in found
    ):
        return Posted(None, "leads to this machine or its network")
    try:
        with _connection(parts.scheme, host, port, found[0], seconds) as connection:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", path, body, dict(headers))
            return Posted(connection.getresponse().status)
    except TimeoutError:
        return Posted(None, f"no answer within {seconds:g} seconds")
    except ssl.SSLError as problem:
        return Posted(None, f"TLS: {problem.reason or type(problem).__name__}")
    except (OSError, http.client.HTTPException, ValueError) as problem:
        return Posted(None, f"no connection: {type(problem).__name__}")


@contextlib.contextmanager
def _connection(
    scheme: str, host: str, port: int, address: str, seconds: float
) -> Iterator[http.client.HTTPConnection]:
    """Open to ``address`` whatever the name says now, and ended after so many seconds."""
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    wire = socket.create_connection((address, port), timeout=seconds)
    late = threading.Event()

    def end() -> None:
        late.set()
        with contextlib.suppress(OSError):
            # of the plain class: TLS would say good-bye first, and wait
            socket.socket.shutdown(wire, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        if scheme == "https":
            context = ssl.create_default_context()
            secured = context.wrap_socket(wire, server_hostname=host, do_handshake_on_connect=False)
            wire = secured
            secured.do_handshake()
        connection.sock = wire
        yield connection
    except (OSError, ValueError, http.client.HTTPException):
        if late.is_set():
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()
        connection.close()
        wire.close()
