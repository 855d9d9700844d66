"""How much work waits: what the rows say is due, counted."""

from sqlalchemy import func, literal, select, union_all
from sqlalchemy.orm import Session

from backend.catalog.models import Product, ProductImage
from backend.generations.models import Generation, IndexRow


def count_due(session: Session) -> dict[str, int]:
    """Images to fetch, images given up on, and products whose newest revision the live build does not hold."""
    images = select(ProductImage.state, func.count()).where(ProductImage.state.in_(["pending", "parked"]))
    build = select(Generation.index_build_id).where(Generation.state == "live").scalar_subquery()
    unwritten = (
        select(literal("products"), func.count())
        .select_from(Product)
        .outerjoin(IndexRow, (IndexRow.product == Product.number) & (IndexRow.index_build_id == build))
        .where(func.coalesce(IndexRow.revision, 0) < Product.revision)
        .where(Product.deleted_at.is_(None) | IndexRow.product.is_not(None))
    )
    rows = session.execute(union_all(images.group_by(ProductImage.state), unwritten)).all()
    names = {"pending": "images", "parked": "parked_images", "products": "products"}
    return dict.fromkeys(names.values(), 0) | {names[what]: count for what, count in rows}
