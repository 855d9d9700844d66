"""Deliveries as administrators see them."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DeliveryVerdict = Literal[
    "waiting", "applied", "unchanged", "stale", "duplicate", "ignored", "rejected", "failed", "parked"
]
DeliveryId = Annotated[int, Field(ge=1, lt=2**63)]

EXAMPLE: dict[str, Any] = {
    "id": 812,
    "source": "shopify",
    "topic": "products/update",
    "key": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
    "verdict": "applied",
    "detail": None,
    "products": ["788032119674292922"],
    "results": [{"id": "788032119674292922", "status": "updated", "detail": None}],
    "size": 4210,
    "received_at": "2026-11-20T09:00:01Z",
    "triggered_at": "2026-11-20T09:00:00Z",
    "processed_at": "2026-11-20T09:00:01Z",
    "attempts": 1,
    "due_at": None,
    "repeats": 0,
    "repeated_at": None,
}


class ProductResult(BaseModel):
    """What became of one product that a delivery names."""

    id: str
    status: str
    detail: str | None = None


class DeliveryRow(BaseModel):
    """One delivery, without its body."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [EXAMPLE]})

    id: int
    source: str
    topic: str
    key: str = Field(description="The platform's name of the delivery; repetitions share it.")
    verdict: DeliveryVerdict
    detail: str | None = Field(description="Why, where there is something to say.")
    products: list[str] = Field(description="Products it names, once it was read.")
    results: list[ProductResult]
    size: int = Field(description="Bytes of the body.")
    received_at: datetime
    triggered_at: datetime | None = Field(description="When it happened, by the shop's clock.")
    processed_at: datetime | None
    attempts: int
    due_at: datetime | None = Field(description="When it will be tried; null once nothing is left to do.")
    repeats: int = Field(description="How often it was delivered again.")
    repeated_at: datetime | None

    @model_validator(mode="after")
    def _due_while_open(self) -> Self:
        if self.verdict not in ("waiting", "failed"):
            self.due_at = None
        return self


class DeliveryRead(DeliveryRow):
    """One delivery with what it said."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                EXAMPLE | {"headers": {"x-shopify-topic": "products/update"}, "body": '{"id": 788032119674292922, …}'}
            ]
        },
    )

    headers: dict[str, str] = Field(description="The platform's own headers, without the signature.")
    body: str | None = Field(description="The body as text; null where it was rejected and not kept.")


class DeliveryPage(BaseModel):
    """Deliveries, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"deliveries": [EXAMPLE], "counts": {"applied": 1, "parked": 0}, "cursor": None}]
        }
    )

    deliveries: list[DeliveryRow]
    counts: dict[DeliveryVerdict, int] = Field(description="How many of all that are kept have each verdict.")
    cursor: int | None = Field(description="Continues with older ones; null on the last page.")


class Replay(BaseModel):
    """Which deliveries to apply again: by id, or all of one verdict."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"ids": [812]}, {"verdict": "parked"}]})

    ids: list[DeliveryId] | None = Field(default=None, max_length=10_000)
    verdict: Literal["applied", "unchanged", "stale", "duplicate", "ignored", "failed", "parked"] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.ids is None) == (self.verdict is None):
            raise ValueError("either ids or verdict")
        return self


class Replayed(BaseModel):
    """How many deliveries are due again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"replayed": 1}]})

    replayed: int


class ReceiptOut(BaseModel):
    """What became of a delivery at the door; its products are written behind the answer."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"outcome": "accepted", "id": 812}]})

    outcome: Literal["accepted", "duplicate", "greeted"]
    id: int | None
