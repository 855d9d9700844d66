"""What outlives the days of lists and events is forgotten after them."""

from datetime import timedelta

from sqlalchemy import func, text, update
from sqlalchemy.orm import Session

from backend.events.models import Erasure


def forget_erased_units(session: Session, days: float) -> None:
    """Let erasures older than ``days`` forget whose they were: no row or key of that time is left."""
    old = update(Erasure).where(Erasure.at < func.now() - timedelta(days=days), func.cardinality(Erasure.units) > 0)
    session.execute(old.values(units=[]))


def forget_pictures(session: Session, days: float) -> int:
    """Delete vectors older than ``days`` of pictures that no list was found by any more; how many. Reads every list."""
    return len(session.execute(_FORGET_PICTURES, {"age": timedelta(days=days)}).all())


# vectors of boxes are among them: they are of the catalogue's pictures, and encoded again where one is replayed
_FORGET_PICTURES = text(
    """
    DELETE FROM features f WHERE f.kind = 'query' AND f.created_at < now() - CAST(:age AS interval)
      AND NOT EXISTS (SELECT FROM served_lists l WHERE l.request ->> 'image_hash' = f.subject)
    RETURNING 1
    """
)
