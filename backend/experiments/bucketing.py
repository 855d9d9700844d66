"""Hashes that send a unit to one of 10,000 buckets, and a bucket to an arm. Pure; docs/experiments.md has vectors.

A bucket depends on nothing but a salt and the unit's id, so every process, and a client that knows the salt, finds the
same one without asking. Two salts give independent buckets: that is what lets layers overlap (Tang et al., "Overlapping
Experiment Infrastructure", KDD 2010), and why entry into an experiment and the choice of its arm have a salt each.
"""

from collections.abc import Sequence
from hashlib import sha256
from itertools import accumulate
from typing import Literal

BUCKETS = 10_000
"""Buckets of each salt; traffic is given out in units of 0.01 %."""

Hashing = Literal["sha256", "fnv_v2"]
"""``sha256`` is ours; ``fnv_v2`` is what GrowthBook's clients compute with hashVersion 2, for those that bucket too."""

_WIDTH = 2**64 // BUCKETS
_FNV_OFFSET = 0x811C9DC5
_FNV_PRIME = 0x01000193


def bucket(salt: str, unit_id: str, hashing: Hashing = "sha256") -> int:
    """Bucket of ``unit_id`` under ``salt``, 0 to 9,999.

    ``sha256``: ``uint64_be(SHA-256(salt + 0x1F + unit_id)[0:8]) // floor(2**64 / 10000)``, at most 9,999, over UTF-8.
    ``fnv_v2``: ``fnv(str(fnv(salt + unit_id))) % 10000`` with 32-bit FNV-1a over UTF-16 code units, as in JavaScript.
    """
    if hashing == "fnv_v2":
        return _fnv1a_32(str(_fnv1a_32(salt + unit_id))) % BUCKETS
    digest = sha256(f"{salt}\x1f{unit_id}".encode("utf-8", "surrogatepass")).digest()
    # 2**64 is no multiple of 10,000: the last 1,616 values would be a bucket of their own
    return min(int.from_bytes(digest[:8], "big") // _WIDTH, BUCKETS - 1)


def arm_of(place: int, weights: Sequence[float]) -> int:
    """Index of the arm that the bucket ``place`` falls to: arms lie side by side, each as wide as its weight.

    Args:
        place: 0 to 9,999.
        weights: of the arms, in their order; not negative, one of them positive. Only their ratio counts.

    Raises:
        ValueError: the weights are none.
    """
    total = sum(weights)
    if not weights or min(weights) < 0 or not total > 0:
        raise ValueError(f"weights of arms: found {list(weights)}, expected none below 0 and one above")
    for arm, upto in enumerate(accumulate(weights)):
        if place * total < upto * BUCKETS:
            return arm
    return max(arm for arm, weight in enumerate(weights) if weight > 0)  # rounding left the last bucket over


def is_within(place: int, slices: Sequence[Sequence[int]]) -> bool:
    """Whether the bucket ``place`` lies in one of ``slices``, each ``[from, to)``."""
    return any(start <= place < end for start, end in slices)


def _fnv1a_32(given: str) -> int:
    value = _FNV_OFFSET
    units = given.encode("utf-16-le", "surrogatepass")
    for low, high in zip(units[::2], units[1::2], strict=True):
        value = ((value ^ (low | high << 8)) * _FNV_PRIME) & 0xFFFFFFFF
    return value
