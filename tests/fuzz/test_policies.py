"""Whatever policy passes its checks, a refinement by it leads to unit vectors, and never out of what numbers hold."""

import os

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from backend.ml.feedback.inputs import Feedback, Items, Query
from backend.ml.feedback.policy import Policy
from backend.ml.feedback.update import refine
from backend.search.refinement.policies import PolicyWrong, policy_with
from tests.fuzz.strategies import values

FUZZ = settings(
    max_examples=int(os.environ.get("MORELIKE_FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0, 1, 1e-300, 1e-9, 1e9, 1e38, 1e300])
STRATEGIES = st.sampled_from(["auto", "rocchio", "prf", "grf", "afs", "text", "likes"])
NORMS = st.sampled_from(["raw", "convex", "unit"])
MIX = st.fixed_dictionaries({}, optional={"alpha": NUMBERS, "beta": NUMBERS, "gamma": NUMBERS, "negative_norm": NORMS})
CHANGES = st.fixed_dictionaries(
    {"strategy": STRATEGIES},
    optional={
        "prf": MIX,
        "grf": MIX,
        "text": MIX,
        "tau": NUMBERS,
        "k": st.integers(1, 100),
        "likes": st.fixed_dictionaries({}, optional={"a": NUMBERS, "b": NUMBERS, "c": NUMBERS}),
        "explicit_mode": st.sampled_from(["average", "rocchio"]),
        "drift_budget": NUMBERS,
    },
)


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    found = rng.normal(size=shape)
    return (found / np.linalg.norm(found, axis=-1, keepdims=True)).astype(np.float32)


@FUZZ
@given(changes=CHANGES, seed=st.integers(0, 99), says=st.sets(st.sampled_from(["likes", "words"])))
def test_a_policy_of_any_numbers_is_refused_or_refines(changes: dict[str, object], seed: int, says: set[str]) -> None:
    try:
        policy = policy_with(Policy(), changes)
    except PolicyWrong:
        return
    rng = np.random.default_rng(seed)
    start, current = (Query(unit(rng, 8), unit(rng, 8)) for _ in range(2))
    shown = Items(unit(rng, 5, 8), unit(rng, 5, 8), np.full(5, np.nan))
    judged = Items(unit(rng, 3, 8), unit(rng, 3, 8), np.array([1.0, -0.5, 0.25]))
    feedback = Feedback(shown, judged if "likes" in says else None, unit(rng, 8) if "words" in says else None)
    outcome = refine(policy, start, current, feedback)
    for side in (outcome.query.image, outcome.query.caption):
        assert np.isfinite(side).all(), policy
        assert abs(float(np.linalg.norm(side)) - 1) < 1e-3
    assert -1.001 <= outcome.similarity_to_start <= 1.001


@FUZZ
@given(changes=st.dictionaries(st.sampled_from([*Policy.__dataclass_fields__, "unknown"]), values, max_size=3))
def test_whatever_is_called_a_policy_is_one_or_is_refused(changes: dict[str, object]) -> None:
    try:
        policy = policy_with(Policy(), changes)
    except PolicyWrong:
        return
    adapter = TypeAdapter(Policy)
    assert adapter.validate_json(adapter.dump_json(policy)) == policy
