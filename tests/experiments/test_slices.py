"""Buckets of a layer are given out once each."""

from hypothesis import given
from hypothesis import strategies as st

from backend.experiments.bucketing import BUCKETS
from backend.experiments.slices import allot, free, width

TAKEN = st.sets(st.integers(0, 99), max_size=60).map(lambda hundreds: [(100 * h, 100 * h + 100) for h in hundreds])


def test_the_lowest_free_buckets_are_taken_in_as_many_slices_as_it_needs() -> None:
    assert free([]) == [(0, BUCKETS)]
    assert free([(500, 1000), (0, 500), (2000, 3000)]) == [(1000, 2000), (3000, BUCKETS)]
    assert allot([(0, 1000), (1500, 9000)], 700) == [(1000, 1500), (9000, 9200)]
    assert allot([(0, 9000)], 1001) is None
    assert allot([], 0) == []


@given(TAKEN, st.integers(0, BUCKETS))
def test_what_is_allotted_is_as_much_as_was_asked_for_and_nobody_elses(
    taken: list[tuple[int, int]], count: int
) -> None:
    found = allot(taken, count)
    if found is None:
        assert count > BUCKETS - width(taken)
    else:
        assert width(found) == count
        buckets = [b for start, end in (*found, *taken) for b in range(start, end)]
        assert len(buckets) == len(set(buckets))
