"""What a product's chance to be clicked is when looked at: smoothed clicks, and a regression where there are few.

    gamma(q, d) = (clicks + s base(q, d)) / (looks + s),    base = sigmoid(a + b * frozen score + c * item rate)

looks is the sum of propensities of the rows in view, s how many looks the base counts as. Each fold's model is made
from the other fold's shoppers: a model that has seen the clicks it corrects corrects nothing.
"""

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.counterfactual import Log

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STRENGTH = 8.0
"""Looks that the base counts as."""

_RIDGE = 1.0
"""Keeps coefficients finite where hardly anything was clicked."""

_STEPS = 25


def relevance_model(log: Log, product: Ints, frozen: Floats, *, strength: float = STRENGTH) -> Floats:
    """(2, p) gamma of each pair for the impressions of each fold, 0 to 1.

    Args:
        log: the impressions.
        product: (p,) of each pair.
        frozen: (p,) the score that the frozen encoder gives, of any scale.
        strength: s.
    """
    found = np.empty((2, len(log.rho)))
    for fold in (0, 1):
        others = log.fold[log.impression] != fold
        clicks, looks = _sums(log, others)
        base = _base(clicks, looks, product, frozen)
        found[fold] = np.minimum((clicks + strength * base) / (looks + strength), 1.0)
    return found


def _sums(log: Log, rows: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """(p,) clicks and looks of these rows."""
    size = len(log.rho)
    return (
        np.bincount(log.pair[rows], log.clicked[rows], size).astype(np.float64),
        np.bincount(log.pair[rows], log.alpha[rows], size).astype(np.float64),
    )


def _base(clicks: Floats, looks: Floats, product: Ints, frozen: Floats) -> Floats:
    """(p,) of the regression, fitted to pairs that were looked at."""
    seen = looks > 0
    if not seen.any() or clicks.sum() == 0:
        return np.full(len(looks), 0.5 / (1.0 + float(looks.sum())))
    features = np.stack([np.ones(len(looks)), _standard(frozen, seen), _item_rate(clicks, looks, product)], axis=1)
    weights = logistic(features[seen], clicks[seen], looks[seen])
    return _sigmoid(features @ weights)


def _item_rate(clicks: Floats, looks: Floats, product: Ints) -> Floats:
    """(p,) log odds of a click on the product for other queries than the pair's own, smoothed to the average's."""
    _, number = np.unique(product, return_inverse=True)
    average = clicks.sum() / max(float(looks.sum()), 1e-12)
    other_clicks = np.bincount(number, clicks)[number] - clicks
    other_looks = np.bincount(number, looks)[number] - looks
    rate = (other_clicks + STRENGTH * average) / (other_looks + STRENGTH)
    rate = np.clip(rate, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(rate / (1 - rate)) - np.log(average / max(1 - average, 1e-4)))


def _standard(values: Floats, seen: NDArray[np.bool_]) -> Floats:
    spread = float(values[seen].std())
    return np.asarray((values - values[seen].mean()) / (spread if spread > 1e-9 else 1.0))


def logistic(features: Floats, successes: Floats, trials: Floats) -> Floats:
    """Coefficients (f,) of a logistic regression of shares by Newton's method, the first being the intercept.

    Args:
        features: (p, f), the first of them 1.
        successes: (p,) of the trials; neither need be whole, and there may be more, as few looks can have many clicks.
        trials: (p,) above 0.
    """
    rate = np.clip(successes.sum() / trials.sum(), 1e-6, 1 - 1e-6)
    weights = np.zeros(features.shape[1])
    weights[0] = np.log(rate / (1 - rate))
    ridge = np.full(len(weights), _RIDGE)
    ridge[0] = 0.0
    for _ in range(_STEPS):
        chance = _sigmoid(features @ weights)
        gradient = features.T @ (successes - trials * chance) - ridge * weights
        curvature = (features * (trials * chance * (1 - chance))[:, None]).T @ features + np.diag(ridge + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        weights = weights + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-6:
            break
    return weights


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -30, 30))))
