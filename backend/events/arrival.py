"""What the doors for events have in common: the body, who sends it, and the answer."""

from typing import Annotated

from fastapi import Depends, Request, Response
from sqlalchemy import event
from sqlalchemy.orm import Session

from backend.access.callers import Caller, Scope
from backend.access.dependencies import StorefrontCaller
from backend.access.provided import provided
from backend.access.write_keys import TRACKING
from backend.errors import TooLarge, UnsupportedMedia
from backend.events.bodies import Sent, unpacked
from backend.events.bots import is_bot
from backend.events.intake import Sender, take_events
from backend.events.schemas import BYTES_MAX
from backend.events.tally import EventTally
from backend.events.unit_keys import HasherHolder
from backend.events.verdicts import EventVerdicts, Tracked

KINDS = ("application/json", "text/plain")

MISNAMED = ("application/x-www-form-urlencoded", "application/octet-stream", "")
"""What SDKs call the JSON that they send, too: RudderStack's for Node says the first of packed batches."""

HashersDep = Annotated[HasherHolder, Depends(provided(HasherHolder))]
TallyDep = Annotated[EventTally, Depends(provided(EventTally))]


async def _body(request: Request) -> bytes:
    """The body, unless it is declared too large or is of another type."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in KINDS and not (request.url.path in TRACKING and kind in MISNAMED):
        raise UnsupportedMedia("events are sent as JSON", found=kind, expected="application/json or text/plain")
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > BYTES_MAX:
        raise TooLarge(
            "one request may not hold so much", found=int(declared[:20]), expected=f"at most {BYTES_MAX} bytes"
        )
    return unpacked(await request.body(), request.headers.get("content-encoding", "").strip().lower())


BodyDep = Annotated[bytes, Depends(_body)]


class Arrival:
    """Where events arrive: takes them in for the caller, and counts the verdicts once they are on the disk."""

    def __init__(self, request: Request, caller: StorefrontCaller, tally: TallyDep, hashers: HashersDep) -> None:
        self._hashers = hashers
        self._headers = request.headers
        self._caller: Caller = caller
        self._tally = tally

    def take(self, session: Session, sent: Sent) -> EventVerdicts:
        """The verdicts on ``sent``."""
        verdicts, counts = take_events(session, sent, self._sender())
        event.listen(session, "after_commit", lambda _session: self._tally.add(counts), once=True)
        return verdicts

    def _sender(self) -> Sender:
        # a shop's server sends for its shoppers, under its own name
        by_page = self._caller.scope is Scope.STOREFRONT
        return Sender(
            self._hashers.current,
            is_bot=by_page and is_bot(self._headers.get("user-agent")),
            key_id=self._caller.key_id,
            origin=self._headers.get("origin"),
        )


ArrivalDep = Annotated[Arrival, Depends(Arrival)]


def answered(verdicts: EventVerdicts | Tracked, status: int) -> Response:
    """The answer, written once: FastAPI would check and write each of 500 verdicts again."""
    return Response(verdicts.model_dump_json(), status_code=status, media_type="application/json")
