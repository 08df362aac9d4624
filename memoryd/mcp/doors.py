"""Under which names MCP is reached, and from which web pages: what keeps a page in somebody's browser from reaching it.

A page can make its own host name point to 127.0.0.1 (DNS rebinding) and then talk to servers of the reader's machine. It
cannot choose the ``Host`` that the browser sends, nor leave out ``Origin``: so both are checked, before anything else.
"""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

WELL_KNOWN = "/.well-known/oauth-protected-resource"
PATH = "/mcp"


@dataclass(frozen=True, slots=True)
class Doors:
    """``hosts``: names that are answered to besides this machine's own, ``None`` for any. ``origins``: of web pages let in."""

    public_url: str | None
    hosts: frozenset[str] | None
    origins: frozenset[str]

    def knows_host(self, host: str) -> bool:
        """Whether requests with this ``Host`` are answered. An address is: rebinding needs a name."""
        name = _name(host)
        if self.hosts is None:
            return True
        return _own(name) or name in self.hosts or (self.public_url is not None and name == urlsplit(self.public_url).hostname)

    def admits_origin(self, origin: str | None, host: str) -> bool:
        """Whether a page of this ``Origin`` may ask; without one it is no page. Its own server's pages may."""
        if origin is None or origin in self.origins or "*" in self.origins:
            return True
        return urlsplit(origin).netloc.lower() == host.lower() and origin.startswith(("http://", "https://"))

    def resource(self, scheme: str, host: str) -> str:
        """The canonical address of the endpoint: what a token would have to be issued for."""
        return (self.public_url or f"{scheme}://{host}").rstrip("/") + PATH

    def metadata(self, scheme: str, host: str) -> str:
        """Where the endpoint's metadata is (RFC 9728, section 3.1)."""
        return (self.public_url or f"{scheme}://{host}").rstrip("/") + WELL_KNOWN + PATH


def open_doors(*, host: str, public_url: str | None, allowed_hosts: str, allowed_origins: str) -> Doors:
    """From the settings. Listening beyond this machine was a decision: then any name will do, unless some are named."""
    names = frozenset(name.lower() for name in _split(allowed_hosts))
    anybody = "*" in names or (not names and not _own(_name(host)))
    return Doors(public_url, None if anybody else names, frozenset(_split(allowed_origins)))


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _name(host: str) -> str:
    """``host`` without its port and brackets, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return (host if host.count(":") > 1 else host.partition(":")[0]).lower().rstrip(".")


def _own(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return not address.is_unspecified
