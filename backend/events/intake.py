"""Events as they come in: each has a verdict of its own, and a wrong one spoils no other."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from backend.events.bodies import Sent
from backend.events.bots import is_bot
from backend.events.judging import Judged, check, judge_lists
from backend.events.recording import Attribution, NewEvent, Source, insert_events, known_lists, sent_before
from backend.events.refusals import Refusal, remember
from backend.events.schemas import EventIn
from backend.events.tally import Counts
from backend.events.units import UnitHasher
from backend.events.verdicts import EventOpinion, EventOpinions, EventVerdict, EventVerdicts, Status

_SOURCES: dict[str, Source] = {"native": "client", "ubi": "ubi", "segment": "segment"}


@dataclass(frozen=True)
class Sender:
    """Who sent events.

    Args:
        hasher: makes hashes of the shoppers' ids.
        is_bot: whether the program that sent them says that it is one.
        key_id: row of the key; None for the visitor of a demo.
        origin: the web page's origin, where one sent them.
    """

    hasher: UnitHasher
    is_bot: bool = False
    key_id: int | None = None
    origin: str | None = None


def take_events(session: Session, sent: Sent, sender: Sender) -> tuple[EventVerdicts, Counts]:
    """Keep those of ``sent`` that can be kept and have not come before, in one transaction.

    Returns:
        A verdict on each, in their order; and how many there were of each verdict.
    """
    now = datetime.now(UTC)
    judged = judge(session, sent, now)
    first: dict[str, Judged] = {}
    for one in judged:
        if one.event is not None and one.verdict is None:
            first.setdefault(one.event.message_id, one)
    written = _write(session, first.values(), sender)
    results = [one.verdict or _accepted(one.event, written) for one in judged]
    refused = [
        Refusal(said.code or "", one.kept_detail, as_sent, sender.key_id, sender.origin)
        for one, said, as_sent in zip(judged, results, sent.events, strict=True)
        if said.status == "rejected"
    ]
    remember(session, refused)
    return _verdicts(results), _counts(judged, results)


def judge(session: Session, sent: Sent, now: datetime) -> list[Judged]:
    """A verdict on each event that cannot be kept; None on the others, whether they came before or not."""
    judged = check(sent, now)
    named = {query_id for one in judged for query_id in one.named}
    known = known_lists(session.connection(), sorted(named)) if named else set()
    judge_lists(judged, known, now)
    return judged


def _write(session: Session, judged: Iterable[Judged], sender: Sender) -> set[str]:
    """The ids of the messages that are new; in one statement, whatever shapes they came in."""
    hashed = _Hashes(sender.hasher)
    rows = [row for one in judged for row in _rows(one, sender, hashed)]
    return insert_events(session.connection(), rows, source="client")


class _Hashes:
    """Hashes of the ids of one batch: nearly all of its events are of one shopper."""

    def __init__(self, hasher: UnitHasher) -> None:
        self._hasher = hasher
        self._made: dict[tuple[str, str], str | None] = {}

    def of(self, kind: str, given: str | None) -> str | None:
        """``given`` as it is kept."""
        if given is None:
            return None
        if (kind, given) not in self._made:
            self._made[kind, given] = self._hasher.hashed(kind, given)
        return self._made[kind, given]


def _rows(one: Judged, sender: Sender, hashed: _Hashes) -> Iterable[NewEvent]:
    """The rows of an event: one for each of its items, or the only one."""
    event, agent = one.event, one.understood.user_agent
    if event is None:
        return []
    whole = NewEvent(
        message_id=event.message_id,
        type=event.type,
        query_id=event.query_id,
        product_id=event.product_id,
        shopper_id=hashed.of("shopper", event.shopper_id),
        session_id=hashed.of("session", event.session_id),
        user_id=hashed.of("user", event.user_id),
        value=event.judgement,
        dwell_ms=event.dwell_ms,
        image=event.image,
        box=event.box,
        occurred_at=one.happened,
        visible_share=event.visible_share,
        visible_ms=event.visible_ms,
        columns=event.columns,
        quantity=event.quantity,
        price=event.price,
        currency=event.currency,
        surface=event.surface,
        device=event.device,
        next_query_id=event.next_query_id,
        attributes=event.attributes,
        is_bot=sender.is_bot or (agent is not None and is_bot(agent)),
        attribution=_attribution(one, event.query_id, event.product_id),
        source=_SOURCES[one.understood.dialect],
    )
    return [whole] if event.items is None else _items(one, event, whole)


def _items(one: Judged, event: EventIn, whole: NewEvent) -> list[NewEvent]:
    return [
        replace(
            whole,
            item=place,
            product_id=item.product_id,
            query_id=item.query_id or event.query_id,
            visible_share=item.visible_share,
            visible_ms=item.visible_ms,
            quantity=item.quantity,
            price=item.price,
            attribution=_attribution(one, item.query_id or event.query_id, item.product_id),
        )
        for place, item in enumerate(event.items or ())
    ]


def _attribution(one: Judged, query_id: str | None, product_id: str | None) -> Attribution:
    """Given where its list is here; pending where it may come, or where an earlier click may tell which it was."""
    if query_id is not None:
        return "given" if one.listed else "pending"
    shopper = one.event is not None and (one.event.shopper_id is not None or one.event.user_id is not None)
    return "pending" if shopper and product_id is not None else "none"


def _accepted(event: EventIn | None, written: set[str]) -> EventVerdict:
    """Accepted, the first time that it comes; a repetition in the same request is one, too."""
    message_id = event.message_id if event is not None else None
    if message_id not in written:
        return EventVerdict(message_id=message_id, status="duplicate", detail="this message came before")
    written.remove(message_id)
    return EventVerdict(message_id=message_id, status="accepted")


def _verdicts(results: list[EventVerdict]) -> EventVerdicts:
    return EventVerdicts(accepted=sum(one.status == "accepted" for one in results), results=results)


def _counts(judged: Sequence[Judged], results: Sequence[EventVerdict]) -> Counts:
    return Counter(
        (_SOURCES[one.understood.dialect], result.status, result.code or "")
        for one, result in zip(judged, results, strict=True)
    )


def validate_events(session: Session, sent: Sent) -> EventOpinions:
    """What :func:`take_events` would say of ``sent``, and what each event was understood as; nothing is kept."""
    judged = judge(session, sent, datetime.now(UTC))
    seen = sent_before(session, [one.event.message_id for one in judged if one.event is not None])
    results = []
    for one in judged:
        verdict = one.verdict
        if verdict is None and one.event is not None:
            status: Status = "duplicate" if one.event.message_id in seen else "accepted"
            seen.add(one.event.message_id)
            verdict = EventVerdict(
                message_id=one.event.message_id,
                status=status,
                detail="this message came before" if status == "duplicate" else None,
            )
        results.append(_opinion(one, verdict))
    return EventOpinions(accepted=sum(one.status == "accepted" for one in results), results=results)


def _opinion(one: Judged, verdict: EventVerdict | None) -> EventOpinion:
    said = verdict.model_dump() if verdict is not None else {}
    understood = None if one.event is None else one.event.model_dump(mode="json", exclude_none=True)
    if understood is not None:
        understood["timestamp"] = one.happened.isoformat()
    return EventOpinion(**said, dialect=one.understood.dialect, understood_as=understood)
