"""Chances of many comparisons at once, adjusted so that each is still read against one level."""

from collections.abc import Sequence

import numpy as np


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted so that the chance of any false alarm among them stays below the level (Holm, 1979)."""
    given = np.asarray(p, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    scaled = given[order] * (len(given) - np.arange(len(given)))
    return _restored(np.maximum.accumulate(scaled) if len(given) else scaled, order)


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjusted so that the expected share of false alarms among those called stays below the level (1995)."""
    given = np.asarray(p, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    scaled = given[order] * len(given) / np.arange(1, len(given) + 1)
    return _restored(np.minimum.accumulate(scaled[::-1])[::-1] if len(given) else scaled, order)


def _restored(adjusted: np.ndarray, order: np.ndarray) -> list[float]:
    found = np.empty_like(adjusted)
    found[order] = np.minimum(adjusted, 1.0)
    return [float(one) for one in found]
