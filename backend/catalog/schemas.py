"""Products as a shop sends them and as they are read back."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

Availability = Literal["in_stock", "out_of_stock", "preorder", "backorder"]
Status = Literal["created", "updated", "unchanged", "stale", "deleted", "missing", "rejected"]

URL_MAX = 2000
"""Longest URL kept. It is part of a unique index, whose entries PostgreSQL limits to 2,704 bytes."""

IMAGES_MAX = 50
"""Most pictures one product has."""

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _storable(value: str) -> str:
    if "\x00" in value:
        raise ValueError("text without the NUL character, which PostgreSQL cannot keep")
    return value


def _on_one_line(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("text without control characters")
    return value


def _path(value: Any) -> Any:
    """``"Toys > Plush"`` is the same category as ``["Toys", "Plush"]``."""
    parts = value.split(">") if isinstance(value, str) else value
    if isinstance(parts, list | tuple) and all(isinstance(part, str) for part in parts):
        return [part.strip() for part in parts if part.strip()]
    return parts


def _kept_price(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.0001"))


def web_address(value: str) -> str:
    """``value`` as an ASCII URL: what is not ASCII is percent-encoded, what is neither http nor https refused."""
    _on_one_line(value)
    ascii_only = quote(value, safe="%:/?#[]@!$&'()*+,;=~-._|^`{}\\\"<>") if not value.isascii() else value
    ascii_only = ascii_only.replace(" ", "%20")
    try:
        parts = urlsplit(ascii_only)
    except ValueError as error:
        raise ValueError("an http:// or https:// URL") from error
    if parts.scheme.lower() not in ("http", "https") or not parts.netloc or len(ascii_only) > URL_MAX:
        raise ValueError(f"an http:// or https:// URL of at most {URL_MAX} characters")
    return ascii_only


def _link(value: str) -> str:
    return _on_one_line(value) if value.startswith("/") and not value.startswith("//") else web_address(value)


def _image_source(value: str) -> str:
    if re.fullmatch(r"blob:[0-9a-f]{64}", value):
        return value
    return web_address(value)


def _instant(value: datetime) -> datetime:
    if value < _EARLIEST:
        raise ValueError("a time after 1970")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a time before the year 10000") from error


Line = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_on_one_line)]
Prose = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_storable)]
ProductId = Annotated[Line, Field(min_length=1, max_length=256)]
Price = Annotated[Decimal, Field(ge=0, lt=10**10, allow_inf_nan=False), AfterValidator(_kept_price)]
Currency = Annotated[
    str, StringConstraints(strip_whitespace=True, to_upper=True, pattern=r"^[A-Za-z]{3}$"), Field(examples=["EUR"])
]
Instant = Annotated[AwareDatetime, AfterValidator(_instant)]
Scalar = (
    Annotated[bool, Field(strict=True)]
    | Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
    | Annotated[float, Field(strict=True, allow_inf_nan=False)]
    | Annotated[Prose, Field(max_length=1000)]
)
Attributes = Annotated[
    dict[Annotated[Line, Field(min_length=1, max_length=100)], Scalar | Annotated[list[Scalar], Field(max_length=250)]],
    Field(max_length=200),
]
Category = Annotated[
    list[Annotated[Line, Field(min_length=1, max_length=200)]], BeforeValidator(_path), Field(max_length=12)
]


class VariantIn(BaseModel):
    """One SKU of a product: a size, a colour."""

    model_config = ConfigDict(extra="forbid")

    sku: ProductId
    title: Annotated[Line, Field(max_length=500)] | None = None
    price: Price | None = None
    availability: Availability = "in_stock"
    attributes: Attributes = Field(default_factory=dict)


class ImageIn(BaseModel):
    """A picture: its address, or its bytes in base64."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_image_source)] | None = None
    data: Base64Bytes | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.url is None) == (self.data is None):
            raise ValueError("either url or data")
        return self


ImageField = Annotated[ImageIn, Field(json_schema_extra={"anyOf": [{"type": "string"}, {"type": "object"}]})]

PRODUCT_EXAMPLE: dict[str, Any] = {
    "id": "p1",
    "title": "Toy, Polyester, 5-inch",
    "description": "A soft friend for the sofa.",
    "brand": "Fable",
    "category": "Toys > Plush",
    "price": 12.5,
    "currency": "EUR",
    "availability": "in_stock",
    "url": "https://shop.example/p1",
    "attributes": {"material": ["polyester", "cotton"], "washable": True},
    "variants": [{"sku": "FAB-1-S", "title": "Small", "price": 12.5, "attributes": {"size": "S"}}],
    "images": ["https://shop.example/p1.jpg"],
    "captions": ["a small orange plush toy with big eyes"],
    "updated_at": "2026-11-20T09:00:00Z",
}


