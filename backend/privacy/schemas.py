"""One shopper over HTTP: who is meant, what is kept of them, what was deleted."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backend.events.schemas import Unit
from backend.privacy.erase import Erased

_LIST: dict[str, Any] = {
    "query_id": "q_1yfQ3qVn0aJ8rYw7kX2mfbTQ",
    "served_at": "2026-11-21T09:00:00+00:00",
    "generation_id": 7,
    "request": {"text": "orange plush", "filters": {}, "sort": "relevance"},
}
_EVENT: dict[str, Any] = {
    "type": "click",
    "query_id": "q_1yfQ3qVn0aJ8rYw7kX2mfbTQ",
    "product_id": "p1",
    "occurred_at": "2026-11-21T09:00:04+00:00",
}
_EXPORT: dict[str, Any] = {
    "lists": [_LIST],
    "pages": [{"query_id": "q_1yfQ3qVn0aJ8rYw7kX2mfbTQ", "first_position": 1, "product_ids": ["p1", "p2"]}],
    "events": [_EVENT],
    "sticky_arms": [{"experiment_id": 3, "arm": "g8", "since": "2026-11-20T12:00:00+00:00"}],
    "overrides": [],
    "bot_marks": [],
}
_COUNTS = {
    "events": 40,
    "pages": 13,
    "lists": 12,
    "sticky_arms": 1,
    "overrides": 0,
    "bot_marks": 0,
    "pictures": 1,
    "refused": 0,
}
_ERASURE: dict[str, Any] = {"erasure": 3, "counts": _COUNTS, "generations": ["g8"], "at": "2026-11-21T09:05:00Z"}


class ShopperIn(BaseModel):
    """Who is meant, by one or more of the ids that clients send."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"shopper_id": "a7"}]})

    user_id: Unit | None = Field(None, description="Of the account; takes in the browsers that it was used in.")
    shopper_id: Unit | None = Field(None, description="Of the browser or app.")
    session_id: Unit | None = None

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        if not self.named:
            raise ValueError("user_id, shopper_id or session_id")
        return self

    @property
    def named(self) -> list[str]:
        """The ids that were given."""
        return [one for one in (self.user_id, self.shopper_id, self.session_id) if one is not None]


class ShopperOut(BaseModel):
    """Everything that is kept of one shopper, oldest first, as rows of the tables that hold it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXPORT]})

    lists: list[dict[str, Any]] = Field(description="What was searched for, with the turns of refinements.")
    pages: list[dict[str, Any]] = Field(description="What was shown.")
    events: list[dict[str, Any]] = Field(description="What was done.")
    sticky_arms: list[dict[str, Any]] = Field(description="Arms of experiments that an account keeps.")
    overrides: list[dict[str, Any]] = Field(description="Arms that were given by hand.")
    bot_marks: list[dict[str, Any]] = Field(description="Why they were taken for a program.")


class ErasureOut(BaseModel):
    """That a shopper's rows were deleted."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ERASURE]})

    erasure: int
    counts: dict[str, int] = Field(description="Rows deleted, by table.")
    generations: list[str] = Field(
        description="Generations that had been learned from days of these rows; the next training learns without them."
    )
    at: datetime

    @classmethod
    def of(cls, done: Erased) -> Self:
        """What is answered."""
        named = [f"g{one}" for one in done.generations]
        return cls(erasure=done.erasure, counts=done.counts, generations=named, at=done.at)


class Erasures(BaseModel):
    """Erasures, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"erasures": [_ERASURE]}]})

    erasures: list[ErasureOut]
