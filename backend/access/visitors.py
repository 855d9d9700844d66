"""The demo needs no key on the machine it runs on. Who counts as being on it, and as the demo's own page."""

from dataclasses import replace
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope as AsgiScope

from backend.access.callers import Caller, Scope

VISITOR = Caller(scope=Scope.STOREFRONT, key_id=None, name="demo visitor", rate_limit=0)

OWNER = replace(VISITOR, reads=Scope.ADMIN)
"""The visitor of a demo that has no public address: who sits at the machine may see the setup page without a key."""

_PROXIED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def is_visitor(scope: AsgiScope, headers: Headers) -> bool:
    """Whether this request comes from this machine, straight, and from the demo's page or no page at all.

    The address of the connection alone is not enough: a proxy on this machine forwards strangers, a name that an
    attacker resolves to 127.0.0.1 makes his page "same origin" (DNS rebinding; his name is then in ``Host``), and any
    page in this machine's browser may send requests here (its ``Origin`` or ``Sec-Fetch-Site`` gives it away).
    """
    client = scope.get("client")
    if client is None or not _is_loopback(client[0]) or any(name in headers for name in _PROXIED):
        return False
    host = headers.get("host", "")
    if not _is_loopback(_host_name(host)) or len(headers.getlist("host")) != 1:
        return False
    origin = headers.get("origin")
    if origin is not None and origin != f"{scope['scheme']}://{host}":
        return False
    return headers.get("sec-fetch-site", "none") in ("none", "same-origin")


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
