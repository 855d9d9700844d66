"""One shopper's rows over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.access.dependencies import AdminCaller, SessionDep
from backend.events.models import Erasure
from backend.events.units import load_unit_hasher
from backend.privacy.erase import erase
from backend.privacy.export import export
from backend.privacy.rows import Theirs, find, hashed
from backend.privacy.schemas import ErasureOut, Erasures, ShopperIn, ShopperOut

router = APIRouter(tags=["privacy"])


@router.post("/v1/shoppers/export", operation_id="export_shopper", response_model=ShopperOut)
def export_shopper(_caller: AdminCaller, shopper: ShopperIn, session: SessionDep) -> dict[str, Any]:
    """Everything that is kept of one shopper. An id is sent in the body, and ends up in no log."""
    return export(session, _theirs(session, shopper))


@router.post("/v1/shoppers/erase", operation_id="erase_shopper")
def erase_shopper(caller: AdminCaller, shopper: ShopperIn, session: SessionDep) -> ErasureOut:
    """Delete everything that is kept of one shopper, and name the generations that had been learned from it.

    It cannot be undone. Asked again, it finds nothing more.
    """
    return ErasureOut.of(erase(session, _theirs(session, shopper), named=shopper.named, actor=caller.name))


@router.get("/v1/erasures", operation_id="list_erasures")
def list_erasures(
    _caller: AdminCaller,
    session: SessionDep,
    limit: Annotated[int, Query(ge=1, le=500, description="Most erasures listed.")] = 100,
) -> Erasures:
    """Erasures that were done, the newest first."""
    rows = session.scalars(select(Erasure).order_by(Erasure.id.desc()).limit(limit))
    found = [
        ErasureOut(erasure=row.id, counts=row.counts, generations=[f"g{one}" for one in row.generations], at=row.at)
        for row in rows
    ]
    return Erasures(erasures=found)


def _theirs(session: Session, shopper: ShopperIn) -> Theirs:
    return find(session, hashed(load_unit_hasher(session), **shopper.model_dump()))
