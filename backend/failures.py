"""What the API answers when something failed: every failure becomes a problem, through one rendering."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from backend.access.problems import problem_response, request_id_of, shown
from backend.errors import (
    AppError,
    BadRequest,
    Forbidden,
    InternalError,
    MethodNotAllowed,
    NotFound,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unprocessable,
    UnsupportedMedia,
)
from backend.logs import get_logger

log = get_logger(__name__)

MOST_FINDINGS = 50
"""Findings listed in one answer; a body may hold thousands."""

_PREFIXES = ("Value error, ", "Input should be ", "Assertion failed, ")
_BY_STATUS: dict[int, type[AppError]] = {
    kind.status: kind for kind in (BadRequest, Unauthorized, Forbidden, NotFound, TooLarge, UnsupportedMedia)
}


def answer_failures(app: FastAPI) -> None:
    """Let ``app`` answer every failure as a problem. What nothing here knows becomes a 500 in ``Observe``."""
    app.add_exception_handler(AppError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _left)
    for kind in (OperationalError, InterfaceError, PoolTimeout):
        app.add_exception_handler(kind, _database)


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)  # noqa: S101  Starlette types every failure as Exception
    if error.status >= 500:
        log.warning("request_refused", problem=type(error).__name__, detail=error.detail)
    return problem_response(error, request_id_of(request.scope))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return await _known(request, problem_of(error, request.headers.get("content-type")))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    allowed = (error.headers or {}).get("Allow")
    if error.status_code == 405:
        problem: AppError = MethodNotAllowed(
            "nothing answers to this method here", found=request.method, expected=allowed
        )
    elif error.status_code == 404:
        problem = NotFound("there is nothing at this address", found=request.url.path)
    else:
        kind = _BY_STATUS.get(error.status_code, BadRequest if error.status_code < 500 else InternalError)
        problem = kind(str(error.detail))
    return problem_response(problem, request_id_of(request.scope), {"Allow": allowed} if allowed else None)


async def _left(request: Request, _error: Exception) -> Response:
    # of a client that closes the connection early, servers drop even a body that had come whole: no fault of ours
    return problem_response(BadRequest("the client left before its body was read"), request_id_of(request.scope))


async def _database(request: Request, error: Exception) -> Response:
    log.warning("database_failed", error=str(error).partition("\n")[0])
    return await _known(request, Unavailable("the database does not answer", component="database"))


def problem_of(error: RequestValidationError, content_type: str | None) -> AppError:
    """The problem that names each value that is not acceptable: where it is, what was found, what was expected."""
    findings = error.errors()
    first = findings[0]
    if first["type"] == "json_invalid":
        place, why = first["loc"][-1], first["ctx"]["error"]
        return BadRequest(f"the body is not JSON: {why} at character {place}", expected="JSON (RFC 8259)")
    if first["loc"] == ("body",) and isinstance(first.get("input"), bytes):
        return UnsupportedMedia("the body is not sent as JSON", found=content_type, expected="application/json")
    errors = _findings(findings, error.body)
    where = f"{errors[0]['in']} {errors[0]['pointer']}".strip()
    said = f"{where}: {errors[0]['detail']}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Unprocessable(said + more, errors=errors[:MOST_FINDINGS])


def _findings(findings: Sequence[Any], body: Any) -> list[dict[str, Any]]:
    """One entry a place: every member of a union says what it expected there."""
    by_place: dict[tuple[str, str], dict[str, Any]] = {}
    for finding in findings:
        source, pointer = _place(finding, body)
        detail, expected = finding["msg"], _expected(finding["msg"])
        known = by_place.get((source, pointer))
        if known is None:
            entry = {"in": source, "pointer": pointer, "detail": detail, "expected": expected}
            if finding["type"] != "missing":
                entry["found"] = shown(finding.get("input"))
            by_place[source, pointer] = entry
        elif expected not in known["expected"]:
            known["expected"] += f", or {expected}"
    return list(by_place.values())


def _place(finding: Any, body: Any) -> tuple[str, str]:
    """Where the value is: which part of the request, and its JSON pointer (RFC 6901) in it."""
    source, *path = finding["loc"]
    if source != "body":
        return source, "/" + "/".join(map(_escaped, path))
    parts: list[Any] = []
    for part in path:
        if _is_in(part, body):
            body = body[part]
        elif finding["type"] != "missing" or part is not path[-1]:
            continue  # pydantic also names the members of unions and the functions it tried
        parts.append(part)
    return source, "".join("/" + _escaped(part) for part in parts)


def _is_in(part: object, body: Any) -> bool:
    if isinstance(body, list):
        return isinstance(part, int) and part < len(body)
    return isinstance(body, dict) and part in body


def _escaped(part: object) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def _expected(message: str) -> str:
    for prefix in _PREFIXES:
        message = message.removeprefix(prefix)
    return "a value" if message == "Field required" else message
