"""The shape of events: what clients send, and what each of them was answered."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backend.catalog.schemas import Instant, Line, ProductId

EVENTS_MAX = 500
"""Events in one request."""

BYTES_MAX = 512 * 2**10
"""Bytes of one request."""

EventType = Literal["click", "return", "dwell", "like", "dislike", "rating", "box"]
Status = Literal["accepted", "duplicate", "rejected"]
Code = Literal["invalid", "unknown_query_id", "too_old"]

DAY_MS = 24 * 3600 * 1000

Unit = Annotated[Line, Field(min_length=1, max_length=256)]
MessageId = Annotated[Line, Field(min_length=1, max_length=100)]
QueryId = Annotated[str, Field(max_length=32, pattern=r"^[A-Za-z0-9_-]+$")]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

EVENT_EXAMPLE: dict[str, Any] = {
    "message_id": "m1",
    "type": "click",
    "query_id": "q_7kX2mfbTQ3qVn0aJ8rYw",
    "product_id": "p1",
    "shopper_id": "a7",
    "timestamp": "2026-11-21T09:00:00Z",
}

_SAYS: dict[str, tuple[str, ...]] = {
    "click": (),
    "return": ("dwell_ms",),
    "dwell": ("dwell_ms",),
    "like": ("value",),
    "dislike": ("value",),
    "rating": ("value", "stars"),
    "box": ("value", "image", "box"),
}
_MUST_SAY = {"dwell": "dwell_ms", "box": "box"}
_ALL = ("value", "stars", "dwell_ms", "image", "box")


class EventIn(BaseModel):
    """Something a shopper did with a product of a list. Where the product stood is known here, and not asked for."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EVENT_EXAMPLE]})

    message_id: MessageId = Field(description="Unique; the same one sent again counts once.")
    type: EventType
    product_id: ProductId
    query_id: QueryId | None = Field(None, description="The list it was done on; without one it is unattributed.")
    shopper_id: Unit | None = Field(None, description="Kept only as a keyed hash.")
    session_id: Unit | None = Field(None, description="Kept only as a keyed hash.")
    timestamp: Instant | None = Field(None, description="When it happened; without one, when it arrived.")
    dwell_ms: Annotated[int, Field(strict=True, ge=0, le=DAY_MS)] | None = Field(
        None,
        description="dwell: milliseconds the product was visible since the last such event; return: how long away.",
    )
    value: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] | None = Field(
        None, description="like, dislike, rating, box: how much; a like and a box are 1, a dislike is -1 unless said."
    )
    stars: Annotated[int, Field(strict=True, ge=1, le=5)] | None = Field(None, description="rating: instead of value.")
    image: Annotated[int, Field(strict=True, ge=0, le=1000)] | None = Field(
        None, description="box: which of the product's pictures, from 0."
    )
    box: Annotated[list[Share], Field(min_length=4, max_length=4)] | None = Field(
        None, description="box: [x1, y1, x2, y2], 0 to 1 on that picture."
    )

    @model_validator(mode="after")
    def _says_what_its_type_says(self) -> Self:
        for name in _ALL:
            if getattr(self, name) is not None and name not in _SAYS[self.type]:
                raise ValueError(f"{name} with another type: a {self.type} has none")
        must = _MUST_SAY.get(self.type)
        if must is not None and getattr(self, must) is None:
            raise ValueError(f"a {self.type} with {must}")
        if self.type == "rating" and (self.value is None) == (self.stars is None):
            raise ValueError("a rating with either value or stars")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError("a box whose x1 is below x2 and whose y1 is below y2")
        if self.value is not None and (
            (self.type == "like" and self.value <= 0) or (self.type == "dislike" and self.value >= 0)
        ):
            raise ValueError("a value above 0 for a like, below 0 for a dislike")
        return self

    @property
    def judgement(self) -> float | None:
        """The value in [-1, 1] that is kept."""
        if self.stars is not None:
            return (self.stars - 3) / 2
        unsaid = {"like": 1.0, "dislike": -1.0, "box": 1.0}
        return unsaid.get(self.type) if self.value is None else self.value


class EventVerdict(BaseModel):
    """What became of one event. ``code`` and ``detail`` say why one was rejected."""

    message_id: str | None
    status: Status
    code: Code | None = None
    detail: str | None = None


class EventVerdicts(BaseModel):
    """What became of each event, in the order in which they were sent."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "accepted": 1,
                    "results": [
                        {"message_id": "m1", "status": "accepted", "code": None, "detail": None},
                        {
                            "message_id": "m2",
                            "status": "rejected",
                            "code": "unknown_query_id",
                            "detail": "no list has this id, or it is no longer kept: found 'q_gone'",
                        },
                    ],
                }
            ]
        }
    )

    accepted: int = Field(description="How many were new and are kept.")
    results: list[EventVerdict]
