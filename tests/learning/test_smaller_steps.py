"""Parts of the way of a night's arms begin where their arms did."""

from dataclasses import replace

from backend.learning.gates import with_smaller_steps
from backend.ml.click_training.plan import TrainedArm
from backend.ml.heads import QueryHeads
from benchmarks.planted_night import problem_of
from tests.fixtures.heads import a_head
from tests.ml.click_training.shop import shop

PLANTED = shop(4, queries=40, products=60)
DIM = PLANTED.queries.shape[1]


def test_what_began_from_the_identity_is_never_mixed_with_what_is_live() -> None:
    """After an erasure what is live must be forgotten: the same steps come of any heads that are live."""
    problem = problem_of(PLANTED, lists=50, seed=4)
    fresh = TrainedArm("challenger", QueryHeads(a_head(DIM, 1)), None, 1.0, (), {})
    onward = replace(fresh, name="ips")
    found = []
    for live in (QueryHeads(), QueryHeads(a_head(DIM, 2))):
        arms = with_smaller_steps(replace(problem, production=live), [fresh, onward])
        found.append({arm.name: arm.heads.adapt("text", PLANTED.queries) for arm in arms})
    first, other = found
    for share in ("0.5", "0.25"):
        assert (first[f"challenger-{share}"] == other[f"challenger-{share}"]).all()
        assert (first[f"ips-{share}"] != other[f"ips-{share}"]).any()
