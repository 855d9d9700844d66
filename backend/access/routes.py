"""The audit over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query

from backend.access.audit import AuditPage, read_entries
from backend.access.dependencies import AdminCaller, SessionDep

router = APIRouter(tags=["access"])


@router.get("/v1/audit", operation_id="list_audit_entries")
def list_audit_entries(
    _caller: AdminCaller,
    session: SessionDep,
    limit: Annotated[int, Query(ge=1, le=500, description="Most entries listed.")] = 100,
    cursor: Annotated[int | None, Query(ge=1, lt=2**63, description="Cursor of the page before.")] = None,
) -> AuditPage:
    """What administrators and commands changed, the newest first."""
    return read_entries(session, limit=limit, before=cursor)
