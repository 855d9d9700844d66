"""Searches that come as multipart: by a picture, by a recording, or by both."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import Scope as AsgiScope

from backend.access.dependencies import SettingsDep, StorefrontCaller
from backend.access.limits import RateLimiter
from backend.access.provided import provided
from backend.errors import BadRequest, RateLimited, Unprocessable
from backend.search.answers import SearcherDep, UserAgent, as_json, asked_by_program, check_voice, check_weights
from backend.search.schemas import SearchRequest
from backend.search.transcriber import Transcriber

TranscriberDep = Annotated[Transcriber, Depends(provided(Transcriber))]
LimiterDep = Annotated[RateLimiter, Depends(provided(RateLimiter))]

BODY: dict[str, Any] = {
    "requestBody": {
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "anyOf": [{"required": ["image"]}, {"required": ["audio"]}],
                    "properties": {
                        "image": {"type": "string", "format": "binary", "description": "JPEG, PNG, WebP or GIF."},
                        "audio": {
                            "type": "string",
                            "format": "binary",
                            "description": "The question as it was spoken: WebM, Ogg, MP4, WAV, FLAC or MP3.",
                        },
                        "language": {
                            "type": "string",
                            "pattern": "^[a-z]{2}$",
                            "description": "What is spoken, in ISO 639-1; guessed where it is not given.",
                        },
                        "request": {"type": "string", "description": "The other fields, as JSON."},
                    },
                }
            }
        }
    }
}
"""The multipart form of ``POST /v1/search`` as ``/openapi.json`` describes it."""


class UploadRoute(APIRoute):
    """Takes a request only when it is multipart; the route behind it takes the others."""

    def matches(self, scope: AsgiScope) -> tuple[Match, AsgiScope]:
        """No match for what is not multipart."""
        if not Headers(scope=scope).get("content-type", "").lower().startswith("multipart/form-data"):
            return Match.NONE, {}
        return super().matches(scope)


router = APIRouter(route_class=UploadRoute)


# async, so that a transcription holds none of the threads that searches run on
@router.post("/v1/search", include_in_schema=False)
async def search_by_upload(
    caller: StorefrontCaller,
    searcher: SearcherDep,
    transcriber: TranscriberDep,
    limiter: LimiterDep,
    settings: SettingsDep,
    image: Annotated[UploadFile | None, File()] = None,
    audio: Annotated[UploadFile | None, File()] = None,
    request: Annotated[str, Form()] = "{}",
    language: Annotated[str | None, Form(pattern="^[a-z]{2}$")] = None,
    user_agent: UserAgent = None,
) -> Response:
    """Search by an uploaded picture, by a recording of what is looked for, or by both."""
    asked = _parsed(request)
    check_weights(asked, caller)
    if image is None and audio is None:
        raise Unprocessable("neither picture nor recording was sent", expected="a part named image or audio")
    if image is not None and asked.image is not None:
        raise Unprocessable("two pictures were sent", found="an upload and image", expected="one of them")
    heard = None
    if audio is not None:
        _check_unspoken(asked)
        transcriber.expect_endpoint()
        await _take_turn(limiter, settings.transcriber_per_minute)
        heard = await transcriber.transcribe(await audio.read(), language)
        spoken = asked.model_dump(exclude_unset=True) | {"text": heard, "query_type": asked.query_type or "voice"}
        asked = SearchRequest.model_validate(spoken)
    check_voice(asked)
    picture = await image.read() if image is not None else None
    by_program = asked_by_program(caller, user_agent)
    answer = await run_in_threadpool(searcher.search, asked, picture, is_bot=by_program)
    return as_json(answer if heard is None else answer | {"transcript": heard})


def _parsed(request: str) -> SearchRequest:
    try:
        return SearchRequest.model_validate_json(request)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            why = first["ctx"]["error"]
            raise BadRequest(f"the part request is not JSON: {why}", expected="JSON (RFC 8259)") from error
        findings = [{**finding, "loc": ("body", "request", *finding["loc"])} for finding in error.errors()]
        raise RequestValidationError(findings) from error


def _check_unspoken(asked: SearchRequest) -> None:
    """A recording is the words of a new search."""
    if asked.text is not None:
        raise Unprocessable("the words were sent twice", found="a recording and text", expected="one of them")
    if asked.cursor is not None:
        raise Unprocessable(
            "a cursor continues a search, and a recording begins one",
            found="a recording and cursor",
            expected="one of them",
        )


async def _take_turn(limiter: RateLimiter, per_minute: int) -> None:
    """One transcription of the minute's, over all callers: a storefront key is public, and the bill is the shop's."""
    verdict = await limiter.take("transcriptions", per_minute) if per_minute else None
    if verdict is not None and not verdict.allowed:
        raise RateLimited(
            "this server has transcribed as many recordings as it may in a minute",
            expected=f"at most {per_minute} a minute over all callers",
            retry_after_s=verdict.retry_after_s,
        )
