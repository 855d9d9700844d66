"""Smaller steps from what is live towards what was trained: as far as the log can vouch for.

Heads that are trained on from those in use lie in one valley with them, so what is between their weights works as well
(WiSE-FT, Wortsman et al., CVPR 2022, arXiv 2109.01903). A night that may not go all the way goes a part of it.
"""

import numpy as np

from backend.ml.heads import Head, QueryHeads

STEPS = (0.5, 0.25)
"""Shares of the way that are offered beside all of it."""


def part_way(live: QueryHeads, trained: QueryHeads, share: float) -> QueryHeads | None:
    """Heads at ``share`` of the way from ``live`` to ``trained``, 0 to 1; None where there is no way between them.

    There is none where both have other shapes or blends: then they were not trained on from one another.
    """
    sides = [(live.text, trained.text), (live.image, trained.image)]
    found = []
    for before, after in sides:
        if before is not None and after is not None and not _alike(before, after):
            return None
        found.append(_between(before, after, share))
    return QueryHeads(*found)


def _alike(before: Head, after: Head) -> bool:
    return before.inward.shape == after.inward.shape and before.alpha == after.alpha


def _between(before: Head | None, after: Head | None, share: float) -> Head | None:
    """Without a head there is the identity, which is any head scaled to 0."""
    if before is None or after is None:
        return before.scaled(1 - share) if before is not None else after and after.scaled(share)

    def mixed(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        return np.asarray((1 - share) * ours + share * theirs, dtype=np.float32)

    return Head(
        gain=mixed(before.gain, after.gain),
        shift=mixed(before.shift, after.shift),
        inward=mixed(before.inward, after.inward),
        bias=mixed(before.bias, after.bias),
        outward=mixed(before.gamma * before.outward, after.gamma * after.outward),
        alpha=after.alpha,
    )
