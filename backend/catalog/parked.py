"""Images as an administrator sees them: which were given up on and why, and trying them again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from backend.catalog.models import Product, ProductImage

ImageState = Literal["pending", "ready", "parked"]

_EXAMPLE: dict[str, Any] = {
    "id": 41,
    "product_id": "p1",
    "source": "https://shop.example/p1.jpg",
    "state": "parked",
    "attempts": 1,
    "error": "The server answered 404. Found: 404. Expected: 200.",
    "due_at": "2026-11-20T09:00:00Z",
}


class ImageRow(BaseModel):
    """One image of a product, how far it got and what went wrong last."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: int
    product_id: str
    source: str
    state: ImageState
    attempts: int
    error: str | None
    due_at: datetime


class ImagePage(BaseModel):
    """Images in the order of their ids."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"images": [_EXAMPLE], "total": 1, "next_after": None}]})

    images: list[ImageRow]
    total: int = Field(description="Images in this state.")
    next_after: int | None = Field(description="Send as `after` for the next page; null on the last.")


def list_images(session: Session, state: ImageState, *, after: int = 0, limit: int = 100) -> ImagePage:
    """Images in ``state`` with ids above ``after``; those of deleted products are left out."""
    alive = (ProductImage.state == state, Product.deleted_at.is_(None))
    joined = select(ProductImage, Product.id).join(Product, Product.number == ProductImage.product).where(*alive)
    rows = session.execute(joined.where(ProductImage.id > after).order_by(ProductImage.id).limit(limit + 1)).all()
    total = session.scalar(select(func.count()).select_from(joined.subquery())) or 0
    page = [
        ImageRow(
            id=image.id,
            product_id=product_id,
            source=image.source,
            state=image.state,
            attempts=image.attempts,
            error=image.error,
            due_at=image.due_at,
        )
        for image, product_id in rows[:limit]
    ]
    return ImagePage(images=page, total=total, next_after=page[-1].id if len(rows) > limit else None)


def retry_images(session: Session, ids: Sequence[int] | None = None) -> int:
    """Make parked images due again, as if never tried: those named, or all when none are. How many there were."""
    statement = update(ProductImage).where(ProductImage.state == "parked")
    if ids is not None:
        statement = statement.where(ProductImage.id.in_(ids))
    again = statement.values(state="pending", attempts=0, due_at=func.now(), error=None).returning(ProductImage.id)
    return len(session.scalars(again).all())
