"""Doors for the SDKs of Segment and RudderStack: their host is this server, and nothing else changes.

https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/
https://www.rudderstack.com/docs/api/http-api/
"""

from typing import Any

from fastapi import APIRouter, Request, Response

from backend.access.dependencies import SessionDep
from backend.events.arrival import ArrivalDep, BodyDep, answered
from backend.events.bodies import Sent, parse_events, parse_one
from backend.events.dialects.segment import CALLS
from backend.events.schemas import BYTES_MAX
from backend.events.verdicts import Tracked

router = APIRouter(tags=["events"])

CALLS_MAX = 2500
"""Calls in one batch, as Segment allows."""

_TRACK_EXAMPLE: dict[str, Any] = {
    "type": "track",
    "event": "Product Clicked",
    "messageId": "m1",
    "anonymousId": "a7",
    "timestamp": "2026-11-21T09:00:00Z",
    "properties": {"product_id": "p1", "query_id": "q_7kX2mfbTQ3qVn0aJ8rYw"},
}
_CALL: dict[str, Any] = {
    "type": "object",
    "properties": {"type": {"enum": sorted(CALLS)}, "event": {"type": "string"}, "messageId": {"type": "string"}},
}
_BATCH: dict[str, Any] = {
    "type": "object",
    "required": ["batch"],
    "properties": {
        "batch": {"type": "array", "maxItems": CALLS_MAX, "items": _CALL},
        "sentAt": {"type": "string", "format": "date-time"},
        "writeKey": {"type": "string"},
    },
    "additionalProperties": False,
}


def _described(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    said = f"At most {BYTES_MAX // 2**10} KB, gzip or not. The key is the user name of HTTP Basic, or `writeKey`."
    content = {
        "application/json": {"schema": schema, "example": example},
        "text/plain": {"schema": {"type": "string"}, "example": '{"event": "Product Clicked", …}'},
    }
    return {"requestBody": {"required": True, "description": said, "content": content}}


@router.post("/beacon/v1/batch", include_in_schema=False, response_model=Tracked)
@router.post("/v1/import", include_in_schema=False, response_model=Tracked)
@router.post("/v1/b", include_in_schema=False, response_model=Tracked)
@router.post(
    "/v1/batch",
    operation_id="track_batch",
    response_model=Tracked,
    openapi_extra=_described(_BATCH, {"batch": [_TRACK_EXAMPLE], "sentAt": "2026-11-21T09:00:01Z"}),
)
def track_batch(arrival: ArrivalDep, body: BodyDep, session: SessionDep) -> Response:
    """Take a batch of an SDK of Segment or RudderStack. Calls that are not used here are answered `ignored`."""
    return _tracked(arrival, session, parse_events(body, CALLS_MAX))


@router.post("/v1/a", include_in_schema=False, response_model=Tracked)
@router.post("/v1/g", include_in_schema=False, response_model=Tracked)
@router.post("/v1/s", include_in_schema=False, response_model=Tracked)
@router.post("/v1/p", include_in_schema=False, response_model=Tracked)
@router.post("/v1/i", include_in_schema=False, response_model=Tracked)
@router.post("/v1/t", include_in_schema=False, response_model=Tracked)
@router.post("/v1/alias", include_in_schema=False, response_model=Tracked)
@router.post("/v1/group", include_in_schema=False, response_model=Tracked)
@router.post("/v1/screen", include_in_schema=False, response_model=Tracked)
@router.post("/v1/page", include_in_schema=False, response_model=Tracked)
@router.post("/v1/identify", include_in_schema=False, response_model=Tracked)
@router.post(
    "/v1/track",
    operation_id="track",
    response_model=Tracked,
    openapi_extra=_described(_CALL, _TRACK_EXAMPLE),
)
def track(request: Request, arrival: ArrivalDep, body: BodyDep, session: SessionDep) -> Response:
    """Take one `track` call of an SDK of Segment or RudderStack; their other calls are answered `ignored`."""
    said = parse_one(body)
    named = request.url.path.rpartition("/")[2]
    call = next(one for one in sorted(CALLS) if one == named or one[0] == named)
    return _tracked(arrival, session, Sent([{"type": call} | said]))


def _tracked(arrival: ArrivalDep, session: SessionDep, sent: Sent) -> Response:
    # SDKs send again whatever is not answered with 200: a verdict that is no acceptance stands in the body
    verdicts = arrival.take(session, sent)
    return answered(Tracked(accepted=verdicts.accepted, results=verdicts.results), 200)
