"""Refinement over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path
from fastapi.responses import Response

from backend.access.callers import Caller, Scope
from backend.access.dependencies import StorefrontCaller
from backend.access.provided import provided
from backend.errors import Forbidden
from backend.search.answers import as_json
from backend.search.refinement.schemas import REFINE_EXAMPLE, REFINED_EXAMPLE, RefineRequest
from backend.search.refinement.turns import Refiner
from backend.search.schemas import SearchResponse

_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"model": SearchResponse, "content": {"application/json": {"example": REFINED_EXAMPLE}}}
}

router = APIRouter(tags=["search"])

QueryId = Annotated[str, Path(max_length=32, pattern=r"^[\w-]+$", examples=["q_7kX2mfbTQ3qVn0aJ8rYw"])]


@router.post(
    "/v1/search/{query_id}/refine", operation_id="refine_search", response_model=SearchResponse, responses=_ANSWER
)
def refine_search(
    caller: StorefrontCaller,
    refiner: Annotated[Refiner, Depends(provided(Refiner))],
    query_id: QueryId,
    request: Annotated[RefineRequest, Body(examples=[REFINE_EXAMPLE])],
) -> Response:
    """A little more like this: the next list, from what the shopper says of this one.

    It has an id of its own and names this one as its `parent_id`; going back is going on from the parent.
    """
    _check_allowed(request, caller)
    return as_json(refiner.refine(query_id, request))


def _check_allowed(request: RefineRequest, caller: Caller) -> None:
    if request.overrides and not caller.scope.covers(Scope.SERVER):
        raise Forbidden(
            f"{' and '.join(request.overrides)} may be given with a server or admin key only",
            found=caller.scope,
            expected="scope server or above",
        )
