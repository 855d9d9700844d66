"""What the nights have come to, as the setup page and scripts read it."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_NIGHT: dict[str, Any] = {
    "id": "n12",
    "state": "done",
    "outcome": "unchanged",
    "sentence": "No update tonight: there are too few clicks yet.",
    "ended_at": "2026-11-22T02:04:12Z",
}
_WAIT: dict[str, Any] = {"gate": "G0", "what": "satisfied clicks", "found": 312, "needed": 2000, "per_day": 41.5}
LEARNING_EXAMPLE: dict[str, Any] = {"at": "02:00", "running": None, "last": _NIGHT, "waits": [_WAIT]}


class NightState(BaseModel):
    """The last night that ended."""

    model_config = ConfigDict(json_schema_extra={"examples": [_NIGHT]})

    id: str
    state: str = Field(description="done, failed or cancelled.")
    outcome: str | None = Field(
        description="promoted, ready, screening, unchanged or rolled_back; null unless it is done."
    )
    sentence: str = Field(description="Why, for people.")
    ended_at: datetime | None


class GateWait(BaseModel):
    """What a gate has too little of to decide."""

    model_config = ConfigDict(json_schema_extra={"examples": [_WAIT]})

    gate: str
    what: str
    found: float
    needed: float
    per_day: float | None = Field(description="How much came in a day of the window; null: it does not by itself.")

    @property
    def days(self) -> float | None:
        """Until there is enough at this rate; None where nothing comes."""
        return (self.needed - self.found) / self.per_day if self.per_day else None


class LearningState(BaseModel):
    """Whether the shop learns from clicks, and what it still waits for."""

    model_config = ConfigDict(json_schema_extra={"examples": [LEARNING_EXAMPLE]})

    at: str = Field(description="Time of the nights in UTC, or `off`.")
    running: str | None = Field(description="The night that is under way.")
    last: NightState | None = Field(description="Null where none has ended.")
    waits: list[GateWait] = Field(description="As the last night that was judged said.")
