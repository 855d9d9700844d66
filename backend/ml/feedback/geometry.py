"""Directions on the unit sphere."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Wide = NDArray[np.float64]
"""Computed with at double precision; what leaves this package is float32 again."""


def unit(vectors: Floats) -> Wide:
    """``vectors`` (..., d) at length 1; one without a direction stays as it is."""
    wide = np.asarray(vectors, dtype=np.float64)
    length = np.sqrt(np.add.reduce(wide * wide, axis=-1, keepdims=True))  # as np.linalg.norm, which takes twice as long
    return np.asarray(wide / np.where(length > 1e-9, length, 1.0))


def cosine(one: Floats, other: Floats) -> float:
    """Cosine of two vectors (d,); NaN where one of them is nothing."""
    return float(np.clip(unit(one) @ unit(other), -1.0, 1.0))


def known(vectors: Floats) -> NDArray[np.bool_]:
    """(n,) which rows of ``vectors`` (n, d) stand for something."""
    return np.asarray(~np.isnan(vectors).any(axis=-1))


def mean_known(vectors: Floats) -> Wide | None:
    """Mean (d,) of those rows of ``vectors`` (n, d) that stand for something; None where none does."""
    rows = np.asarray(vectors[known(vectors)], dtype=np.float64)
    return np.asarray(rows.mean(axis=0)) if len(rows) else None


def softmax(values: Floats) -> Wide:
    """Weights (n,) that sum to 1."""
    wide = np.asarray(values, dtype=np.float64)
    powers = np.exp(wide - wide.max())
    return np.asarray(powers / powers.sum())


def hold_within(vector: Floats, center: Floats, least: float) -> tuple[Wide, bool]:
    """``vector`` (d,), brought along the great circle to where its cosine to ``center`` is exactly ``least``.

    One that is within stays, and the second value is False. Exact opposites share no great circle of their own: the
    center is returned.
    """
    center, vector = unit(center), unit(vector)
    similarity = float(center @ vector)
    if similarity >= least or np.isnan(similarity):
        return vector, False
    aside = vector - similarity * center
    length = float(np.linalg.norm(aside))
    if length < 1e-9:
        return center, True
    return unit(least * center + np.sqrt(1.0 - least**2) * aside / length), True
