"""The shape of events: what clients send, and what each of them was answered."""

from decimal import Decimal
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from backend.catalog.schemas import Currency, Instant, Line, ProductId

EVENTS_MAX = 500
"""Events in one request."""

BYTES_MAX = 512 * 2**10
"""Bytes of one request."""

ITEMS_MAX = 100
"""Products in one event."""

ATTRIBUTES_BYTES_MAX = 4 * 2**10
"""Bytes of an event's attributes, as JSON."""

EventType = Literal[
    "exposure",
    "click",
    "return",
    "dwell",
    "skip",
    "add_to_cart",
    "wishlist",
    "purchase",
    "rating",
    "like",
    "dislike",
    "box",
    "reformulation",
    "search",
]
Surface = Literal["web", "app", "voice"]

ATTRIBUTES_DEPTH_MAX = 32
"""Objects and lists within one another in an event's attributes."""

DAY_MS = 24 * 3600 * 1000


def _kept_attributes(value: dict[str, Any]) -> dict[str, Any]:
    """What PostgreSQL keeps as jsonb: no NUL, no half of a surrogate pair, no number that JSON has not."""
    try:
        said = orjson.dumps(value)
    except (TypeError, ValueError) as error:  # orjson.JSONEncodeError is a TypeError
        raise ValueError("an object of texts, numbers, lists and objects") from error
    if len(said) > ATTRIBUTES_BYTES_MAX:
        raise ValueError(f"an object of at most {ATTRIBUTES_BYTES_MAX} bytes as JSON, not {len(said)}")
    if b"\\u0000" in said:
        raise ValueError("texts without NUL")
    if said.count(b"{") + said.count(b"[") > ATTRIBUTES_DEPTH_MAX and _depth(value) > ATTRIBUTES_DEPTH_MAX:
        raise ValueError(f"an object of at most {ATTRIBUTES_DEPTH_MAX} levels")
    return value


def _depth(value: Any) -> int:
    """How many objects and lists lie within one another; level by level, for texts may nest deeper than calls may."""
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


def _rounded(value: float) -> float:
    return round(value, 4)  # PostgreSQL refuses a real of 1e-300


