"""Which web pages may use the API: those of the origins that a live storefront key lists, and its own."""

import re

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.access.callers import Caller
from backend.access.identify import CALLER
from backend.access.keyring import Keyring
from backend.access.problems import answer_headers, refuse
from backend.access.provided import lookup
from backend.access.write_keys import TRACKING
from backend.errors import Forbidden, Unavailable
from backend.metrics import REFUSED

PREFLIGHT_MAX_AGE_S = 7200  # the most that Chromium honours
ALLOWED_METHODS = "GET, POST, PUT, DELETE"
ALLOWED_HEADERS = "Authorization, Content-Type, X-Request-ID"
EXPOSED_HEADERS = "X-Request-ID, Retry-After, RateLimit, RateLimit-Policy"

_HEADER_NAMES = re.compile(r"[A-Za-z0-9-]{1,64}(\s*,\s*[A-Za-z0-9-]{1,64}){0,31}")


class Cors:
    """ASGI middleware, inside :class:`IdentifyCaller`.

    A preflight carries no key, so it is answered for the origins of all live storefront keys; the request that
    follows is checked against the key it shows.

    Args:
        app: what is inside.
        public_origin: the API's own origin where a proxy hides it from the ``Host`` header.
    """

    def __init__(self, app: ASGIApp, *, public_origin: str | None) -> None:
        self.app = app
        self.public_origin = public_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, refuse an origin that the key does not list, let everything else through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer_headers(scope)["Vary"] = "Origin"
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is None:
            await self.app(scope, receive, send)
            return
        try:
            await self._from_page(scope, receive, send, headers, origin)
        except Unavailable as error:
            await refuse(error, scope, receive, send)

    async def _from_page(self, scope: Scope, receive: Receive, send: Send, headers: Headers, origin: str) -> None:
        caller: Caller | None = scope["state"][CALLER]
        is_preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        allowed = await self._allows(scope, headers, origin, caller)
        if allowed:
            answer_headers(scope).update(_sharing(origin))
        if is_preflight and allowed:
            await Response(status_code=204, headers=_preflight(scope["path"], headers))(scope, receive, send)
        elif not allowed and (is_preflight or caller is not None):
            REFUSED.labels("origin").inc()
            await refuse(_not_allowed(origin), scope, receive, send)
        else:  # without a key there is nothing to protect: a page is public, and everything else asks for a key
            await self.app(scope, receive, send)

    async def _allows(self, scope: Scope, headers: Headers, origin: str, caller: Caller | None) -> bool:
        own = headers.get("host")
        if origin == self.public_origin or (own and origin.partition("://")[2] == own):
            return True
        if caller is not None:
            return origin in caller.origins
        return await lookup(scope["app"], Keyring).knows_origin(origin)


def _not_allowed(origin: str) -> Forbidden:
    return Forbidden(
        "this key may not be used from this web page",
        found=origin,
        expected="an origin that the storefront key lists (`morelike key create --origin`)",
    )


def _preflight(path: str, headers: Headers) -> dict[str, str]:
    """What a page of an allowed origin may send."""
    # analytics SDKs add headers of their own (RudderStack's AnonymousId, SentAt, Rsa-…), more with every version, which
    # nobody reads: at their doors whatever they ask for is allowed
    asked = headers.get("access-control-request-headers", "")
    named = asked if path in TRACKING and _HEADER_NAMES.fullmatch(asked) else ALLOWED_HEADERS
    return {
        "Access-Control-Allow-Methods": ALLOWED_METHODS,
        "Access-Control-Allow-Headers": named,
        "Access-Control-Max-Age": str(PREFLIGHT_MAX_AGE_S),
    }


def _sharing(origin: str) -> dict[str, str]:
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED_HEADERS}
