import numpy as np
import pytest

from backend.ml.gates.steps import part_way
from backend.ml.heads import Head, QueryHeads

ROWS = np.random.default_rng(9).standard_normal((20, 6)).astype(np.float32)


def head(seed: int, *, hidden: int = 3, gamma: float = 1.0, alpha: float = 0.2) -> Head:
    rng = np.random.default_rng(seed)
    return Head(
        gain=1 + 0.1 * rng.standard_normal(6),
        shift=rng.standard_normal(6),
        inward=rng.standard_normal((hidden, 6)),
        bias=rng.standard_normal(hidden),
        outward=rng.standard_normal((6, hidden)),
        alpha=alpha,
        gamma=gamma,
    )


@pytest.mark.parametrize("live", [None, head(1, gamma=0.5)])
def test_no_part_of_the_way_is_what_is_live_and_all_of_it_what_was_trained(live: Head | None) -> None:
    before, after = QueryHeads(text=live), QueryHeads(text=head(2, gamma=0.75))
    nothing, everything = (part_way(before, after, share) for share in (0.0, 1.0))
    assert nothing is not None
    assert everything is not None
    np.testing.assert_allclose(nothing.adapt("text", ROWS), before.adapt("text", ROWS), atol=1e-5)
    np.testing.assert_allclose(everything.adapt("text", ROWS), after.adapt("text", ROWS), atol=1e-5)


def test_half_way_is_nearer_to_both_than_they_are_to_one_another() -> None:
    before = QueryHeads(text=head(1))
    after = QueryHeads(text=head(1).scaled(0.5), image=head(3))
    between = part_way(before, after, 0.5)
    assert between is not None
    assert between.image is not None
    far = np.abs(before.adapt("text", ROWS) - after.adapt("text", ROWS)).max()
    for end in (before, after):
        assert np.abs(between.adapt("text", ROWS) - end.adapt("text", ROWS)).max() < far


def test_between_heads_of_different_shapes_there_is_no_way() -> None:
    assert part_way(QueryHeads(text=head(1)), QueryHeads(text=head(2, hidden=4)), 0.5) is None
    assert part_way(QueryHeads(text=head(1)), QueryHeads(text=head(2, alpha=0.3)), 0.5) is None
