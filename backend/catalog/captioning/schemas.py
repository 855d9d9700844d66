"""Captions and captioners as an administrator sees them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

CaptionState = Literal["pending", "ready", "parked"]

HASH = "5f0c6c1d9a3b4e21" * 4

_CAPTIONER: dict[str, Any] = {
    "id": "gpt-4o-mini@1f0a9c3b7d21",
    "kind": "openai",
    "model": "gpt-4o-mini",
    "prompts": {"first": ["Describe the product in this picture in one sentence."], "second": "Now say it shorter."},
    "pictures": 1,
    "current": True,
    "paused_until": None,
    "reason": None,
    "created_at": "2026-11-20T09:00:00Z",
    "counts": {"pending": 120, "ready": 4880, "parked": 3},
}
_ROW: dict[str, Any] = {
    "content_hash": HASH,
    "captioner_id": "gpt-4o-mini@1f0a9c3b7d21",
    "product_ids": ["p1"],
    "state": "ready",
    "text": "a small orange plush toy with big eyes",
    "turns": [
        {
            "prompt": "Describe the product in this picture in one sentence.",
            "answer": "A small orange plush toy with big eyes.",
        }
    ],
    "attempts": 1,
    "error": None,
    "due_at": "2026-11-20T09:00:00Z",
}

ContentHash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class CaptionCounts(BaseModel):
    """Pictures of products for sale that wait; all that were ever captioned; all that were given up on."""

    pending: int
    ready: int
    parked: int


class CaptionerOut(BaseModel):
    """A captioner that was used here, and how far it got."""

    id: str
    kind: str
    model: str
    prompts: dict[str, Any]
    pictures: int = Field(description="Pictures of a product that are captioned, the first ones; 0 is all.")
    current: bool
    paused_until: datetime | None
    reason: str | None = Field(description="Why it is paused.")
    created_at: datetime
    counts: CaptionCounts


class CaptionStatus(BaseModel):
    """The captioner in use, those used before, and what waits."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"current": _CAPTIONER, "others": [], "products_waiting": 0, "requests_today": 9760}]
        }
    )

    current: CaptionerOut | None = Field(description="null where captioning is off.")
    others: list[CaptionerOut]
    products_waiting: int = Field(description="Products whose pictures were not looked at yet as they are now.")
    requests_today: int = Field(description="Requests sent to the captioner's endpoint since 00:00 UTC.")


class TurnOut(BaseModel):
    """One prompt with its answer."""

    prompt: str
    answer: str


class CaptionRow(BaseModel):
    """What is said of one picture."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ROW]})

    content_hash: str = Field(description="Of the picture, which `/images/{content_hash}` shows.")
    captioner_id: str
    product_ids: list[str] = Field(description="Products that show it, at most twenty.")
    state: CaptionState
    text: str | None
    turns: list[TurnOut] = Field(description="The conversation that ended with the text.")
    attempts: int
    error: str | None
    due_at: datetime


class CaptionPage(BaseModel):
    """Pictures in the order of their content hashes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"captions": [_ROW], "cursor": None}]})

    captions: list[CaptionRow]
    cursor: str | None = Field(description="Continues with the next pictures; null on the last page.")


class CaptionRetry(BaseModel):
    """Which parked pictures to ask about again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"content_hashes": [HASH]}]})

    content_hashes: list[ContentHash] | None = Field(
        default=None, max_length=10_000, description="Pictures by content hash; every parked one where none are named."
    )


class CaptionsRetried(BaseModel):
    """How many pictures are due again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"retried": 1}]})

    retried: int
