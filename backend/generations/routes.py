"""Generations over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from backend.access.dependencies import AdminCaller, SessionDep
from backend.access.provided import provided
from backend.generations.repository import list_generations
from backend.generations.schemas import GenerationList, GenerationRead
from backend.generations.serving import ServingHolder

router = APIRouter(prefix="/v1/generations", tags=["generations"])

ServingHolderDep = Annotated[ServingHolder, Depends(provided(ServingHolder))]
"""How a route of this or a higher room asks for what serves."""


@router.get("", operation_id="list_generations")
def get_generations(
    _caller: AdminCaller,
    session: SessionDep,
    limit: Annotated[int, Query(ge=1, le=500, description="Most generations listed.")] = 50,
) -> GenerationList:
    """Generations and their states, the newest first."""
    rows = list_generations(session, limit)
    return GenerationList(generations=[GenerationRead.of(generation, build) for generation, build in rows])
