"""Webhooks over HTTP: the door that shops send to, and the deliveries for administrators."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from backend.access.dependencies import AdminCaller, QueueDep, SessionDep
from backend.access.provided import provided
from backend.catalog.webhooks.inbox import Inbox
from backend.catalog.webhooks.reads import find_delivery, list_deliveries
from backend.catalog.webhooks.repository import replay_rows
from backend.catalog.webhooks.schemas import (
    DeliveryPage,
    DeliveryRead,
    DeliveryVerdict,
    ReceiptOut,
    Replay,
    Replayed,
)
from backend.queue import PROCESS_DELIVERIES, Bell

router = APIRouter(tags=["webhooks"])

InboxDep = Annotated[Inbox, Depends(provided(Inbox))]
BellDep = Annotated[Bell, Depends(provided(Bell))]

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "What the platform sends, byte for byte: the signature is over the raw bytes.",
        "content": {
            "application/json": {
                "schema": {},
                "example": {"id": "p1", "title": "Toy, Polyester", "updated_at": "2026-11-20T09:00:00Z"},
            }
        },
    }
}
_REJECTED: dict[int | str, dict[str, Any]] = {401: {"$ref": "#/components/responses/Unauthorized"}}


@router.post(
    "/v1/webhooks/{source}",
    operation_id="receive_webhook",
    openapi_extra=_BODY,
    response_model=ReceiptOut,
    responses=_REJECTED,
)
async def receive_webhook(
    source: Annotated[str, Path(description="The platform: shopify, woocommerce or generic.", examples=["shopify"])],
    request: Request,
    inbox: InboxDep,
    bell: BellDep,
) -> Response:
    """Take a delivery in. It is verified, written down and answered; what it says is applied behind the answer."""
    body = await request.body()
    receipt = await run_in_threadpool(inbox.take, source, dict(request.headers), body)
    if receipt.id is not None:
        bell.ring()  # for a repetition too: it may mean that the first answer was lost, and the nudge with it
    return JSONResponse({"outcome": receipt.outcome, "id": receipt.id})


@router.get("/v1/deliveries", operation_id="list_deliveries")
def read_deliveries(
    _caller: AdminCaller,
    session: SessionDep,
    source: Annotated[str | None, Query(max_length=32, description="Only those of this platform.")] = None,
    verdict: Annotated[DeliveryVerdict | None, Query(description="Only those with this verdict.")] = None,
    product_id: Annotated[str | None, Query(max_length=256, description="Only those that name this product.")] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="Most deliveries listed.")] = 100,
    cursor: Annotated[int | None, Query(ge=1, lt=2**63, description="Cursor of the page before.")] = None,
) -> DeliveryPage:
    """Deliveries of webhooks with their verdicts, the newest first."""
    return list_deliveries(session, source=source, verdict=verdict, product=product_id, before=cursor, limit=limit)


@router.get("/v1/deliveries/{delivery_id}", operation_id="get_delivery")
def read_delivery(
    delivery_id: Annotated[int, Path(ge=1, lt=2**63, description="Id of the delivery.")],
    _caller: AdminCaller,
    session: SessionDep,
) -> DeliveryRead:
    """One delivery with its headers and body."""
    return find_delivery(session, delivery_id)


@router.post("/v1/deliveries:replay", operation_id="replay_deliveries")
def replay_deliveries(
    _caller: AdminCaller, session: SessionDep, queue: QueueDep, body: Annotated[Replay, Body()]
) -> Replayed:
    """Apply deliveries again. The newest `updated_at` wins as ever, so replaying an old one harms nothing."""
    again = replay_rows(session, body.ids, body.verdict)
    queue.nudge_after_commit(session, PROCESS_DELIVERIES)
    return Replayed(replayed=len(again))
