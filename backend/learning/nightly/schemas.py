"""Nights as administrators read them, and as they ask for one."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from backend.learning.models import NightlyRun, NightlyStep

NIGHT_EXAMPLE: dict[str, Any] = {
    "id": "n7",
    "night": "2026-11-22",
    "state": "done",
    "outcome": "promoted",
    "reason": "ips is better by 0.031 NDCG@10 (0.012 to 0.049) on clicks that nothing was learned from.",
    "dry_run": False,
    "item_heads": False,
    "actor": "schedule",
    "seed": 7,
    "window_from": "2026-10-25T02:00:00Z",
    "window_to": "2026-11-22T02:00:00Z",
    "production": "g7",
    "generation": "g8",
    "error": None,
    "started_at": "2026-11-22T02:00:01Z",
    "ended_at": "2026-11-22T02:04:12Z",
}

STEP_EXAMPLE: dict[str, Any] = {
    "name": "sessions",
    "state": "done",
    "attempts": 1,
    "progress": {"what": "Lists", "done": 5200, "total": 5200},
    "result": {"lists": 5200},
    "started_at": "2026-11-22T02:00:01Z",
    "ended_at": "2026-11-22T02:00:09Z",
}

_WHOLE: dict[str, Any] = {**NIGHT_EXAMPLE, "options": {}, "steps": [STEP_EXAMPLE], "report": {"seconds": {}}}


class NightIn(BaseModel):
    """A night to be worked on now."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"dry_run": True}]})

    dry_run: bool = Field(default=False, description="Learn and judge, and change nothing.")
    item_heads: bool | None = Field(
        default=None, description="Whether heads of items learn, too; null where their time has come."
    )
    window_days: float | None = Field(default=None, gt=0, le=3660, description="Days learned from; null as set.")
    seed: int | None = Field(
        default=None, ge=0, lt=2**31, description="Of everything drawn at random; null takes the night's number."
    )


class StepRead(BaseModel):
    """A step of a night."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [STEP_EXAMPLE]})

    name: str = Field(description="sessions, propensities, training, gates, build, flip or report.")
    state: str = Field(description="pending, running, done, failed or skipped.")
    attempts: int = Field(description="Times that it was begun.")
    progress: dict[str, Any] = Field(description="What is under way, and how much of how much is done.")
    result: dict[str, Any] = Field(description="What came of it.")
    started_at: datetime | None
    ended_at: datetime | None


class NightRead(BaseModel):
    """One night, without its report."""

    model_config = ConfigDict(json_schema_extra={"examples": [NIGHT_EXAMPLE]})

    id: str = Field(description="Name of the night.")
    night: date | None = Field(description="Which of the schedule's; null where somebody asked for it.")
    state: str = Field(description="running, done, failed or cancelled.")
    outcome: str | None = Field(
        description="promoted, ready, screening, unchanged or rolled_back; null until it is known."
    )
    reason: str = Field(description="Of the outcome, one sentence.")
    dry_run: bool
    item_heads: bool = Field(description="Whether heads of items learned, too.")
    actor: str
    seed: int
    window_from: datetime = Field(description="First moment that was learned from.")
    window_to: datetime = Field(description="The moment from which on nothing was.")
    production: str | None = Field(description="The generation that was live when it began.")
    generation: str | None = Field(description="The one that came of it.")
    error: str | None = Field(description="Why it failed.")
    started_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, run: NightlyRun) -> Self:
        """The night as shown."""
        return cls(**_fields(run))


class NightReport(NightRead):
    """One night with its steps and everything that was measured."""

    model_config = ConfigDict(json_schema_extra={"examples": [_WHOLE]})

    options: dict[str, Any] = Field(description="Plans and thresholds that were in use.")
    steps: list[StepRead]
    report: dict[str, Any] = Field(description="What each step measured: labels, propensities, arms, gates, seconds.")

    @classmethod
    def whole(cls, run: NightlyRun, steps: Sequence[NightlyStep]) -> Self:
        """The night as shown."""
        read = [StepRead.model_validate(step) for step in steps]
        return cls(**_fields(run), options=run.options, steps=read, report=run.report)


class NightList(BaseModel):
    """Nights, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"nights": [NIGHT_EXAMPLE]}]})

    nights: list[NightRead]


def _fields(run: NightlyRun) -> dict[str, Any]:
    same = set(NightRead.model_fields) - {"id", "production", "generation"}
    return {name: getattr(run, name) for name in same} | {
        "id": f"n{run.id}",
        "production": run.production_id and f"g{run.production_id}",
        "generation": run.generation_id and f"g{run.generation_id}",
    }
