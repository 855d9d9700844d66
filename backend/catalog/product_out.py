"""Products as they are read back."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from backend.catalog.schemas import PRODUCT_EXAMPLE, Availability


class VariantOut(BaseModel):
    """One SKU as kept."""

    sku: str
    title: str | None
    price: float | None
    availability: Availability
    attributes: dict[str, Any]


class ImageOut(BaseModel):
    """A picture as kept: where it came from, how far it got, and where this server shows it."""

    source: str
    state: Literal["pending", "ready", "parked"]
    content_hash: str | None
    url: str | None = Field(description="Path of a thumbnail on this server once the image is ready.")


class ProductOut(BaseModel):
    """A product as kept."""

    model_config = ConfigDict(json_schema_extra={"examples": [PRODUCT_EXAMPLE | {"category": ["Toys", "Plush"]}]})

    id: str
    title: str
    description: str
    brand: str | None
    category: list[str]
    price: float | None
    currency: str | None
    availability: Availability
    url: str | None
    attributes: dict[str, Any]
    variants: list[VariantOut]
    images: list[ImageOut]
    captions: list[str]
    revision: int
    updated_at: datetime
