"""The outermost layer: a request's id, its line in the log, its place in the metrics, its headers, its failure."""

import re
import secrets
from time import perf_counter

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.access.problems import refuse
from backend.errors import InternalError
from backend.logs import get_logger
from backend.metrics import REQUESTS

log = get_logger(__name__)

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' data: blob: https: http:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""For our pages: nothing runs that this server did not send. Styles may be inline, pictures may be the shop's."""


class Observe:
    """ASGI middleware around everything, so that refusals and failures carry the same headers as answers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and note what became of it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = perf_counter()
        request_id = _request_id(scope)
        extra = {"X-Request-ID": request_id, "X-Content-Type-Options": "nosniff"}
        scope.setdefault("state", {}).update(request_id=request_id, answer_headers=extra)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 0

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _complete(MutableHeaders(scope=message), extra)
            await send(message)

        try:
            await self.app(scope, receive, observed_send)
        except Exception:  # the last place that can answer; the trace goes to the log, not to the caller
            log.exception("request_failed", method=scope["method"], route=route_of(scope))
            if status:  # the answer has begun: the server must break the connection off
                raise
            await refuse(InternalError("the server failed; its log has the trace"), scope, receive, observed_send)
        finally:
            _record(scope, status, perf_counter() - begun)


def route_of(scope: Scope) -> str:
    """Template of the route that answered (``/v1/products/{id}``); paths themselves would be endless labels."""
    path: str = getattr(scope.get("route"), "path", "unmatched")
    return path


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id")
    return given if given is not None and _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)


def _complete(headers: MutableHeaders, extra: dict[str, str]) -> None:
    for name, value in extra.items():
        if name == "Vary":
            headers.add_vary_header(value)
        else:
            headers[name] = value
    headers.setdefault("Referrer-Policy", "strict-origin-when-cross-origin")
    if headers.get("content-type", "").startswith("text/html"):
        headers.setdefault("Content-Security-Policy", CONTENT_POLICY)


def _record(scope: Scope, status: int, seconds: float) -> None:
    REQUESTS.labels(route_of(scope), scope["method"], str(status)).observe(seconds)
    # the path without its query string, which may be what a shopper typed
    log.info("request", method=scope["method"], path=scope["path"], status=status, ms=round(seconds * 1000, 2))
