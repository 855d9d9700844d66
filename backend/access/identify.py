"""Which caller a request comes from. Nothing is refused here: a route that needs a caller says so itself."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from backend.access.callers import Caller
from backend.access.keyring import Keyring
from backend.access.problems import refuse
from backend.access.provided import lookup
from backend.access.visitors import OWNER, VISITOR, is_visitor
from backend.access.write_keys import BEACONS, TRACKING, basic_user, in_address, in_body
from backend.errors import Unavailable

KEY_SHOWN = "key_shown"
CALLER = "caller"


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
        secret, receive = await _shown(scope, headers, receive)
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


async def _shown(scope: AsgiScope, headers: Headers, receive: Receive) -> tuple[str | None, Receive]:
    """The key shown, in one of the places where one may stand, and the body to be read."""
    path = scope["path"]
    secret = _bearer(headers)
    if path in TRACKING or path in BEACONS:
        secret = basic_user(headers) or secret
        if secret is None and path in BEACONS:
            secret = in_address(scope)
        if secret is None and path in TRACKING and scope["method"] == "POST":
            return await in_body(receive)
    return secret, receive


def _bearer(headers: Headers) -> str | None:
    """The key shown; the empty text where the header is there but says something else."""
    shown = headers.get("authorization")
    if shown is None:
        return None
    scheme, _, secret = shown.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""
