"""Deliveries as they are shown."""

from sqlalchemy.orm import Session

from backend.catalog.webhooks.models import Delivery
from backend.catalog.webhooks.repository import count_verdicts, list_rows
from backend.catalog.webhooks.schemas import DeliveryPage, DeliveryRead, DeliveryRow, DeliveryVerdict
from backend.errors import NotFound


def list_deliveries(
    session: Session,
    *,
    source: str | None = None,
    verdict: DeliveryVerdict | None = None,
    product: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> DeliveryPage:
    """A page of deliveries, newest first; ``before`` continues one."""
    rows = list_rows(session, source=source, verdict=verdict, product=product, before=before, limit=limit + 1)
    page = [DeliveryRow.model_validate(row) for row in rows[:limit]]
    counts = DeliveryPage.model_validate({"deliveries": [], "counts": count_verdicts(session), "cursor": None}).counts
    return DeliveryPage(deliveries=page, counts=counts, cursor=page[-1].id if len(rows) > limit else None)


def find_delivery(session: Session, number: int) -> DeliveryRead:
    """One delivery with what it said.

    Raises:
        NotFound: there is no such delivery, or it has been forgotten.
    """
    row = session.get(Delivery, number)
    if row is None:
        raise NotFound("there is no such delivery", found=number)
    shown = DeliveryRow.model_validate(row).model_dump()
    body = None if row.body is None else row.body.decode("utf-8", "replace")
    return DeliveryRead.model_validate(shown | {"headers": row.headers, "body": body})