class ProductBody(BaseModel):
    """What a product is, but for its id.

    A product without a price or an availability of its own takes them from its variants: the lowest price, and
    the best availability.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [PRODUCT_EXAMPLE]})

    title: Annotated[Line, Field(min_length=1, max_length=1000)]
    description: Annotated[Prose, Field(max_length=20_000)] = ""
    brand: Annotated[Line, Field(max_length=256)] | None = None
    category: Category = Field(default_factory=list)
    price: Price | None = None
    currency: Currency | None = None
    availability: Availability | None = None
    url: Annotated[str, StringConstraints(strip_whitespace=True, max_length=URL_MAX), AfterValidator(_link)] | None = (
        None
    )
    attributes: Attributes = Field(default_factory=dict)
    variants: list[VariantIn] = Field(default_factory=list, max_length=2000)
    images: list[ImageField] = Field(default_factory=list, max_length=IMAGES_MAX)
    captions: list[Annotated[Prose, Field(min_length=1, max_length=1000)]] = Field(default_factory=list, max_length=50)
    updated_at: Instant | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if len({variant.sku for variant in self.variants}) != len(self.variants):
            raise ValueError("variants whose skus differ from one another")
        if self.price is None:
            self.price = min((v.price for v in self.variants if v.price is not None), default=None)
        if self.availability is None:
            self.availability = _best_availability([variant.availability for variant in self.variants])
        return self


class ProductIn(ProductBody):
    """A whole product. Sending it again replaces it; what is left out is empty."""

    id: ProductId


class ProductPut(ProductBody):
    """A whole product, whose id stands in the address; the body may repeat it."""

    id: ProductId | None = None


def _best_availability(states: Sequence[Availability]) -> Availability:
    order: tuple[Availability, ...] = ("in_stock", "preorder", "backorder", "out_of_stock")
    return next((state for state in order if state in states), "in_stock")


def is_in_stock(availability: str) -> bool:
    """Whether a product can be ordered: everything but what is sold out. ``in_stock`` in filters means this."""
    return availability != "out_of_stock"


class ProductDelete(BaseModel):
    """A deletion, as a line of a batch or a feed."""

    model_config = ConfigDict(extra="forbid")

    id: ProductId
    deleted: Literal[True]
    updated_at: Instant | None = None


@dataclass(frozen=True)
class Problem:
    """What is wrong with one field: the value found and what was expected."""

    field: str
    found: Any
    expected: str


@dataclass(frozen=True)
class Rejected:
    """A line that is no product: where it stands, the id it names if one can be read, and what is wrong."""

    line: int
    id: str | None
    problems: list[Problem]


@dataclass(frozen=True)
class Verdict:
    """What became of one product that was sent."""

    id: str
    status: Status
    detail: str | None = None


def problems(error: ValidationError) -> list[Problem]:
    """The findings of pydantic, one for each field: (field, found, expected), cut to what a person reads."""
    by_field: dict[str, Problem] = {}
    for finding in error.errors(include_url=False, include_context=False):
        field = _field(finding["loc"])
        said = finding["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        if field in by_field:  # each member of a union has its say
            said = f"{by_field[field].expected}, or {said}"
        absent = finding["type"] == "missing"  # its input is everything around it
        by_field[field] = Problem(field, None if absent else short(finding.get("input")), "a value" if absent else said)
    return list(by_field.values())


def _field(location: tuple[int | str, ...]) -> str:
    """``attributes.size`` without the names of the union's members that pydantic appends."""
    parts = [str(part) for part in location]
    if "attributes" in parts:
        parts = parts[: parts.index("attributes") + 2]
    return ".".join(parts)


def short(value: Any, limit: int = 200) -> Any:
    """``value`` as it can be shown in a report: text, cut at ``limit`` characters, or a number."""
    if value is None or isinstance(value, bool | int):
        return value
    try:
        text = value if isinstance(value, str) else repr(value)
    except RecursionError:
        return "an object of hundreds of levels"
    text = text.encode("utf-8", "replace").decode().replace("\x00", "\\0")
    return text if len(text) <= limit else text[: limit - 1] + "…"
