"""Products and their images over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Query, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict

from backend.access.dependencies import (
    AdminCaller,
    BlobsDep,
    QueueDep,
    ServerCaller,
    SessionDep,
    StorefrontCaller,
)
from backend.catalog.batch import BatchVerdicts, as_lines, write_batch
from backend.catalog.image_rows import ImagePage, ImageRetry, ImagesRetried, ImageState, list_images, retry_images
from backend.catalog.product_out import ProductOut
from backend.catalog.reads import get_product
from backend.catalog.repository import delete_product, upsert_products
from backend.catalog.schemas import Instant, ProductId, ProductIn, ProductPut, Status, Verdict
from backend.errors import NotFound, Unprocessable
from backend.queue import INGEST_DUE

router = APIRouter(tags=["products"])

NDJSON = "application/x-ndjson"

ProductPath = Annotated[ProductId, Path(description="Id of the product in the shop.", examples=["p1"])]
SeenAt = Annotated[
    Instant | None,
    Query(
        description="The shop's time of the deletion: a product updated later stays.", examples=["2026-11-20T09:00:00Z"]
    ),
]


class ProductVerdict(BaseModel):
    """What became of a product that was sent."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": "p1", "status": "updated", "detail": None}]}, from_attributes=True
    )

    id: str
    status: Status
    detail: str | None


class RefusedProduct(Unprocessable):
    """The product cannot be kept."""

    title = "Product not acceptable"


@router.get("/v1/products/{product_id:path}", operation_id="get_product")
def read_product(product_id: ProductPath, _caller: StorefrontCaller, session: SessionDep) -> ProductOut:
    """One product with its variants, images and captions."""
    product = get_product(session, product_id)
    if product is None:
        raise NotFound("there is no such product", found=product_id)
    return product


@router.put("/v1/products/{product_id:path}", operation_id="put_product")
def put_product(
    product_id: ProductPath,
    body: ProductPut,
    _caller: ServerCaller,
    session: SessionDep,
    blobs: BlobsDep,
    queue: QueueDep,
) -> ProductVerdict:
    """Create a product or replace it. One that is older than what is kept changes nothing and is `stale`."""
    if body.id not in (None, product_id):
        raise RefusedProduct("the body names another product than the address", found=body.id, expected=product_id)
    # checked already, by the same rules
    product = ProductIn.model_construct(**{**dict(body), "id": product_id})
    verdict = upsert_products(session, [product], blobs=blobs)[0]
    if verdict.status == "rejected":
        raise RefusedProduct(str(verdict.detail))
    queue.nudge_after_commit(session, INGEST_DUE)
    return _said(verdict)


@router.delete("/v1/products/{product_id:path}", operation_id="delete_product")
def remove_product(
    product_id: ProductPath,
    _caller: ServerCaller,
    session: SessionDep,
    queue: QueueDep,
    updated_at: SeenAt = None,
) -> ProductVerdict:
    """Delete a product. It leaves the results at once; only a write that is newer brings it back.

    With `updated_at` the deletion of a product that is not known yet is remembered, for the creation may arrive late.
    """
    verdict = delete_product(session, product_id, updated_at)
    if verdict.status == "missing":
        raise NotFound("there is no such product", found=product_id)
    if verdict.status == "rejected":
        raise RefusedProduct(str(verdict.detail))
    queue.nudge_after_commit(session, INGEST_DUE)
    return _said(verdict)


async def _raw(request: Request) -> bytes:
    return await request.body()


_LINES = (
    '{"id": "p1", "title": "Toy, Polyester", "images": ["https://shop.example/p1.jpg"]}\n'
    '{"id": "p2", "deleted": true, "updated_at": "2026-11-20T09:00:00Z"}\n'
)
_VERDICTS = '{"line": 1, "id": "p1", "status": "created", "detail": null, "errors": []}\n'
_BATCH_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "One product, or one deletion, a line.",
        "content": {NDJSON: {"schema": {"type": "string"}, "example": _LINES}},
    }
}


@router.post(
    "/v1/products:batch",
    operation_id="write_products",
    openapi_extra=_BATCH_BODY,
    responses={200: {"content": {NDJSON: {"schema": {"type": "string"}, "example": _VERDICTS}}}},
)
def write_products(
    _caller: ServerCaller,  # before the body, which strangers may not make this server read
    request: Request,
    body: Annotated[bytes, Depends(_raw)],
    session: SessionDep,
    blobs: BlobsDep,
    queue: QueueDep,
) -> BatchVerdicts:
    """Create, replace and delete products, up to 10,000 lines. Each line has a verdict; a wrong one spoils no other.

    The answer is JSON, or lines of JSON for those who `Accept: application/x-ndjson`.
    """
    verdicts = write_batch(session, body, blobs=blobs)
    queue.nudge_after_commit(session, INGEST_DUE)
    if NDJSON in request.headers.get("accept", ""):
        return PlainTextResponse("".join(as_lines(verdicts)), media_type=NDJSON)  # type: ignore[return-value]
    return verdicts


@router.get("/v1/images", operation_id="list_images")
def read_images(
    _caller: AdminCaller,
    session: SessionDep,
    state: Annotated[ImageState, Query(description="How far the images got.")] = "parked",
    limit: Annotated[int, Query(ge=1, le=500, description="Most images listed.")] = 100,
    cursor: Annotated[int, Query(ge=0, lt=2**63, description="Cursor of the page before.")] = 0,
) -> ImagePage:
    """Images by state: `parked` ones were given up on, and say why."""
    return list_images(session, state, after=cursor, limit=limit)


@router.post("/v1/images:retry", operation_id="retry_images")
def try_images_again(
    _caller: AdminCaller, session: SessionDep, queue: QueueDep, body: Annotated[ImageRetry, Body()]
) -> ImagesRetried:
    """Make parked images due again, as if they had never been tried."""
    retried = retry_images(session, body.ids)
    queue.nudge_after_commit(session, INGEST_DUE)
    return ImagesRetried(retried=retried)


def _said(verdict: Verdict) -> ProductVerdict:
    return ProductVerdict.model_validate(verdict)
