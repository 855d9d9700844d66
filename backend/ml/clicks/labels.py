"""Graded labels of what was shown: how much each product was what its query meant, as far as anybody can tell.

    0    in view and not clicked; or clicked and left at once: dwell below 5 s, come back from, and then another
         click of the list or another search within 60 s (pogo-sticking)
    0.3  clicked, and how long it was looked at is not known, or too short to satisfy
    1    clicked and looked at for as long as satisfies (a SAT click)
    2    put into the cart or on the wish list
    3    bought

What was never in view has no label: it is unknown, not bad.
"""

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]

POGO_MS = 5_000
"""A stay below this, come back from, is no answer."""

SATISFIED_MS = 30_000
"""The classic cut (Fox et al. 2005), where a shop has too few labelled clicks to find its own."""

UNSURE, SATISFYING, KEPT, BOUGHT = 0.3, 1.0, 2.0, 3.0


def graded(
    *,
    clicked: Bools,
    dwell_ms: NDArray[np.integer],
    timed: Bools,
    returned: Bools,
    went_on: Bools,
    kept: Bools,
    bought: Bools,
    satisfied_ms: NDArray[np.integer] | int = SATISFIED_MS,
) -> NDArray[np.float32]:
    """Labels of any one shape; those of products that were not in view mean nothing.

    Args:
        clicked: it was opened.
        dwell_ms: how long it was looked at, of which is known.
        timed: whether that is known.
        returned: they came back from it.
        went_on: another click of the list followed, or another search within 60 s.
        kept: it went into the cart or on the wish list.
        bought: it was bought.
        satisfied_ms: how long a stay satisfies, by device and category where known.
    """
    pogo = timed & (dwell_ms < POGO_MS) & returned & went_on
    label = np.where(clicked & ~pogo, UNSURE, 0.0)
    label = np.where(clicked & timed & (dwell_ms >= satisfied_ms), SATISFYING, label)
    label = np.where(kept, KEPT, label)
    return np.where(bought, BOUGHT, label).astype(np.float32)
