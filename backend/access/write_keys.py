"""Keys where analytics SDKs and beacons put them: as a user name, in the address, or in the body.

Only at the doors that take events: everywhere else a key stands in ``Authorization: Bearer``.
"""

import base64
import binascii
import re

from starlette.datastructures import Headers, QueryParams
from starlette.types import Message, Receive, Scope

from backend.access.callers import Scope as KeyScope

BEACONS = frozenset({"/v1/events", "/beacon/v1/batch"})
"""Where a key may stand in the address, as ``?key=`` or ``?writeKey=``: ``navigator.sendBeacon`` sets no headers."""

_CALLS = ("track", "batch", "import", "identify", "page", "screen", "group", "alias", "t", "b", "i", "p", "s", "g", "a")
TRACKING = frozenset({f"/v1/{call}" for call in _CALLS} | {"/beacon/v1/batch"})
"""Doors for the SDKs of Segment and RudderStack."""

BODY_BYTES_MAX = 512 * 2**10

# a quotation mark within a text of JSON has a backslash before it: this finds no key that a shopper typed
_WRITE_KEY = re.compile(rb'(?<!\\)"writeKey"\s*:\s*"(mk_[a-z]{3}_[A-Za-z0-9_-]{1,200})"')


def basic_user(headers: Headers) -> str | None:
    """The user name of HTTP Basic (RFC 7617), which is the write key; None where there is none."""
    scheme, _, said = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(said.strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def in_address(scope: Scope) -> str | None:
    """The key in the query string: a storefront key, which pages show anyway. Others must not end up in logs."""
    said = QueryParams(scope["query_string"])
    shown = said.get("key", said.get("writeKey"))
    return shown if shown is None or shown.startswith(f"mk_{KeyScope.STOREFRONT.prefix}_") else ""


async def in_body(receive: Receive) -> tuple[str | None, Receive]:
    """The ``writeKey`` of a JSON body, where Segment's page script puts it, and the body to be read once more.

    At most ``BODY_BYTES_MAX`` are read ahead: what is longer is refused anyway.
    """
    read: list[Message] = []
    body = b""
    while len(body) <= BODY_BYTES_MAX:
        message = await receive()
        read.append(message)
        body += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body", False):
            break
    found = _WRITE_KEY.search(body)
    waiting = iter(read)

    async def again() -> Message:
        return next(waiting, None) or await receive()

    return (found[1].decode() if found else None), again
