"""A persona's browser inside WeChat: opens a link of the product and its redirects, and nothing elsewhere."""

from collections.abc import Callable
from urllib.parse import urlencode, urljoin, urlsplit

import requests

MAX_REDIRECTS = 6
TIMEOUT_SECONDS = 5
# enough for a product that looks for WeChat's own browser
USER_AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) MicroMessenger/8.0.50 sandbox"
AUTHORIZE = "/connect/oauth2/authorize"
Open = Callable[[str, str], str]


def opener(http: Callable[[], requests.Session], own_hosts: Callable[[], set[str]]) -> Open:
    """A function ``(url, open_id) -> the address reached``. Only hosts of ``own_hosts`` (name:port) are
    asked; a redirect to any other is where the visit ends, so that nothing leaves the machine."""

    def open_link(url: str, open_id: str) -> str:
        """Raises: OSError: the product does not answer."""
        with http() as browser:
            browser.headers["User-Agent"] = USER_AGENT
            for _ in range(MAX_REDIRECTS):
                parts = urlsplit(url)
                if parts.netloc not in own_hosts():
                    return url
                if parts.path == AUTHORIZE:
                    persona = urlencode({"persona": open_id})
                    url = parts._replace(query=f"{parts.query}&{persona}", fragment="").geturl()
                answer = browser.get(url, allow_redirects=False, timeout=TIMEOUT_SECONDS)
                if not answer.is_redirect:
                    return url
                url = urljoin(url, answer.headers["Location"])
        return url

    return open_link
