"""What is wrong with events, each by itself, and when they happened by the server's clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import TypeAdapter, ValidationError

from backend.catalog.schemas import Problem, problems, short
from backend.events.bodies import Sent, as_instant
from backend.events.dialects import FIELDS, understand
from backend.events.dialects.understood import Understood
from backend.events.schemas import EventIn
from backend.events.verdicts import Code, EventVerdict

OLDEST = timedelta(days=30)
"""Older events are refused: their message ids may be forgotten, and with them that they came before."""

LIST_MAY_COME = timedelta(hours=1)
"""How long after an event its list may still be recorded: lists are written without waiting for the disk."""

UNITS = frozenset({"shopper_id", "user_id", "session_id", "client_id", "anonymousId", "userId"})
"""Fields that name a person. What they hold is said to whoever sent it, and kept nowhere but as a keyed hash."""

_EVENTS = TypeAdapter(list[EventIn])
_NO_TIME = timedelta(0)


@dataclass
class Judged:
    """One event of a batch.

    Args:
        understood: what it says.
        event: the same, checked; None where it is refused or not used.
        happened: when, by the server's clock.
        verdict: why it is not kept; None while nothing speaks against it.
        kept_detail: the verdict's detail without what names a person.
        listed: whether each list that it names is there.
    """

    understood: Understood
    event: EventIn | None
    happened: datetime
    verdict: EventVerdict | None = None
    kept_detail: str = ""
    listed: bool = True

    @property
    def named(self) -> list[str]:
        """The ids of lists that it names."""
        event = self.event
        if event is None:
            return []
        if event.items is None and event.next_query_id is None:  # nearly always
            return [] if event.query_id is None else [event.query_id]
        said = [event.query_id, event.next_query_id, *(item.query_id for item in event.items or ())]
        return [query_id for query_id in said if query_id is not None]

    def refuse(self, code: Code, detail: str) -> None:
        """Refuse a checked event."""
        message_id = self.event.message_id if self.event is not None else None
        self.verdict = EventVerdict(message_id=message_id, status="rejected", code=code, detail=detail)
        self.kept_detail = detail


def check(sent: Sent, now: datetime) -> list[Judged]:
    """Every event of ``sent`` against the schema and the clock. Which lists are there is not looked at."""
    heard = [understand(one) for one in sent.events]
    judged = _all_well(heard, now) or [_checked(one, now) for one in heard]
    for one in judged:
        if one.event is not None:
            _date(one, sent.sent_at, now)
    return judged


def judge_lists(judged: Sequence[Judged], known: set[str], now: datetime) -> None:
    """Refuse what names a list that is not there and will not come any more."""
    for one in judged:
        unknown = [query_id for query_id in one.named if query_id not in known]
        one.listed = not unknown
        if unknown and one.verdict is None and one.happened < now - LIST_MAY_COME:
            said = f"no list has this id, or it is no longer kept: found {unknown[0]!r}"
            one.refuse("unknown_query_id", said)


def _all_well(heard: list[Understood], now: datetime) -> list[Judged] | None:
    """All of them in one step, as nearly every batch allows; None where some event is not as it should be."""
    if any(one.not_used for one in heard):
        return None
    try:
        events = _EVENTS.validate_python([one.said for one in heard])
    except ValidationError:
        return None
    return [Judged(one, event, now) for one, event in zip(heard, events, strict=True)]


def _checked(heard: Understood, now: datetime) -> Judged:
    if heard.not_used:
        verdict = EventVerdict(
            message_id=heard.message_id, status="ignored", code="not_used", detail=short(heard.not_used, 1000)
        )
        return Judged(heard, None, now, verdict)
    try:
        return Judged(heard, EventIn.model_validate(heard.said), now)
    except ValidationError as error:
        found = problems(error)
        named = heard.said.get("message_id") if isinstance(heard.said, dict) else None
        verdict = EventVerdict(
            message_id=short(named, 100) if isinstance(named, str) else None,
            status="rejected",
            code="invalid",
            detail=_detail(heard, found),
        )
        kept = [Problem(one.field, None, one.expected) if one.field in UNITS else one for one in found]
        whole = [Problem(one.field, None, one.expected) if not one.field else one for one in kept]
        return Judged(heard, None, now, verdict, _detail(heard, whole))


def _detail(heard: Understood, found: list[Problem]) -> str:
    """The problems in words, each field under the name that it has in the event's own shape."""
    names = FIELDS[heard.dialect]
    said = []
    for one in found:
        first, dot, rest = one.field.partition(".")
        said.append(f"{names.get(first, first)}{dot}{rest}" if one.field else "event")
    told = "; ".join(
        f"{name}: found {one.found!r}, expected {one.expected}" for name, one in zip(said, found, strict=True)
    )
    return str(short(told, 1000))


def _date(one: Judged, batch_sent_at: datetime | None, now: datetime) -> None:
    """When it happened: as long before its arrival as the client's clock says that it was before the sending.

    A clock that is wrong is wrong for both. Nothing happens later than it is heard of.
    """
    event = one.event
    if event is None or event.timestamp is None:
        return
    sent_at = as_instant(one.understood.sent_at) or batch_sent_at or now
    age = max(sent_at - event.timestamp, _NO_TIME)
    if age > OLDEST:
        said = f"timestamp: found {event.timestamp.isoformat()}, expected one of the last {OLDEST.days} days"
        one.refuse("too_old", said)
    else:
        one.happened = now - age
