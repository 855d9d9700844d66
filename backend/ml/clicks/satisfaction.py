"""How long a stay satisfies: the cut on dwell time that tells best who kept the product from who did not.

One cut for everything is known to be wrong (Kim et al., WSDM 2014), so each device and category has its own where it
has enough clicks. The cut t maximises Youden's J (Youden, Cancer 1950),

    J(t) = P(dwell ≥ t | kept) - P(dwell ≥ t | not kept)

over the whole seconds from 8 to 60; kept is what went into the cart or was bought. Whether it separates at all is
looked at, too: where P(kept | dwell ≥ t) is less than twice P(kept | dwell < t), time says little, and every click
counts that lasted longer than a bounce.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.labels import POGO_MS, SATISFIED_MS

LEAST_S, MOST_S = 8, 60
"""A cut is never outside these."""

ENOUGH_CLICKS = 500
"""Timed clicks from which on a segment has a cut of its own."""

ENOUGH_KEPT = 20
"""Of which so many led somewhere, and so many did not: fewer say nothing of the difference."""

LEAST_LIFT = 2.0
"""How much likelier a product is kept after a stay that satisfies than after another."""

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Segment:
    """A cut and what it rests on.

    Args:
        device: place of the device; None: all.
        category: place of the category; None: all.
        clicks: timed ones.
        kept: of those.
        cut_ms: what satisfies.
        lift: P(kept | satisfied) / P(kept | not); None where there is none to divide by.
    """

    device: int | None
    category: int | None
    clicks: int
    kept: int
    cut_ms: int
    lift: float | None


@dataclass(frozen=True)
class DwellCuts:
    """Cuts of each device and category.

    Args:
        cut_ms: (devices, categories) what satisfies.
        segments: those that a cut was found for, the whole first.
    """

    cut_ms: NDArray[np.int32]
    segments: tuple[Segment, ...]

    def to_json(self, devices: tuple[str, ...], categories: tuple[str, ...]) -> list[dict[str, Any]]:
        """The segments with names; a category or device that is null is all of them."""
        return [
            {
                "device": None if one.device is None else devices[one.device],
                "category": None if one.category is None else categories[one.category],
                "clicks": one.clicks,
                "kept": one.kept,
                "cut_s": one.cut_ms / 1000,
                "lift": one.lift,
            }
            for one in self.segments
        ]


class DwellCounts:
    """Counts of timed clicks by device, category, whether it was kept, and whole seconds: however many, it stays small.

    Args:
        devices: how many there are.
        categories: likewise.
    """

    def __init__(self, devices: int, categories: int) -> None:
        self._counts = np.zeros((devices, categories, 2, MOST_S + 1), dtype=np.int64)

    def add(
        self,
        device: NDArray[np.integer],
        category: NDArray[np.integer],
        dwell_ms: NDArray[np.integer],
        kept: NDArray[np.bool_],
    ) -> None:
        """Count n timed clicks; (n,) each."""
        seconds = np.minimum(dwell_ms // 1000, MOST_S)
        place = np.ravel_multi_index((device, category, kept.astype(np.int64), seconds), self._counts.shape)
        self._counts += np.bincount(place, minlength=self._counts.size).reshape(self._counts.shape)

    def cuts(self) -> DwellCuts:
        """The cut of each device and category: its own, else the device's, else that of all, else 30 s."""
        whole = _segment(None, None, self._counts.sum(axis=(0, 1)), SATISFIED_MS)
        found = [whole] if whole is not None else []
        devices, categories = self._counts.shape[:2]
        cut_ms = np.empty((devices, categories), dtype=np.int32)
        for device in range(devices):
            parent = _segment(device, None, self._counts[device].sum(axis=0))
            found += [parent] if parent is not None else []
            otherwise = parent or whole
            for category in range(categories):
                own = _segment(device, category, self._counts[device, category])
                found += [own] if own is not None else []
                best = own or otherwise
                cut_ms[device, category] = best.cut_ms if best is not None else SATISFIED_MS
        return DwellCuts(cut_ms, tuple(found))


def youden_cut(counts: Counts) -> int:
    """The whole second from 8 to 60 with the largest J, the shortest of several.

    Args:
        counts: (2, 61) clicks that were not kept, and kept, by whole seconds; the last is 60 and more.
    """
    longer = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]  # (2, 61) clicks of at least so many seconds
    share = longer / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return LEAST_S + int(np.argmax((share[1] - share[0])[LEAST_S:]))


def _segment(device: int | None, category: int | None, counts: Counts, alone_ms: int | None = None) -> Segment | None:
    """The cut of ``counts`` (2, 61); where they are too few ``alone_ms``, or None."""
    left, kept = (int(n) for n in counts.sum(axis=1))
    if left + kept < ENOUGH_CLICKS or min(left, kept) < ENOUGH_KEPT:
        return None if alone_ms is None else Segment(device, category, left + kept, kept, alone_ms, None)
    cut = youden_cut(counts)
    above, below = counts[:, cut:].sum(axis=1), counts[:, :cut].sum(axis=1)
    after, before = (float(side[1] / max(side.sum(), 1)) for side in (above, below))
    lift = after / before if before > 0 else None
    told = lift is None or lift >= LEAST_LIFT
    return Segment(device, category, left + kept, kept, 1000 * cut if told else POGO_MS, lift)
