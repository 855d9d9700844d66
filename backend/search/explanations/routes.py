"""Explanations over HTTP."""

from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from backend.access.dependencies import StorefrontCaller
from backend.access.provided import provided
from backend.assets import SeenTag
from backend.catalog.schemas import ProductId
from backend.search.answers import as_json
from backend.search.explanations.explain import Explainer
from backend.search.explanations.schemas import EXPLAIN_EXAMPLE, ExplainResponse
from backend.search.refinement.routes import QueryId

MOST_NAMED = 24
"""Products that one explanation is of: their tokens are read and attended to together."""

_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"model": ExplainResponse, "content": {"application/json": {"example": EXPLAIN_EXAMPLE}}}
}
_PICTURE: dict[int | str, dict[str, Any]] = {200: {"description": "The picture.", "content": {"image/png": {}}}}

ExplainerDep = Annotated[Explainer, Depends(provided(Explainer))]
Named = Annotated[
    list[ProductId],
    Query(alias="product_id", max_length=MOST_NAMED, description="Weigh these products instead.", examples=[["p1"]]),
]

router = APIRouter(tags=["search"])


@router.get(
    "/v1/search/{query_id}/explain", operation_id="explain_search", response_model=ExplainResponse, responses=_ANSWER
)
def explain_search(
    _caller: StorefrontCaller,
    explainer: ExplainerDep,
    query_id: QueryId,
    product_id: Named = (),  # type: ignore[assignment]
) -> Response:
    """What this list was computed from: what each product weighed and, by a summarizer, where it looked.

    A list that was searched for has no turn behind it: then it is what its first products would weigh in one, and
    likewise where products are named.
    """
    return as_json(explainer.explain(query_id, product_id))


@router.get(
    "/v1/search/{query_id}/explain/overlay",
    operation_id="explain_overlay",
    response_class=Response,
    responses=_PICTURE,
)
def explain_overlay(
    _caller: StorefrontCaller,
    explainer: ExplainerDep,
    query_id: QueryId,
    of: Annotated[ProductId, Query(description="Product whose picture is drawn.", examples=["p1"])],
    product_id: Named = (),  # type: ignore[assignment]
    w: Annotated[int, Query(ge=32, le=1024, description="Longer side in pixels.", examples=[640])] = 640,
    alone: Annotated[bool, Query(description="The heat map by itself, transparent where it is cold.")] = False,
    seen: SeenTag = None,
) -> Response:
    """A product's picture with the saliency of an explanation over it, as PNG."""
    data = explainer.overlay(query_id, of, product_id, side=w, alone=alone)
    etag = f'"{sha256(data).hexdigest()[:20]}"'
    # a list never changes, but the generation that it is explained under may go
    headers = {"ETag": etag, "Cache-Control": "private, max-age=3600", "Vary": "Authorization"}
    if seen is not None and etag in seen:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="image/png", headers=headers)
