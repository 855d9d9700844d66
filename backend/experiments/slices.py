"""Which buckets of a layer an experiment gets: those that no other one has, the lowest first. Pure."""

from collections.abc import Iterable, Sequence

from backend.experiments.bucketing import BUCKETS

Slice = tuple[int, int]
"""Buckets ``[from, to)``."""


def free(taken: Iterable[Sequence[int]]) -> list[Slice]:
    """The buckets that none of ``taken`` has, in ascending order. Slices of ``taken`` may touch, and lie anyhow."""
    found, start = [], 0
    for begins, ends in sorted((begins, ends) for begins, ends in taken):
        if begins > start:
            found.append((start, begins))
        start = max(start, ends)
    if start < BUCKETS:
        found.append((start, BUCKETS))
    return found


def allot(taken: Iterable[Sequence[int]], count: int) -> list[Slice] | None:
    """Slices of ``count`` free buckets, the lowest ones; None where there are fewer."""
    found: list[Slice] = []
    for start, end in free(taken):
        if count > 0:
            found.append((start, min(end, start + count)))
            count -= found[-1][1] - start
    return None if count > 0 else found


def width(slices: Iterable[Sequence[int]]) -> int:
    """How many buckets ``slices``, which share none, have."""
    return sum(end - start for start, end in slices)
