"""What all ways to ask for a search share: the searcher, what a caller may ask, and the answer's bytes."""

from typing import Annotated, Any

import orjson
from fastapi import Depends, Header
from fastapi.responses import Response

from backend.access.callers import Caller, Scope
from backend.access.provided import provided
from backend.errors import Forbidden, Unprocessable
from backend.events.bots import is_bot
from backend.search.pipeline import Searcher
from backend.search.schemas import SearchRequest

SearcherDep = Annotated[Searcher, Depends(provided(Searcher))]

UserAgent = Annotated[str | None, Header(include_in_schema=False)]

VOICE = "voice"
"""The ``query_type`` of a search whose text is the transcript of what was said."""


def check_weights(request: SearchRequest, caller: Caller) -> None:
    """Refuse weights to those who may not give any."""
    if request.weights is not None and not caller.scope.covers(Scope.SERVER):
        raise Forbidden(
            "weights may be given with a server or admin key only", found=caller.scope, expected="scope server or above"
        )


def check_voice(request: SearchRequest) -> None:
    """Refuse a spoken search without the words that were spoken: what is recorded of it must be true."""
    if request.query_type == VOICE and request.text is None and request.cursor is None:
        raise Unprocessable(
            "a search of query_type voice needs what was said",
            found="no text",
            expected="its transcript as text, or a recording as the part audio of a multipart body",
        )


def asked_by_program(caller: Caller, user_agent: str | None) -> bool:
    """Whether a program asks that says it is one. A shop's server asks for its shoppers, under its own name."""
    return caller.scope is Scope.STOREFRONT and is_bot(user_agent)


def as_json(answer: dict[str, Any]) -> Response:
    """``answer``, straight to bytes: passing 24 hits through the response model would cost more than the rest."""
    return Response(orjson.dumps(answer), media_type="application/json")
