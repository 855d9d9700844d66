"""Events over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import TypeAdapter

from backend.access.dependencies import SessionDep, StorefrontCaller
from backend.errors import TooLarge, UnsupportedMedia
from backend.events.intake import parse_events, take_events
from backend.events.schemas import BYTES_MAX, EVENT_EXAMPLE, EVENTS_MAX, EventIn, EventVerdicts
from backend.events.units import load_unit_hasher

router = APIRouter(tags=["events"])

_LIST: dict[str, Any] = {"type": "array", "maxItems": EVENTS_MAX, "items": TypeAdapter(EventIn).json_schema()}
_BATCH: dict[str, Any] = {
    "type": "object",
    "required": ["batch"],
    "additionalProperties": False,
    "properties": {"batch": _LIST},
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"Up to {EVENTS_MAX} events, {BYTES_MAX // 2**10} KB. text/plain, which browsers send without "
        "asking first, holds the same JSON.",
        "content": {
            "application/json": {"schema": {"anyOf": [_LIST, _BATCH]}, "example": [EVENT_EXAMPLE]},
            "text/plain": {"schema": {"type": "string"}, "example": '[{"message_id": "m1", "type": "click", …}]'},
        },
    }
}


async def _raw(request: Request) -> bytes:
    """The body, unless it is declared too large or is of another type."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "text/plain"):
        raise UnsupportedMedia("events are sent as JSON", found=kind, expected="application/json or text/plain")
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > BYTES_MAX:
        raise TooLarge(
            "one request may not hold so much", found=int(declared[:20]), expected=f"at most {BYTES_MAX} bytes"
        )
    return await request.body()


@router.post("/v1/events", operation_id="send_events", status_code=202, openapi_extra=_BODY)
def send_events(_caller: StorefrontCaller, body: Annotated[bytes, Depends(_raw)], session: SessionDep) -> EventVerdicts:
    """Say what shoppers did: an array of events, or `{"batch": [...]}`, with a verdict on each.

    What was accepted is on disk when the answer goes out; an event that is sent again, whole batch or not, counts once.
    A storefront key may stand in the address (`?key=mk_pub_…`), because `navigator.sendBeacon` sets no headers.
    """
    return take_events(session, parse_events(body), load_unit_hasher(session))
