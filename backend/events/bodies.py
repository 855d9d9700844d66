"""Bodies that hold events: how large they may be, how they are packed, and which envelopes they come in."""

import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from backend.catalog.schemas import Instant, short
from backend.errors import BadRequest, TooLarge, Unprocessable
from backend.events.schemas import BYTES_MAX, EVENTS_MAX

_SHAPES = ("type", "action_name", "user_query")
_ENVELOPE = frozenset({"batch", "sent_at", "sentAt", "writeKey", "context", "integrations", "messageId", "timestamp"})
_INSTANT = TypeAdapter[datetime](Instant)


@dataclass(frozen=True)
class Sent:
    """The events of one request, not yet checked, and when the client's clock said that they were sent."""

    events: list[Any]
    sent_at: datetime | None = None


def unpacked(body: bytes, encoding: str) -> bytes:
    """``body`` without its ``Content-Encoding``, none or gzip, and at most ``BYTES_MAX`` of it.

    Raises:
        TooLarge: it is larger, packed or not.
        BadRequest: it is not gzip although it says so, or is packed in another way.
    """
    if encoding in ("gzip", "x-gzip"):
        reader = zlib.decompressobj(wbits=31)
        try:
            body = reader.decompress(body, BYTES_MAX + 1)
        except zlib.error as error:
            raise BadRequest(f"the body is not gzip: {error}", expected="gzip (RFC 1952)") from None
        if not reader.eof and len(body) <= BYTES_MAX:
            raise BadRequest("the body ends within its gzip", expected="gzip (RFC 1952)")
    elif encoding not in ("", "identity"):
        raise BadRequest("the body is packed in a way that is not read here", found=encoding, expected="gzip, or none")
    if len(body) > BYTES_MAX:
        raise TooLarge("one request may not hold so much", found=len(body), expected=f"at most {BYTES_MAX} bytes")
    return body


def parse_events(body: bytes, most: int = EVENTS_MAX) -> Sent:
    """The events of a body: an array of them, ``{"batch": […], "sent_at": …}``, or one event alone.

    Raises:
        TooLarge: more events than one request may have.
        BadRequest: it is not JSON.
        Unprocessable: it is none of these, or its ``sent_at`` is no time.
    """
    said = _json(body)
    sent_at = None
    if isinstance(said, dict) and "batch" in said and _ENVELOPE.issuperset(said):
        sent_at = _sent_at(said)
        said = said["batch"]
    elif isinstance(said, dict) and any(name in said for name in _SHAPES):
        said = [said]
    if not isinstance(said, list):
        raise Unprocessable("events come as a list", found=short(said), expected='an array, or {"batch": […]}')
    if len(said) > most:
        raise TooLarge("one request has too many events", found=len(said), expected=f"at most {most} events")
    return Sent(said, sent_at)


def parse_one(body: bytes) -> dict[str, Any]:
    """The object that a body is.

    Raises:
        BadRequest: it is not JSON.
        Unprocessable: it is something else.
    """
    said = _json(body)
    if not isinstance(said, dict):
        raise Unprocessable("a call is an object", found=short(said), expected="an object")
    return said


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}", expected="JSON (RFC 8259)") from None


def as_instant(value: Any) -> datetime | None:
    """``value`` as a time, or None where it is none."""
    if not isinstance(value, str):
        return None
    try:
        return _INSTANT.validate_python(value)
    except ValidationError:
        return None


def _sent_at(envelope: dict[str, Any]) -> datetime | None:
    given = envelope.get("sent_at", envelope.get("sentAt"))
    if given is None:
        return None
    sent_at = as_instant(given)
    if sent_at is None:
        raise Unprocessable("sent_at is no time", found=short(given), expected="ISO 8601 with a zone")
    return sent_at
