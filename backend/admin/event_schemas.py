"""What comes from shoppers, as the setup page and scripts read it."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

EVENTS_EXAMPLE: dict[str, Any] = {
    "last_at": "2026-11-21T08:59:58Z",
    "last_day": {"accepted": 41200, "duplicate": 310, "rejected": 12},
    "refused": {"invalid": 9, "unknown_query_id": 3},
    "types": {"exposure": 36100, "click": 3900, "dwell": 1100, "add_to_cart": 100},
    "attributed": 0.97,
    "pending": 4,
    "bots": 820,
    "searches": 5200,
    "randomised": 251,
}
EXPLORATION_EXAMPLE: dict[str, Any] = {"share": 0.05, "page": 24, "of_a_list": 0.0112, "of_all": 0.00056}
EXPERIMENT_EXAMPLE: dict[str, Any] = {
    "id": "e3",
    "name": "g8",
    "method": "ab",
    "arms": ["control", "g8"],
    "traffic": 0.2,
    "started_at": "2026-11-20T09:00:00Z",
}
_SEEN: dict[str, Any] = {
    "id": 912,
    "verdict": "accepted",
    "code": None,
    "detail": None,
    "received_at": "2026-11-21T08:59:58Z",
    "type": "click",
    "product_id": "p1",
    "query_id": "q_1yfQ3qVn0aJ8rYw7kX2mfbTQ",
    "attribution": "given",
    "source": "client",
    "surface": "web",
    "device": "mobile",
    "is_bot": False,
    "payload": None,
    "origin": None,
}


class EventsState(BaseModel):
    """What came from shoppers in the last 24 hours."""

    last_at: datetime | None = Field(description="When the last event was accepted, of those that are kept.")
    last_day: dict[str, int] = Field(description="Events by verdict, by the hour.")
    refused: dict[str, int] = Field(description="Those that were rejected, by code.")
    types: dict[str, int] = Field(description="Those that are kept, by type; programs' left out.")
    attributed: float | None = Field(
        description="Share of events on products whose list is known, 0 to 1; null where there are none."
    )
    pending: int = Field(description="Events whose list is not here yet.")
    bots: int = Field(description="Events of programs: kept, and never learned from.")
    searches: int = Field(description="Lists that were served.")
    randomised: int = Field(description="In how many of them coins had a say, to explore or to compare.")


class ExplorationState(BaseModel):
    """How many sessions explore, and what that costs at most of the DCG of a page, whatever was searched for."""

    share: float = Field(description="Of sessions.")
    page: int = Field(description="Hits of a page that the costs are said of.")
    of_a_list: float = Field(description="Of a list that explores.")
    of_all: float = Field(description="Of all lists together.")


class ExperimentState(BaseModel):
    """An experiment that is running."""

    id: str
    name: str
    method: str
    arms: list[str]
    traffic: float = Field(description="Share of units that take part.")
    started_at: datetime | None


class EventSeen(BaseModel):
    """An event that arrived: one that was accepted, or one that was refused and why."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SEEN]})

    id: int
    verdict: Literal["accepted", "rejected"]
    code: str | None
    detail: str | None
    received_at: datetime
    type: str | None
    product_id: str | None
    query_id: str | None
    attribution: str | None = Field(description="given, joined, pending or none: how its list is known.")
    source: str | None
    surface: str | None
    device: str | None
    is_bot: bool
    payload: str | None = Field(description="What was refused, as it came, without what names a person.")
    origin: str | None


class EventsSeen(BaseModel):
    """The last events, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"events": [_SEEN]}]})

    events: list[EventSeen]
