"""Images as an administrator sees them: which were given up on and why, and trying them again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from backend.catalog.models import Caption, Product, ProductImage

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


class ImageRetry(BaseModel):
    """Which parked images to try again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"ids": [41]}]})

    ids: list[Annotated[int, Field(ge=1, lt=2**63)]] | None = Field(
        default=None, max_length=10_000, description="Images by id; every parked image where none are named."
    )


class ImagesRetried(BaseModel):
    """How many images are due again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"retried": 1}]})

    retried: int


class ImagePage(BaseModel):
    """Images in the order of their ids."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"images": [_EXAMPLE], "total": 1, "cursor": None}]})

    images: list[ImageRow]
    total: int = Field(description="Images in this state.")
    cursor: int | None = Field(description="Continues with the next images; null on the last page.")


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
    return ImagePage(images=page, total=total, cursor=page[-1].id if len(rows) > limit else None)


def retry_images(session: Session, ids: Sequence[int] | None = None) -> int:
    """Make parked images due again, as if never tried: those named, or all when none are. How many there were."""
    statement = update(ProductImage).where(ProductImage.state == "parked")
    if ids is not None:
        statement = statement.where(ProductImage.id.in_(ids))
    again = statement.values(state="pending", attempts=0, due_at=func.now(), error=None).returning(ProductImage.id)
    return len(session.scalars(again).all())


def count_untried(session: Session) -> int:
    """Images of products for sale that nobody has tried to get yet."""
    untried = (ProductImage.state == "pending", ProductImage.attempts == 0, Product.deleted_at.is_(None))
    joined = select(func.count()).select_from(ProductImage).join(Product, Product.number == ProductImage.product)
    return session.scalar(joined.where(*untried)) or 0


def count_vectors(session: Session) -> int:
    """Vectors that the catalogue needs in an index: one for each image that was not given up on, and each caption."""
    alive = select(Product.number).where(Product.deleted_at.is_(None))
    images = select(func.count()).select_from(ProductImage).where(ProductImage.state != "parked")
    captions = select(func.count()).select_from(Caption)
    counts = (
        images.where(ProductImage.product.in_(alive)).scalar_subquery(),
        captions.where(Caption.product.in_(alive)).scalar_subquery(),
    )
    return session.scalar(select(counts[0] + counts[1])) or 0
