"""Search over HTTP."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Depends, File, Form, Path, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import Scope as AsgiScope

from backend.access.callers import Caller, Scope
from backend.access.dependencies import StorefrontCaller
from backend.access.provided import provided
from backend.errors import Forbidden, Unprocessable
from backend.search.pipeline import Searcher
from backend.search.schemas import RESPONSE_EXAMPLE, SEARCH_EXAMPLE, SearchRequest, SearchResponse

SearcherDep = Annotated[Searcher, Depends(provided(Searcher))]

_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {"type": "string", "format": "binary", "description": "JPEG, PNG, WebP or GIF."},
                        "request": {"type": "string", "description": "The other fields, as JSON."},
                    },
                }
            }
        }
    }
}

_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"model": SearchResponse, "content": {"application/json": {"example": RESPONSE_EXAMPLE}}}
}


class UploadRoute(APIRoute):
    """Takes a request only when it is multipart; the route behind it takes the others."""

    def matches(self, scope: AsgiScope) -> tuple[Match, AsgiScope]:
        """No match for what is not multipart."""
        if not Headers(scope=scope).get("content-type", "").lower().startswith("multipart/form-data"):
            return Match.NONE, {}
        return super().matches(scope)


uploads = APIRouter(route_class=UploadRoute)
searches = APIRouter(tags=["search"])


@uploads.post("/v1/search", include_in_schema=False)
def search_by_upload(
    caller: StorefrontCaller,
    searcher: SearcherDep,
    image: Annotated[UploadFile, File()],
    request: Annotated[str, Form()] = "{}",
) -> Response:
    """Search by an uploaded picture."""
    try:
        parsed = SearchRequest.model_validate_json(request)
    except ValidationError as error:
        findings = [{**finding, "loc": ("body", "request", *finding["loc"])} for finding in error.errors()]
        raise RequestValidationError(findings) from error
    if parsed.image is not None:
        raise Unprocessable("two pictures were sent", found="an upload and image", expected="one of them")
    _check_weights(parsed, caller)
    return _json(searcher.search(parsed, image.file.read()))


@searches.post(
    "/v1/search", operation_id="search", response_model=SearchResponse, responses=_ANSWER, openapi_extra=_UPLOAD
)
def search(
    caller: StorefrontCaller, searcher: SearcherDep, request: Annotated[SearchRequest, Body(examples=[SEARCH_EXAMPLE])]
) -> Response:
    """Search by words, picture or product, by several of them, or browse by filters alone.

    The answer is one page of an immutable list, recorded under `query_id`; `cursor` continues it.
    """
    _check_weights(request, caller)
    return _json(searcher.search(request))


@searches.get("/v1/search/{query_id}", operation_id="get_search", response_model=SearchResponse, responses=_ANSWER)
def get_search(
    _caller: StorefrontCaller,
    searcher: SearcherDep,
    query_id: Annotated[str, Path(max_length=32, pattern=r"^[\w-]+$", examples=["q_7kX2mfbTQ3qVn0aJ8rYw"])],
) -> Response:
    """All pages of a list that were served so far, each product at the position it was shown at."""
    return _json(searcher.served_again(query_id))


router = APIRouter()
router.include_router(uploads)
router.include_router(searches)


def _check_weights(request: SearchRequest, caller: Caller) -> None:
    if request.weights is not None and not caller.scope.covers(Scope.SERVER):
        raise Forbidden(
            "weights may be given with a server or admin key only", found=caller.scope, expected="scope server or above"
        )


def _json(answer: dict[str, Any]) -> Response:
    # straight to bytes: passing 24 hits through the response model again would cost more than the rest of the route
    return Response(orjson.dumps(answer), media_type="application/json")
