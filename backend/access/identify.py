"""Which caller a request comes from. Nothing is refused here: a route that needs a caller says so itself."""

from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from backend.access.callers import Caller
from backend.access.callers import Scope as KeyScope
from backend.access.keyring import Keyring
from backend.access.problems import refuse
from backend.access.provided import lookup
from backend.access.visitors import OWNER, VISITOR, is_visitor
from backend.errors import Unavailable

KEY_SHOWN = "key_shown"
CALLER = "caller"

BEACONS = "/v1/events"
"""Where a key may stand in the address, as ``?key=``: ``navigator.sendBeacon`` sets no headers."""


class IdentifyCaller:
    """ASGI middleware: puts the caller, or None, into the request's state.

    Args:
        app: what is inside.
        demo: whether callers from this machine need no key.
        is_public: whether this server has an address for others, who might look like callers from this machine when
            a tunnel is careless: then none of them may see what administrators see.
    """

    def __init__(self, app: ASGIApp, *, demo: bool, is_public: bool) -> None:
        self.app = app
        self.demo = demo
        self.visitor = VISITOR if is_public else OWNER

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Find the caller of one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        secret = _bearer(headers)
        if secret is None and scope["path"] == BEACONS:
            secret = _in_address(scope)
        try:
            caller = await self._caller(scope, headers, secret)
        except Unavailable as error:
            await refuse(error, scope, receive, send)
            return
        scope["state"] |= {CALLER: caller, KEY_SHOWN: secret is not None}
        await self.app(scope, receive, send)

    async def _caller(self, scope: AsgiScope, headers: Headers, secret: str | None) -> Caller | None:
        if secret is not None:
            return await lookup(scope["app"], Keyring).find(secret)
        return self.visitor if self.demo and is_visitor(scope, headers) else None


def _in_address(scope: AsgiScope) -> str | None:
    """The key in the query string: a storefront key, which pages show anyway. Others must not end up in logs."""
    shown = QueryParams(scope["query_string"]).get("key")
    return shown if shown is None or shown.startswith(f"mk_{KeyScope.STOREFRONT.prefix}_") else ""


def _bearer(headers: Headers) -> str | None:
    """The key shown; the empty text where the header is there but says something else."""
    shown = headers.get("authorization")
    if shown is None:
        return None
    scheme, _, secret = shown.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""
