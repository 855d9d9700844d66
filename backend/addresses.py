"""Which addresses a stranger may make this server connect to, and taking apart the URLs they give."""

import re
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import quote, urlsplit

from backend.errors import Unprocessable

Resolve = Callable[[str, int], Sequence[str]]
"""(host, port) -> addresses; raises ``socket.gaierror`` where there are none."""

_NOT_PUBLIC_V4 = tuple(
    ip_network(block)
    for block in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
        "168.63.129.16/32",  # Azure's metadata service, on a public number
    )
)
# Of IPv6 only 2000::/3 is public; within it these carry an IPv4 address (Teredo, 6to4) or are documentation. NAT64,
# IPv4-mapped, unique-local (fd00:ec2::254 among them), link-local and multicast addresses lie outside of it.
_PUBLIC_V6 = ip_network("2000::/3")
_NOT_PUBLIC_V6 = tuple(ip_network(block) for block in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
# what an administrator may open; never link-local addresses (metadata services live there), multicast or unspecified
_PRIVATE = tuple(
    ip_network(block)
    for block in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1", "fc00::/7")
)
_METADATA = tuple(ip_network(block) for block in ("100.100.100.200/32", "fd00:ec2::/32"))

LOOKUPS = ThreadPoolExecutor(8, thread_name_prefix="resolve")
"""Where names are looked up: the resolver of the system knows no deadline, its callers here do."""


class NotFetched(Unprocessable):
    """The address could not be fetched; ``permanent`` says whether trying again may help."""

    title = "Address cannot be fetched"
    permanent = False


class FetchRefused(NotFetched):
    """Trying again will not help: the address is not allowed, or what lies there is not acceptable."""

    permanent = True


class FetchFailed(NotFetched):
    """The server did not answer in time or in order; it may later."""


def is_public(address: str) -> bool:
    """Whether ``address`` is one that anybody on the internet could reach."""
    ip = _parsed(address)
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _NOT_PUBLIC_V4)
    return ip in _PUBLIC_V6 and not any(ip in network for network in _NOT_PUBLIC_V6)


def is_private(address: str) -> bool:
    """Whether ``address`` belongs to one's own network, and is no metadata service."""
    ip = _parsed(address)
    return any(ip in network for network in _PRIVATE) and not any(ip in network for network in _METADATA)


def _parsed(address: str) -> IPv4Address | IPv6Address:
    return ip_address(address.partition("%")[0])


def resolve_by_system(host: str, port: int) -> list[str]:
    """Addresses that the system's resolver gives ``host``."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True)
class Target:
    """A URL that was checked, taken apart once."""

    url: str
    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        """Host as HTTP names it: with the port where it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"


def target_of(url: str) -> Target:
    """``url`` taken apart; refused where it is not a plain http or https address."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
        host = host if host.isascii() else host.encode("idna").decode()
    except (ValueError, UnicodeError) as error:
        raise FetchRefused("This is not a URL.", found=shown(url), expected="http://… or https://…") from error
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[a-z0-9._-]{1,253}|[0-9a-f:.]+", host):
        raise FetchRefused("This is not a web address.", found=shown(url), expected="http://… or https://…")
    if parts.username is not None or parts.password is not None:
        raise FetchRefused("The URL carries a user name or password.", found=host, expected="a URL without them")
    port = port if port is not None else (443 if parts.scheme == "https" else 80)
    if port not in (80, 443) and port < 1024:
        raise FetchRefused("This port is not one of a web server.", found=port, expected="80, 443 or 1024 and above")
    path = quote(parts.path or "/", safe="%/:@!$&'()*+,;=~-._") + (f"?{_query(parts.query)}" if parts.query else "")
    return Target(url, parts.scheme, host, port, path)


def _query(query: str) -> str:
    return quote(query, safe="%/:@!$&'()*+,;=~-._?|[]{}^`\"<>\\")


def shown(url: str) -> str:
    """``url`` as it may stand in a report: without what might be a token, and cut."""
    return re.sub(r"//[^/@]*@", "//", url.partition("?")[0])[:200]
