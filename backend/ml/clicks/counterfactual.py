"""What a ranking would earn, from the log of another: inverse propensities, and what a model adds to them.

A click is weighted by how much more or less attention its product would have had. With rho and omega of each pair of
query and product (``attention.py``), alpha_r the attention that row r had, and gamma the model's P(click | looked at),
the value of an impression i of query q is estimated as

    IPS     sum_r (omega / rho) c_r
    DM      sum_d omega gamma
    DR      sum_d omega gamma + sum_r (omega / rho) (c_r - alpha_r gamma)

Oosterhuis, "Doubly Robust Estimation for Correcting Position Bias in Click Feedback for Unbiased Learning to Rank"
(TOIS 2023, arXiv 2203.17118), equations 24 to 29; differences of policies after Jeunen and Ustimenko, "Δ-OPE"
(RecSys 2024, arXiv 2405.10024). Intervals are clustered by query and by shopper, the wider one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.estimates import Estimate, estimate_of, weighted_clicks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Log:
    """m impressions with n rows of what was in view, of p pairs of query and product.

    Args:
        query: (m,) of each impression.
        unit: (m,) whose it is.
        fold: (m,) 0 or 1, the same for all impressions of one shopper: models of one are made from the other.
        impression: (n,) of each row.
        pair: (n,) of each row.
        clicked: (n,) clicks, graded or not.
        alpha: (n,) propensity of the place: P(looked at | in view).
        pair_query: (p,) the query of each pair.
        rho: (p,) the attention that the logging policies give to each pair; 0 where they never show it.
        clusters: (m,) each: what is not independent within, for the intervals; none: the query and the unit.
    """

    query: Ints
    unit: Ints
    fold: Ints
    impression: Ints
    pair: Ints
    clicked: Floats
    alpha: Floats
    pair_query: Ints
    rho: Floats
    clusters: tuple[Ints, ...] = ()

    def __post_init__(self) -> None:
        for names in (("query", "unit", "fold"), ("impression", "pair", "clicked", "alpha"), ("pair_query", "rho")):
            shapes = {name: getattr(self, name).shape for name in names}
            if len(set(shapes.values())) != 1 or len(next(iter(shapes.values()))) != 1:
                raise ValueError(f"found columns of {shapes}: expected as many of each")
        if (self.rho[self.pair] <= 0).any():
            raise ValueError(
                "found a product that was in view where the log gives it no attention: expected rho above 0"
            )

    @property
    def impressions(self) -> int:
        """How many."""
        return len(self.query)

    def coverage(self, attention: Floats, clip: float = 0.0) -> float:
        """Share of the policy's attention (p,), over impressions, on products that the log could have shown.

        What is divided by ``clip`` in place of a smaller rho counts for as much as is left of it.
        """
        asked = np.bincount(self.query, minlength=int(self.pair_query.max(initial=0)) + 1)[self.pair_query]
        given = attention * asked
        kept = np.minimum(self.rho / clip, 1.0) if clip > 0 else (self.rho > 0).astype(np.float64)
        return float((given * kept).sum() / max(float(given.sum()), 1e-12))


def clip_of(impressions: int) -> float:
    """Least rho that is divided by when policies are valued: 1 / sqrt(N), small enough to leave no bias that counts."""
    return 1.0 / float(np.sqrt(max(impressions, 1)))


def inverse_propensity(log: Log, attention: Floats, *, clip: float = 0.0) -> Estimate:
    """Unbiased where rho is right and covers the policy.

    Args:
        log: of other policies.
        attention: (p,) omega, the attention that the policy in question gives to each pair.
        clip: least rho that is divided by: less variance, and a bias downwards.
    """
    weights = _weights(log, attention, clip)
    each = weighted_clicks(log.impressions, log.impression, weights, log.clicked)
    return _estimate(log, attention, weights, each, clip)


def self_normalised(log: Log, attention: Floats, *, clip: float = 0.0) -> Estimate:
    """Weighted clicks per weighted attention, times the policy's attention (Swaminathan and Joachims, NIPS 2015).

    Its interval is that of the ratio, linearised.
    """
    weights = _weights(log, attention, clip)
    clicks = weighted_clicks(log.impressions, log.impression, weights, log.clicked)
    examined = weighted_clicks(log.impressions, log.impression, weights, log.alpha)
    ratio = clicks.sum() / max(float(examined.sum()), 1e-12)
    total = float(_per_query(log, attention)[log.query].mean())
    linear = total * (ratio + (clicks - ratio * examined) / max(float(examined.mean()), 1e-12))
    return _estimate(log, attention, weights, linear, clip)


def direct(log: Log, attention: Floats, relevance: Floats) -> Estimate:
    """The model's value: little variance, and the bias of ``relevance`` (2, p), a row for each fold."""
    return _estimate(log, attention, _weights(log, attention, 0.0), _modelled(log, attention, relevance))


def doubly_robust(log: Log, attention: Floats, relevance: Floats, *, clip: float = 0.0) -> Estimate:
    """The model's value, corrected by what was clicked beyond it: right where rho or the model is right.

    ``relevance`` (2, p) has a row for the impressions of each fold.
    """
    weights = _weights(log, attention, clip)
    return _estimate(log, attention, weights, _robust(log, attention, relevance, weights), clip)


def difference(log: Log, candidate: Floats, production: Floats, relevance: Floats, *, clip: float = 0.0) -> Estimate:
    """Doubly robust value of ``candidate`` less that of ``production``, both attention (p,), per impression.

    Both are estimated from the same clicks, so most of the noise cancels; coverage is the lesser of both, the weights
    are the candidate's.
    """
    ours, theirs = _weights(log, candidate, clip), _weights(log, production, clip)
    each = _robust(log, candidate, relevance, ours) - _robust(log, production, relevance, theirs)
    covered = min(log.coverage(candidate, clip), log.coverage(production, clip))
    return estimate_of(each, ours[log.clicked > 0], covered, log.clusters or (log.query, log.unit))


def _weights(log: Log, attention: Floats, clip: float) -> Floats:
    """(n,) omega / rho of each row."""
    if attention.shape != log.rho.shape:
        raise ValueError(f"found attention {attention.shape}: expected {log.rho.shape}")
    return np.asarray(attention[log.pair] / np.maximum(log.rho[log.pair], clip))


def _per_query(log: Log, values: Floats) -> Floats:
    """(queries,) sums of ``values`` (p,)."""
    size = max(int(log.query.max(initial=0)), int(log.pair_query.max(initial=0))) + 1
    return np.bincount(log.pair_query, values, size).astype(np.float64)


def _modelled(log: Log, attention: Floats, relevance: Floats) -> Floats:
    """(m,) sum of omega * gamma, gamma being that of the impression's fold."""
    by_fold = np.stack([_per_query(log, attention * one) for one in relevance])
    return np.asarray(by_fold[log.fold, log.query])


def _robust(log: Log, attention: Floats, relevance: Floats, weights: Floats) -> Floats:
    gamma = relevance[log.fold[log.impression], log.pair]
    beyond = weighted_clicks(log.impressions, log.impression, weights, log.clicked - log.alpha * gamma)
    return np.asarray(_modelled(log, attention, relevance) + beyond)


def _estimate(log: Log, attention: Floats, weights: Floats, each: Floats, clip: float = 0.0) -> Estimate:
    covered = log.coverage(attention, clip)
    return estimate_of(each, weights[log.clicked > 0], covered, log.clusters or (log.query, log.unit))
