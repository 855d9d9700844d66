"""What came from shoppers, what became of it, and what is being tried on them."""

from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from backend.admin.event_schemas import EventSeen, EventsState, ExperimentState, ExplorationState
from backend.events.models import Event, EventCount, RefusedEvent, ServedList
from backend.experiments.exploration import read_exploration
from backend.experiments.models import Experiment
from backend.settings import Settings

Wanted = Literal["all", "accepted", "rejected"]


def events_state(session: Session) -> EventsState:
    """The last 24 hours. Reads the events of two days once."""
    now = datetime.now(UTC)
    since = now - timedelta(days=1)
    counted = session.execute(
        select(EventCount.status, EventCount.code, func.sum(EventCount.n))
        .where(EventCount.hour > since)
        .group_by(EventCount.status, EventCount.code)
    ).all()
    last_day: dict[str, int] = {}
    for status, _, n in counted:
        last_day[status] = last_day.get(status, 0) + int(n)
    kept = session.execute(_KEPT, {"day": since.date(), "since": since}).all()
    people = [row for row in kept if not row.is_bot]
    listed = {name: sum(row.n for row in people if row.of_product and row.attribution == name) for name in _KNOWN}
    known = listed["given"] + listed["joined"]
    searches, randomised = session.execute(
        select(func.count(), func.count(ServedList.coins)).where(
            ServedList.served_on >= since.date(), ServedList.served_at >= since
        )
    ).one()
    return EventsState(
        last_at=session.scalar(select(func.max(Event.received_at)).where(Event.source != "refine")),
        last_day=last_day,
        refused={code: int(n) for status, code, n in counted if status == "rejected"},
        types=_by_type([(row.type, row.n) for row in people]),
        attributed=known / (known + listed["none"]) if known + listed["none"] else None,
        pending=listed["pending"],
        bots=sum(row.n for row in kept if row.is_bot),
        searches=searches,
        randomised=randomised,
    )


def exploration_state(session: Session, settings: Settings) -> ExplorationState:
    """The share in use, and the bound on its cost."""
    found = read_exploration(session, settings.exploration_share)
    return ExplorationState(share=found.share, **found.cost.model_dump())


def running_experiments(session: Session) -> list[ExperimentState]:
    """Those that are running, the newest first."""
    rows = session.scalars(select(Experiment).where(Experiment.status == "running").order_by(Experiment.id.desc()))
    return [
        ExperimentState(
            id=f"e{row.id}",
            name=row.name,
            method=row.method,
            arms=[arm["name"] for arm in row.arms],
            traffic=sum(end - start for start, end in row.slices) / 10_000 * row.coverage,
            started_at=row.started_at,
        )
        for row in rows
    ]


def last_events(session: Session, limit: int, wanted: Wanted) -> list[EventSeen]:
    """The newest events that arrived, refused ones among them."""
    seen: list[EventSeen] = []
    if wanted != "rejected":
        accepted = select(Event).where(Event.source != "refine").order_by(Event.received_at.desc(), Event.id.desc())
        seen += [_accepted(row) for row in session.scalars(accepted.limit(limit))]
    if wanted != "accepted":
        refused = select(RefusedEvent).order_by(RefusedEvent.id.desc())
        seen += [_refused(row) for row in session.scalars(refused.limit(limit))]
    return sorted(seen, key=lambda one: one.received_at, reverse=True)[:limit]


_KNOWN = ("given", "joined", "none", "pending")

_KEPT = text(
    """
    SELECT type, attribution, is_bot, product_id IS NOT NULL AS of_product, count(*) AS n FROM events
    WHERE received_on >= CAST(:day AS date) AND received_at >= CAST(:since AS timestamptz) AND source <> 'refine'
    GROUP BY 1, 2, 3, 4
    """
)


def _by_type(counted: list[tuple[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, n in counted:
        found[name] = found.get(name, 0) + n
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def _accepted(row: Event) -> EventSeen:
    same = ("id", "received_at", "type", "product_id", "query_id", "attribution", "source", "surface", "device")
    shown = {name: getattr(row, name) for name in same}
    nothing = {"code": None, "detail": None, "payload": None, "origin": None}
    return EventSeen.model_validate({**shown, **nothing, "verdict": "accepted", "is_bot": row.is_bot})


def _refused(row: RefusedEvent) -> EventSeen:
    shown = {name: getattr(row, name) for name in ("id", "received_at", "code", "detail", "payload", "origin")}
    unknown = dict.fromkeys(("type", "product_id", "query_id", "attribution", "source", "surface", "device"))
    return EventSeen.model_validate({**shown, **unknown, "verdict": "rejected", "is_bot": False})
