"""How large a request may be: refused by its declared length, or at the byte that is one too many."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.access.problems import answer_headers, refuse
from backend.errors import TooLarge, Unprocessable
from backend.metrics import REFUSED


class _BodyTooLargeError(Exception):
    """Leaves whatever was reading the body. Never seen outside this file."""


class LimitBody:
    """ASGI middleware: 413 for bodies over ``max_bytes``, declared or chunked; 422 for NUL in the address."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through that is small enough."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif "\x00" in scope["path"] or b"%00" in scope["query_string"]:
            error = Unprocessable("the address contains the NUL character", expected="text without it")
            await refuse(error, scope, receive, send)
        elif _declared(scope) > self.max_bytes:
            await self._refuse(scope, receive, send)
        else:
            await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = 0
        answered = False

        async def counted_receive() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self.max_bytes:
                    raise _BodyTooLargeError
            return message

        async def watched_send(message: Message) -> None:
            nonlocal answered
            # a route that swallowed the exception must not answer in our place
            if seen <= self.max_bytes or answered:
                answered = answered or message["type"] == "http.response.start"
                await send(message)

        try:
            await self.app(scope, counted_receive, watched_send)
        except _BodyTooLargeError:
            if answered:
                raise
        if seen > self.max_bytes and not answered:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        REFUSED.labels("size").inc()
        error = TooLarge("the body is larger than this server accepts", expected=f"at most {self.max_bytes} bytes")
        answer_headers(scope)["Connection"] = "close"  # what is left of the body is never read
        await refuse(error, scope, receive, send)


def _declared(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0
