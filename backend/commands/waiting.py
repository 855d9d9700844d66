"""Waiting, with a progress bar, until the worker has made what was written searchable."""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress
    from sqlalchemy.orm import Session, sessionmaker

LONGEST_WAIT_S = 1800.0
"""Without progress for this long the worker is taken to be stuck."""


def wait_until_indexed(sessions: "sessionmaker[Session]", progress: "Progress") -> None:
    """Show how many products can be searched, until all can be and each of their images was tried once.

    Images that are tried again later hold nobody up: their products are found by their captions meanwhile.

    Raises:
        Unavailable: nothing has moved for half an hour.
    """
    from backend.errors import Unavailable

    products, images = _waiting(sessions)
    total = _alive(sessions)
    shown = progress.add_task("Embedding and indexing", total=total)
    last, since = (products, images), time.monotonic()
    while products or images:
        progress.update(shown, completed=max(0, total - products))
        if (products, images) != last:
            last, since = (products, images), time.monotonic()
        if time.monotonic() - since > LONGEST_WAIT_S:
            raise Unavailable(
                "The worker makes no progress: see `morelike doctor` and logs/worker.log.",
                found=f"{products} products and {images} images waiting",
            )
        time.sleep(0.5)
        products, images = _waiting(sessions)
    progress.update(shown, completed=total)
    _calibrate(sessions)


def _calibrate(sessions: "sessionmaker[Session]") -> None:
    """Put scores on the scale of what was imported now, rather than at the next sweep."""
    from backend.db import session_scope
    from backend.generations.calibrate import recalibrate_when_outgrown

    with session_scope(sessions) as session:
        recalibrate_when_outgrown(session, actor="import")


def _alive(sessions: "sessionmaker[Session]") -> int:
    from sqlalchemy import func, select

    from backend.catalog.models import Product
    from backend.db import session_scope

    with session_scope(sessions) as session:
        return session.scalar(select(func.count()).select_from(Product).where(Product.deleted_at.is_(None))) or 0


def _waiting(sessions: "sessionmaker[Session]") -> tuple[int, int]:
    from backend.catalog.image_rows import count_untried
    from backend.db import session_scope
    from backend.generations.backlog import count_due

    with session_scope(sessions) as session:
        return count_due(session)["products"], count_untried(session)
