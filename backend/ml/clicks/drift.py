"""Propensities from night to night: what moves further than chance explains is not believed at once."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from backend.ml.clicks.context_propensities import ContextEstimate, ContextPropensities

GREATEST = 0.25
"""How far a rank may move from the median of the nights before, as a share."""

NIGHTS = 7
"""Nights that the median is of: what has really changed is believed after half of them."""


def steady(now: ContextEstimate, previous: Sequence[ContextPropensities]) -> ContextEstimate:
    """``now``, or the median of ``previous`` (the last seven, oldest first) where it has drifted or may not be used.

    Attention does not change over night: a curve that does is drifting demand, a broken client or a flood.
    """
    nights = [one for night in previous[-NIGHTS:] for one in night.contexts if one.context == now.context]
    before = [one for one in nights if one.source != "prior" and len(one.estimated) == len(now.theta)]
    if not before:
        return now
    median = np.median([one.estimated for one in before], axis=0)
    theta, low, high = np.asarray(now.theta), np.asarray(now.low), np.asarray(now.high)
    apart = np.abs(theta / median - 1.0) * np.asarray(now.connected)
    apart[(low <= median) & (median <= high)] = 0.0
    if now.trusted and apart.max() <= GREATEST:
        return now
    reasons = now.reasons
    if now.trusted:
        rank, most = int(apart.argmax()) + 1, f"{apart.max():.0%}"
        said = f"found rank {rank} {most} from the median of {len(before)} nights: expected at most {GREATEST:.0%}"
        reasons = (*reasons, said)
    last = before[-1]
    width = np.asarray(last.high) / np.asarray(last.theta), np.asarray(last.low) / np.asarray(last.theta)
    return replace(
        now,
        source="kept",
        trusted=True,
        reasons=reasons,
        theta=tuple(median.tolist()),
        low=tuple((median * width[1]).tolist()),
        high=tuple((median * width[0]).tolist()),
        estimated=now.estimated if now.trusted else tuple(median.tolist()),
    )
