"""The description of the API: what FastAPI derives, with every operation's problems added."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from backend.access.problems import MEDIA_TYPE
from backend.errors import (
    AppError,
    BadRequest,
    Conflict,
    Forbidden,
    InternalError,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unprocessable,
    UnsupportedMedia,
)

DESCRIPTION = """Product search by words, picture or product. Errors are problem details (RFC 9457) that say what was
found and what was expected. Keys are sent as `Authorization: Bearer mk_…`: a key of scope admin may do everything, one
of scope server what servers and pages may, one of scope storefront what pages may."""

_EXAMPLES: tuple[AppError, ...] = (
    BadRequest("the body is not JSON: Expecting value at character 0", expected="JSON (RFC 8259)"),
    Unauthorized("this key is unknown or revoked", expected="`Authorization: Bearer mk_…` with a key of scope server"),
    Forbidden("the key 'my shop' may not do this", found="storefront", expected="scope server or above"),
    NotFound("there is no such product", found="p1"),
    Conflict("the index build of this generation is not complete", found="building", expected="ready"),
    TooLarge("the body is larger than this server accepts", expected="at most 16777216 bytes"),
    UnsupportedMedia("the body is not sent as JSON", found="text/plain", expected="application/json"),
    Unprocessable(
        "body /limit: Input should be less than or equal to 100",
        errors=[
            {
                "in": "body",
                "pointer": "/limit",
                "detail": "Input should be less than or equal to 100",
                "expected": "less than or equal to 100",
                "found": 1000,
            }
        ],
    ),
    RateLimited(
        "this key has been used too often from this address",
        expected="at most 1200 requests a minute",
        retry_after_s=1,
    ),
    InternalError("the server failed; its log has the trace"),
    Unavailable("the database does not answer", component="database"),
)

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "Name of the kind of problem; docs/errors.md lists them."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "The fact, and where there is one the next step."},
        "found": {"description": "The value that was found."},
        "expected": {"description": "What would have been accepted."},
        "request_id": {"type": "string", "description": "Id under which the server's log knows this request."},
        "errors": {
            "type": "array",
            "description": "One entry for each value that was not acceptable.",
            "items": {
                "type": "object",
                "required": ["in", "pointer", "detail", "expected"],
                "properties": {
                    "in": {"type": "string", "description": "body, query, path or header."},
                    "pointer": {"type": "string", "description": "JSON pointer (RFC 6901) to the value."},
                    "detail": {"type": "string"},
                    "expected": {"type": "string"},
                    "found": {},
                },
            },
        },
    },
}


def describe(app: FastAPI) -> None:
    """Let ``app`` describe itself with its problems. The description is made once, when it is first asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app)
        return app.openapi_schema

    # FastAPI's documented way to extend the description
    app.openapi = openapi  # type: ignore[method-assign]


def _described(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for replaced in ("HTTPValidationError", "ValidationError"):
        schemas.pop(replaced, None)
    schemas["Problem"] = _PROBLEM
    components["responses"] = {type(error).__name__: _response(error) for error in _EXAMPLES}
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            _add_problems(path, operation)
    return schema


def _response(error: AppError) -> dict[str, Any]:
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": error.problem()}
    return {"description": error.title, "content": {MEDIA_TYPE: content}}


def _add_problems(path: str, operation: dict[str, Any]) -> None:
    has_body, is_guarded = "requestBody" in operation, "security" in operation
    possible: dict[type[AppError], bool] = {
        BadRequest: has_body,
        Unauthorized: is_guarded,
        Forbidden: is_guarded,
        NotFound: has_body or "{" in path,  # a body may name what does not exist, too
        Conflict: is_guarded and (has_body or "{" in path),
        TooLarge: has_body,
        UnsupportedMedia: has_body,
        Unprocessable: has_body or "parameters" in operation,
        RateLimited: is_guarded,
        InternalError: True,
        Unavailable: True,
    }
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI's own shape of validation errors
    for kind, can_happen in possible.items():
        if can_happen:
            responses.setdefault(str(kind.status), {"$ref": f"#/components/responses/{kind.__name__}"})
