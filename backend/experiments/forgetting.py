"""What is known of units whose ids nothing leads to any more."""

from collections.abc import Sequence

from sqlalchemy import delete
from sqlalchemy.orm import Session

from backend.experiments.models import ExperimentOverride, StickyArm


def forget_units_of(session: Session, key_ids: Sequence[int]) -> None:
    """Delete arms of units that were hashed under keys that are gone: nobody can come back as one of them."""
    for key_id in key_ids:
        for table in (StickyArm, ExperimentOverride):
            session.execute(delete(table).where(table.unit.startswith(f"{key_id}:")))
