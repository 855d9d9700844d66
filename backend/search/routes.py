"""Search over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path
from fastapi.responses import Response

from backend.access.dependencies import StorefrontCaller
from backend.search import uploads
from backend.search.answers import SearcherDep, UserAgent, as_json, asked_by_program, check_voice, check_weights
from backend.search.explanations import routes as explanations
from backend.search.refinement import policy_routes
from backend.search.refinement import routes as refinement
from backend.search.schemas import RESPONSE_EXAMPLE, SEARCH_EXAMPLE, SearchRequest, SearchResponse

_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"model": SearchResponse, "content": {"application/json": {"example": RESPONSE_EXAMPLE}}}
}

searches = APIRouter(tags=["search"])


@searches.post(
    "/v1/search", operation_id="search", response_model=SearchResponse, responses=_ANSWER, openapi_extra=uploads.BODY
)
def search(
    caller: StorefrontCaller,
    searcher: SearcherDep,
    request: Annotated[SearchRequest, Body(examples=[SEARCH_EXAMPLE])],
    user_agent: UserAgent = None,
) -> Response:
    """Search by words, picture or product, by several of them, or browse by filters alone.

    The answer is one page of an immutable list, recorded under `query_id`; `cursor` continues it.
    """
    check_weights(request, caller)
    check_voice(request)
    return as_json(searcher.search(request, is_bot=asked_by_program(caller, user_agent)))


@searches.get("/v1/search/{query_id}", operation_id="get_search", response_model=SearchResponse, responses=_ANSWER)
def get_search(
    _caller: StorefrontCaller,
    searcher: SearcherDep,
    query_id: Annotated[str, Path(max_length=32, pattern=r"^[\w-]+$", examples=["q_7kX2mfbTQ3qVn0aJ8rYw"])],
) -> Response:
    """All pages of a list that were served so far, each product at the position it was shown at."""
    return as_json(searcher.served_again(query_id))


router = APIRouter()
router.include_router(uploads.router)
router.include_router(searches)
router.include_router(refinement.router)
router.include_router(explanations.router)
router.include_router(policy_routes.router)
