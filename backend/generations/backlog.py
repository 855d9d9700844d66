"""How much work waits: what the rows say is due, counted."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.catalog.models import ProductImage
from backend.catalog.webhooks.repository import count_verdicts
from backend.generations.due import count_products_due
from backend.generations.models import Generation


def count_due(session: Session) -> dict[str, int]:
    """Deliveries to apply, images to fetch, those of both given up on, and products the live build does not hold."""
    states = select(ProductImage.state, func.count()).group_by(ProductImage.state)
    images = dict(session.execute(states).all())
    build = session.scalar(select(Generation.index_build_id).where(Generation.state == "live"))
    deliveries = count_verdicts(session)
    return {
        "deliveries": deliveries.get("waiting", 0) + deliveries.get("failed", 0),
        "parked_deliveries": deliveries.get("parked", 0),
        "images": images.get("pending", 0),
        "parked_images": images.get("parked", 0),
        "products": count_products_due(session, build),
    }
