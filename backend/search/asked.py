"""What a request says of whoever asks, and how the list that answers it is put on record."""

from backend.events.query_ids import new_query_id
from backend.events.repository import ListServed
from backend.events.units import UnitHasher
from backend.experiments.assignment import Assignment, Context, Unit
from backend.generations.serving import Serving
from backend.search.lists import Ask
from backend.search.schemas import SearchRequest


def asked_by(request: SearchRequest) -> tuple[Unit, Context]:
    """Who asks, and what experiments may be limited by."""
    unit = Unit(request.shopper_id, request.session_id, request.user_id)
    return unit, Context(request.device, request.surface, request.query_type, request.locale, request.cohort)


def may_be_randomised(request: SearchRequest, ask: Ask) -> bool:
    """Whether the order of the answer is a ranking that is recorded, and more than the one product read out."""
    read_out = request.limit == 1 and "voice" in (request.query_type, request.surface)
    return not (request.partial or ask.browses or ask.sort != "relevance" or read_out)


def list_served(
    serving: Serving, request: SearchRequest, ask: Ask, hasher: UnitHasher, assignment: Assignment
) -> ListServed:
    """The list that ``serving`` answers ``request`` with, as it is recorded; of the shopper hashes only."""
    return ListServed(
        query_id=new_query_id(),
        generation_id=serving.generation_id,
        request=ask.to_json(),
        total=0,  # both are found when it is served
        total_is="estimate",
        shopper_id=hasher.hashed("shopper", request.shopper_id),
        session_id=hasher.hashed("session", request.session_id),
        surface=request.surface,
        device=request.device,
        query_type=request.query_type,
        experiments=dict(assignment.experiments),
        assignment=dict(assignment.logged),
        user_id=hasher.hashed("user", request.user_id),
        locale=request.locale,
        cohort=request.cohort,
        layout=request.layout,
        columns=request.columns,
    )