def _cents(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"))


Unit = Annotated[Line, Field(min_length=1, max_length=256)]
MessageId = Annotated[Line, Field(min_length=1, max_length=100)]
QueryId = Annotated[str, Field(max_length=32, pattern=r"^[A-Za-z0-9_-]+$")]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
VisibleShare = Annotated[Share, AfterValidator(_rounded)]
Milliseconds = Annotated[int, Field(strict=True, ge=0, le=DAY_MS)]
Columns = Annotated[int, Field(strict=True, ge=1, le=20)]
Quantity = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Paid = Annotated[Decimal, Field(ge=0, le=Decimal("9999999999.99"), allow_inf_nan=False), AfterValidator(_cents)]
EventAttributes = Annotated[dict[str, Any], AfterValidator(_kept_attributes)]

EVENT_EXAMPLE: dict[str, Any] = {
    "message_id": "m1",
    "type": "click",
    "query_id": "q_7kX2mfbTQ3qVn0aJ8rYw",
    "product_id": "p1",
    "shopper_id": "a7",
    "timestamp": "2026-11-21T09:00:00Z",
}

PURCHASE_EXAMPLE: dict[str, Any] = {
    "message_id": "m2",
    "type": "purchase",
    "shopper_id": "a7",
    "timestamp": "2026-11-21T09:12:00Z",
    "currency": "EUR",
    "items": [{"product_id": "p1", "query_id": "q_7kX2mfbTQ3qVn0aJ8rYw", "quantity": 1, "price": 12.5}],
}

_SAYS: dict[str, frozenset[str]] = {
    "exposure": frozenset({"product_id", "visible_share", "visible_ms", "items", "columns"}),
    "click": frozenset({"product_id"}),
    "return": frozenset({"product_id", "dwell_ms"}),
    "dwell": frozenset({"product_id", "dwell_ms"}),
    "skip": frozenset({"product_id"}),
    "add_to_cart": frozenset({"product_id", "quantity", "price", "currency"}),
    "wishlist": frozenset({"product_id", "quantity", "price", "currency"}),
    "purchase": frozenset({"items", "currency"}),
    "rating": frozenset({"product_id", "value", "stars"}),
    "like": frozenset({"product_id", "value"}),
    "dislike": frozenset({"product_id", "value"}),
    "box": frozenset({"product_id", "value", "image", "box"}),
    "reformulation": frozenset({"next_query_id"}),
    "search": frozenset(),
}
_MUST_SAY: dict[str, tuple[str, ...]] = {
    "exposure": (),
    "dwell": ("product_id", "dwell_ms"),
    "purchase": ("items",),
    "box": ("product_id", "box"),
    "reformulation": ("query_id", "next_query_id"),
    "search": (),
}
_A_PRODUCT = ("product_id",)
_SELDOM = frozenset(name for names in _SAYS.values() for name in names)
"""Fields that only some types have."""


class ItemIn(BaseModel):
    """One product of an exposure or of a purchase."""

    model_config = ConfigDict(extra="forbid")

    product_id: ProductId
    query_id: QueryId | None = Field(None, description="purchase: the list on which this product was found.")
    visible_share: VisibleShare | None = Field(
        None, description="exposure: the largest share of the card that was visible."
    )
    visible_ms: Milliseconds | None = Field(None, description="exposure: milliseconds it was visible.")
    quantity: Quantity | None = Field(None, description="purchase: how many.")
    price: Paid | None = Field(None, description="purchase: of one, after discounts.")


_OF_PURCHASES = frozenset({"query_id", "quantity", "price"})
_OF_EXPOSURES = frozenset({"visible_share", "visible_ms"})


class EventIn(BaseModel):
    """Something a shopper did with products of a list. Where they stood is known here, and not asked for."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EVENT_EXAMPLE, PURCHASE_EXAMPLE]})

    message_id: MessageId = Field(description="Unique; the same one sent again counts once.")
    type: EventType
    product_id: ProductId | None = Field(
        None, description="Needed, except for exposure with `items`, purchase, reformulation and search."
    )
    query_id: QueryId | None = Field(None, description="The list it was done on; without one it is unattributed.")
    shopper_id: Unit | None = Field(None, description="Anonymous id; kept only as a keyed hash.")
    user_id: Unit | None = Field(None, description="Of a signed-in shopper; kept only as a keyed hash.")
    session_id: Unit | None = Field(None, description="Kept only as a keyed hash.")
    timestamp: Instant | None = Field(None, description="When it happened; without one, when it arrived.")
    surface: Surface | None = None
    device: Annotated[Line, Field(min_length=1, max_length=16)] | None = None
    dwell_ms: Milliseconds | None = Field(
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
    visible_share: VisibleShare | None = Field(
        None, description="exposure: the largest share of the product's card that was visible."
    )
    visible_ms: Milliseconds | None = Field(
        None, description="exposure: milliseconds it was visible since the last such event of it."
    )
    columns: Columns | None = Field(None, description="exposure: how many cards stood side by side.")
    quantity: Quantity | None = Field(None, description="add_to_cart, wishlist: how many.")
    price: Paid | None = Field(None, description="add_to_cart, wishlist: of one.")
    currency: Currency | None = None
    items: Annotated[list[ItemIn], Field(min_length=1, max_length=ITEMS_MAX)] | None = Field(
        None, description="purchase: what was bought; exposure: several products at once, instead of `product_id`."
    )
    next_query_id: QueryId | None = Field(None, description="reformulation: the list that was asked for instead.")
    attributes: EventAttributes | None = Field(None, description="Whatever else; an object of at most 4 KB as JSON.")

    @model_validator(mode="after")
    def _says_what_its_type_says(self) -> Self:
        told = self.model_fields_set & _SELDOM
        for name in sorted(told - _SAYS[self.type]):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} with another type: a {self.type} has none")
        for name in _MUST_SAY.get(self.type, _A_PRODUCT):
            if getattr(self, name) is None:
                raise ValueError(f"a {self.type} with {name}")
        if self.type in _CHECKS:
            _CHECKS[self.type](self)
        return self

    @property
    def judgement(self) -> float | None:
        """The value in [-1, 1] that is kept."""
        if self.stars is not None:
            return (self.stars - 3) / 2
        unsaid = {"like": 1.0, "dislike": -1.0, "box": 1.0}
        return unsaid.get(self.type) if self.value is None else self.value


def _check_items(event: EventIn) -> None:
    kind, others = ("an exposure", _OF_PURCHASES) if event.type == "exposure" else ("a purchase", _OF_EXPOSURES)
    for item in event.items or ():
        for name in sorted(others & item.model_fields_set):
            if getattr(item, name) is not None:
                raise ValueError(f"items without {name}: those of {kind} have none")


def _check_exposure(event: EventIn) -> None:
    if (event.product_id is None) == (event.items is None):
        raise ValueError("an exposure with either product_id or items")
    if event.items is not None and (event.visible_share is not None or event.visible_ms is not None):
        raise ValueError("visible_share and visible_ms in each of the items, not beside them")
    _check_items(event)


def _check_rating(event: EventIn) -> None:
    if (event.value is None) == (event.stars is None):
        raise ValueError("a rating with either value or stars")


def _check_box(event: EventIn) -> None:
    if event.box is not None and not (event.box[0] < event.box[2] and event.box[1] < event.box[3]):
        raise ValueError("a box whose x1 is below x2 and whose y1 is below y2")


def _check_thumb(event: EventIn) -> None:
    if event.value is not None and (event.value <= 0 if event.type == "like" else event.value >= 0):
        raise ValueError("a value above 0 for a like, below 0 for a dislike")


_CHECKS = {
    "exposure": _check_exposure,
    "purchase": _check_items,
    "rating": _check_rating,
    "box": _check_box,
    "like": _check_thumb,
    "dislike": _check_thumb,
}
