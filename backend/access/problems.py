"""The one rendering of errors: problem details (RFC 9457) as an HTTP response."""

import json
import math
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from backend.errors import AppError, RateLimited, Unauthorized, Unavailable

MEDIA_TYPE = "application/problem+json"
SHOWN_CHARACTERS = 200
"""A value found is shown up to this length."""

NO_ANSWER_RETRY_S = 2
"""What a caller is told to wait before asking again for a component that did not answer."""


def problem_response(error: AppError, request_id: str | None, headers: dict[str, str] | None = None) -> Response:
    """``error`` as a response that names the request it belongs to."""
    body = error.problem()
    for member in ("found", "expected"):
        if member in body:
            body[member] = shown(body[member])
    if request_id is not None:
        body["request_id"] = request_id
    # ASCII only: a lone surrogate that was found cannot be written as UTF-8, but its escape can
    text = json.dumps(body, ensure_ascii=True, allow_nan=False, default=str, separators=(",", ":"))
    return Response(text, error.status, _headers(error) | (headers or {}), media_type=MEDIA_TYPE)


async def refuse(error: AppError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with ``error`` before it reaches a route."""
    await problem_response(error, request_id_of(scope))(scope, receive, send)


def answer_headers(scope: Scope) -> dict[str, str]:
    """Headers that the answer to this request will carry, whoever gives it: a route, a refusal or a failure."""
    headers: dict[str, str] = scope["state"]["answer_headers"]
    return headers


def request_id_of(scope: Scope) -> str | None:
    """The id this request goes by in logs and answers."""
    known: str | None = scope.get("state", {}).get("request_id")
    return known


def shown(value: Any) -> Any:
    """``value`` as it may stand in an answer: JSON, no longer than a person reads."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else "an integer beyond 64 bits"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, bytes | bytearray):
        return _cut(bytes(value[: SHOWN_CHARACTERS + 1]).decode("utf-8", "replace"))
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return f"a {type(value).__name__}"
    return value if len(text) <= SHOWN_CHARACTERS else _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _headers(error: AppError) -> dict[str, str]:
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, RateLimited):
        return {"Retry-After": str(error.extensions.get("retry_after_s", 1))}
    if isinstance(error, Unavailable):
        return {"Retry-After": str(error.extensions.get("retry_after_s", NO_ANSWER_RETRY_S))}
    return {}
