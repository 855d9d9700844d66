"""Events over HTTP."""

from typing import Any

from fastapi import APIRouter, Response
from pydantic import TypeAdapter

from backend.access.dependencies import SessionDep, StorefrontCaller
from backend.events.arrival import ArrivalDep, BodyDep, answered
from backend.events.bodies import parse_events
from backend.events.intake import validate_events
from backend.events.schemas import BYTES_MAX, EVENT_EXAMPLE, EVENTS_MAX, PURCHASE_EXAMPLE, EventIn
from backend.events.verdicts import EventOpinions, EventVerdicts

router = APIRouter(tags=["events"])

_UBI_EXAMPLE = {
    "action_name": "click",
    "query_id": EVENT_EXAMPLE["query_id"],
    "client_id": "a7",
    "timestamp": "2026-11-21T09:00:00Z",
    "event_attributes": {"object": {"object_id": "p1"}, "position": {"ordinal": 3}},
}
_FOREIGN: list[dict[str, Any]] = [
    {
        "type": "object",
        "description": "UBI 1.3: an event (`action_name`) or a query (`user_query`).",
        "anyOf": [{"required": ["action_name"]}, {"required": ["user_query"]}],
        "examples": [_UBI_EXAMPLE],
    },
    {
        "type": "object",
        "description": "A call of Segment or RudderStack.",
        "required": ["type", "event"],
        "properties": {"type": {"const": "track"}, "event": {"type": "string"}},
    },
]
_EVENT = {"anyOf": [TypeAdapter(EventIn).json_schema(ref_template="#/components/schemas/{model}"), *_FOREIGN]}
_LIST: dict[str, Any] = {"type": "array", "maxItems": EVENTS_MAX, "items": _EVENT}
_BATCH: dict[str, Any] = {
    "type": "object",
    "required": ["batch"],
    "additionalProperties": False,
    "properties": {
        "batch": _LIST,
        "sent_at": {"type": "string", "format": "date-time", "description": "By the clock of the timestamps."},
    },
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"Up to {EVENTS_MAX} events, {BYTES_MAX // 2**10} KB. text/plain, which browsers send without "
        "asking first, holds the same JSON.",
        "content": {
            "application/json": {"schema": {"anyOf": [_LIST, _BATCH]}, "example": [EVENT_EXAMPLE, PURCHASE_EXAMPLE]},
            "text/plain": {"schema": {"type": "string"}, "example": '[{"message_id": "m1", "type": "click", …}]'},
        },
    }
}


@router.post(
    "/v1/events",
    operation_id="send_events",
    status_code=202,
    response_model=EventVerdicts,
    openapi_extra=_BODY,
)
def send_events(arrival: ArrivalDep, body: BodyDep, session: SessionDep) -> Response:
    """Say what shoppers did: an array of events, or `{"batch": [...]}`, with a verdict on each.

    Events of UBI 1.3, Segment and RudderStack are recognised by their shape. What was accepted is on disk when the
    answer goes out; an event that is sent again, whole batch or not, counts once. A storefront key may stand in the
    address (`?key=mk_pub_…`), because `navigator.sendBeacon` sets no headers.
    """
    return answered(arrival.take(session, parse_events(body)), 202)


@router.post("/v1/events/validate", operation_id="validate_events", openapi_extra=_BODY)
def validate(_caller: StorefrontCaller, body: BodyDep, session: SessionDep) -> EventOpinions:
    """Ask what would become of events: the same verdicts, and what each was understood as. Nothing is kept."""
    return validate_events(session, parse_events(body))
