"""What a ranking would earn, from the log of another: inverse propensities, and what a model adds to them.

Of every impression the log holds which products were shown and clicked; of both policies, how much attention each
gives to each product. A click is weighted by how much more or less attention its product would have had.
Oosterhuis, "Doubly Robust Estimation for Correcting Position Bias in Click Feedback for Unbiased Learning to Rank"
(TOIS 2023, arXiv 2203.17118), equations 24 to 29; differences of policies after Jeunen and Ustimenko, "Δ-OPE"
(RecSys 2024, arXiv 2405.10024).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Log:
    """Impressions, a row each, of up to m products that either policy may show.

    Args:
        cluster: (n,) number of what is not independent within: the query, or the shopper.
        examined: (n, m) rho, the attention that the logging policy gives to each product, over its coins: the mean of
            theta at the ranks it may stand at; 0 where it never shows it.
        clicked: (n, m) clicks, graded or not; 0 where the product was not shown.
        shown: (n, m) whether it was shown in this impression.
        theta: (n, m) propensity of the rank it was shown at; 0 where it was not.
    """

    cluster: Ints
    examined: Floats
    clicked: Floats
    shown: NDArray[np.bool_]
    theta: Floats

    def __post_init__(self) -> None:
        shapes = {name: getattr(self, name).shape for name in ("examined", "clicked", "shown", "theta")}
        if len(set(shapes.values())) != 1 or self.examined.ndim != 2 or len(self.cluster) != len(self.examined):
            raise ValueError(f"found shapes {shapes} and {self.cluster.shape}: expected (n, m) of each and (n,)")
        if (self.shown & (self.examined <= 0)).any():
            raise ValueError(
                "found a product that was shown where the policy gives it no attention: expected rho above 0"
            )


@dataclass(frozen=True)
class Estimate:
    """A value per impression with its interval, and what the interval rests on.

    Args:
        value: the mean.
        low: end of the 95 % interval, with standard errors clustered.
        high: the other end.
        effective: effective sample size of the weights of clicked products, (sum w)^2 / sum w^2.
        coverage: share of the policy's attention that goes to products the log could have shown.
        heaviest: the greatest weight's share of all.
        impressions: how many there are.
    """

    value: float
    low: float
    high: float
    effective: float
    coverage: float
    heaviest: float
    impressions: int


class Unsupported(ValueError):
    """The log says too little of a policy: it pays attention to what was never shown."""


def inverse_propensity(log: Log, attention: Floats, *, clip: float = 0.0) -> Estimate:
    """Mean of sum over shown products of (omega / rho) * click: unbiased where rho is right and covers the policy.

    Args:
        log: of another policy.
        attention: (n, m) omega, the attention that the policy in question gives to each product.
        clip: least rho that is divided by: less variance, and a bias downwards.
    """
    weights = _weights(log, attention, clip)
    return _estimate(log, attention, weights, (weights * log.clicked).sum(axis=1))


def self_normalised(log: Log, attention: Floats, *, clip: float = 0.0) -> Estimate:
    """Weighted mean of clicks per examination, times the policy's attention (Swaminathan and Joachims, NIPS 2015).

    Its interval is that of the ratio, linearised.
    """
    weights = _weights(log, attention, clip)
    clicks, examined = (weights * log.clicked).sum(axis=1), (weights * log.theta).sum(axis=1)
    ratio = clicks.sum() / max(float(examined.sum()), 1e-12)
    total = float(attention.sum(axis=1).mean())
    linear = total * (ratio + (clicks - ratio * examined) / max(float(examined.mean()), 1e-12))
    return _estimate(log, attention, weights, linear)


def direct(log: Log, attention: Floats, relevance: Floats) -> Estimate:
    """Mean of sum of omega * gamma: little variance, and the bias of the model ``relevance`` (n, m)."""
    return _estimate(log, attention, _weights(log, attention, 0.0), (attention * relevance).sum(axis=1))


def doubly_robust(log: Log, attention: Floats, relevance: Floats, *, clip: float = 0.0) -> Estimate:
    """The model's value, corrected by what was clicked beyond it: right where rho or the model is right.

    sum omega * gamma + sum over shown (omega / rho) * (click - theta * gamma).
    """
    weights = _weights(log, attention, clip)
    return _estimate(log, attention, weights, _robust(log, attention, relevance, weights))


def difference(log: Log, candidate: Floats, production: Floats, relevance: Floats, *, clip: float = 0.0) -> Estimate:
    """Doubly robust value of ``candidate`` less that of ``production``, both attention (n, m), per impression.

    Both are estimated from the same clicks, so most of the noise cancels; coverage and weights are the candidate's.
    """
    ours, theirs = _weights(log, candidate, clip), _weights(log, production, clip)
    each = _robust(log, candidate, relevance, ours) - _robust(log, production, relevance, theirs)
    return _estimate(log, candidate, ours, each)


def check_supported(found: Estimate, *, least_coverage: float = 0.95, least_effective: float = 1000.0) -> None:
    """Refuse to judge by ``found`` where it is not defined or rests on a few clicks.

    Raises:
        Unsupported: with the number found and the one expected.
    """
    if found.coverage < least_coverage:
        raise Unsupported(
            f"found {found.coverage:.3f} of the policy's attention on products the log could have shown: "
            f"expected {least_coverage:g} or more"
        )
    if found.effective < least_effective:
        raise Unsupported(f"found an effective sample of {found.effective:.0f} clicks: expected {least_effective:g}")


def smoothed_relevance(log: Log, pair: Ints, base: Floats, fold: Ints, *, strength: float = 8.0) -> Floats:
    """(n, m) P(click | examined) of each product for its query, of the other folds' clicks only.

    (clicks + strength * base) / (examinations + strength), per pair of query and product: cross-fitted, because a model
    that has seen the clicks it corrects is no correction.

    Args:
        log: the impressions.
        pair: (n, m) number of (query, product).
        base: (n, m) what is assumed without clicks, such as a function of the frozen similarity.
        fold: (n,) 0 or 1, the same for all impressions of what is not independent.
        strength: how many examinations ``base`` counts as.
    """
    size = int(pair.max()) + 1
    found = np.empty_like(base)
    for one in (0, 1):
        others = (fold != one)[:, None] & log.shown
        clicks = np.bincount(pair[others], log.clicked[others], size)
        examined = np.bincount(pair[others], log.theta[others], size)
        mine = fold == one
        of = pair[mine]
        found[mine] = (clicks[of] + strength * base[mine]) / (examined[of] + strength)
    return found


def _weights(log: Log, attention: Floats, clip: float) -> Floats:
    if attention.shape != log.examined.shape:
        raise ValueError(f"found attention {attention.shape}: expected {log.examined.shape}")
    rho = np.maximum(log.examined, clip)
    return np.divide(attention, rho, out=np.zeros_like(rho), where=log.shown)


def _robust(log: Log, attention: Floats, relevance: Floats, weights: Floats) -> Floats:
    corrected = weights * (log.clicked - log.theta * relevance)
    return np.asarray((attention * relevance).sum(axis=1) + corrected.sum(axis=1))


def _estimate(log: Log, attention: Floats, weights: Floats, each: Floats) -> Estimate:
    deviation = clustered_deviation(each, log.cluster)
    value = float(each.mean())
    counted = weights[log.clicked > 0]
    total = float(counted.sum())
    return Estimate(
        value=value,
        low=value - 1.96 * deviation,
        high=value + 1.96 * deviation,
        effective=total**2 / float((counted**2).sum()) if total else 0.0,
        coverage=float(attention[log.examined > 0].sum() / max(float(attention.sum()), 1e-12)),
        heaviest=float(counted.max() / total) if total else 1.0,
        impressions=len(each),
    )


def clustered_deviation(each: NDArray[np.floating[Any]], cluster: Ints) -> float:
    """Standard error of the mean of ``each`` (n,) where only clusters are independent (Liang and Zeger 1986)."""
    _, number = np.unique(cluster, return_inverse=True)
    sums = np.bincount(number, each - each.mean())
    count = len(sums)
    if count < 2:
        return float("inf")
    return float(np.sqrt((sums**2).sum() * count / (count - 1)) / len(each))
