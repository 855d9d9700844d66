"""What is tried on a search: which generation answers it, and which coins change the order."""

from collections.abc import Callable

from backend.errors import AppError
from backend.experiments.assignment import LIVE, Assigner, Assignment
from backend.generations.serving import Serving, ServingHolder
from backend.logs import get_logger
from backend.search.asked import asked_by, may_be_randomised
from backend.search.candidates import DEPTH
from backend.search.first_page import Offered, as_listed
from backend.search.lists import Ask, Listed, Ranking
from backend.search.randomiser import Randomiser
from backend.search.schemas import SearchRequest

log = get_logger(__name__)

Toss = Callable[[Listed, int], Offered]
"""What is made of an order, for a page of so many, before it is shown."""


class Trials:
    """Looks up what a search is assigned to. Safe to share between threads.

    Args:
        assigner: who sees what.
        holder: generations that serve here.
        ranking: orders, for the other list of a draft.
        randomiser: tosses the coins.
    """

    def __init__(self, assigner: Assigner, holder: ServingHolder, ranking: Ranking, randomiser: Randomiser) -> None:
        self._assigner = assigner
        self._holder = holder
        self._ranking = ranking
        self._randomiser = randomiser

    def assigned(self, request: SearchRequest) -> tuple[Assignment, Serving]:
        """What a search is assigned to, and what answers it."""
        assignment = self._assigner.assign(*asked_by(request))
        wanted = [one for one in (assignment.generation_id, assignment.against) if one is not None]
        if any(self._holder.arm(one) is None for one in wanted):
            # an arm that this process does not hold yet, or any more: who is served something else is not in it
            return LIVE, self._holder.current
        return assignment, self._holder.arm(assignment.generation_id) or self._holder.current

    def toss(self, request: SearchRequest, ask: Ask, assignment: Assignment) -> Toss:
        """What coins make of the order: of at most one randomiser, and only where positions tell something."""
        if not may_be_randomised(request, ask):
            return as_listed
        against = self._holder.arm(assignment.against) if assignment.against is not None else None
        if against is not None:
            other = against
            return lambda listed, limit: self._drafted(listed, limit, ask, other)
        policy = assignment.exploration
        if policy is None:
            return as_listed
        return lambda listed, limit: self._randomiser.explored(listed, limit, policy)

    def _drafted(self, listed: Listed, limit: int, ask: Ask, against: Serving) -> Offered:
        try:
            other = self._ranking.listed(against, ask, need=limit, depth=DEPTH)
        except AppError as error:  # such as a picture that only the other encoder has seen: nobody's search fails of it
            log.warning("not_interleaved", against=against.name, error=error.sentence())
            return as_listed(listed, limit)
        return self._randomiser.drafted(listed, other, limit, against.name)
