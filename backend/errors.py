"""Errors that carry their HTTP status, the value found and the value expected (RFC 9457 problem details)."""

from typing import Any, ClassVar


class AppError(Exception):
    """Base of every error that a caller may see.

    Args:
        detail: one sentence that says the fact and, where there is one, the next step.
        found: the offending value, JSON-serialisable.
        expected: what would have been accepted, JSON-serialisable.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, found: Any = None, expected: Any = None, **extensions: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.found = found
        self.expected = expected
        self.extensions = extensions

    def sentence(self) -> str:
        """The fact, with the value found and the value expected."""
        parts = [self.detail if self.found is None and self.expected is None else f"{self.detail.rstrip('.')}."]
        if self.found is not None:
            parts.append(f"Found: {self.found}.")
        if self.expected is not None:
            parts.append(f"Expected: {self.expected}.")
        return " ".join(parts)

    def problem(self) -> dict[str, Any]:
        """The problem-details object (RFC 9457 section 3) of this error."""
        body: dict[str, Any] = {
            "type": f"urn:morelike:problem:{slug(type(self).__name__)}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.found is not None:
            body["found"] = self.found
        if self.expected is not None:
            body["expected"] = self.expected
        return body | self.extensions


class BadRequest(AppError):
    """The request says something that cannot be done."""

    status = 400
    title = "Bad request"


class Unauthorized(AppError):
    """No key, or a key that does not exist."""

    status = 401
    title = "Key missing or unknown"


class Forbidden(AppError):
    """The key exists but may not do this."""

    status = 403
    title = "Not allowed with this key"


class NotFound(AppError):
    """The thing named does not exist."""

    status = 404
    title = "Not found"


class MethodNotAllowed(AppError):
    """The address exists, but not for this method."""

    status = 405
    title = "Method not allowed"


class Conflict(AppError):
    """The state of the thing named does not permit this."""

    status = 409
    title = "Conflict"


class TooLarge(AppError):
    """The body is larger than allowed."""

    status = 413
    title = "Too large"


class UnsupportedMedia(AppError):
    """The body is of a type that this operation does not read."""

    status = 415
    title = "Unsupported media type"


class Unprocessable(AppError):
    """The body is well-formed but its values are not acceptable."""

    status = 422
    title = "Not acceptable"


class RateLimited(AppError):
    """Too many requests for this key and address."""

    status = 429
    title = "Too many requests"


class InternalError(AppError):
    """The server failed at something that nobody foresaw; its log has the trace."""


class Unavailable(AppError):
    """A component that is needed does not answer."""

    status = 503
    title = "Component unavailable"


def slug(name: str) -> str:
    """``RateLimited`` -> ``rate-limited``."""
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")
