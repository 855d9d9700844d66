"""Examination by rank, estimated from harvested interventions: two estimators that must agree, and an interval.

A propensity is relative: theta[k] = P(rank k+1 is looked at) / P(rank 1 is). That is all that a ranking's loss needs,
because a common factor of all weights changes nothing.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.harvest import Connection, Counts, Harvest, connection, harvest

Floats = NDArray[np.float64]

GROUPS = 256
"""Groups of queries that the bootstrap draws from."""

WIDEST = 0.25
"""Half-width of an interval over its propensity from which on that is shrunk to the prior."""

AGREEMENT = 0.15
"""How far both estimators may be apart at a rank, as a share: more is confounding, such as drifting demand."""

Layout = Literal["grid", "list"]


def prior(ranks: int, layout: Layout, columns: int = 1, *, list_decay: float = 1.0, row_decay: float = 0.6) -> Floats:
    """Propensities (ranks,) that are assumed before there are clicks: k^-1 down a list, (1 + row)^-0.6 in a grid.

    Attention falls off more slowly over rows of a grid than over ranks of a list, and columns of a row are alike (Guo
    et al., "Debiasing Grid-based Product Search in E-commerce", KDD 2020). The constants are assumptions.
    """
    places = np.arange(ranks, dtype=np.float64)
    if layout == "list":
        return np.power(1.0 + places, -list_decay, dtype=np.float64)
    return np.power(1.0 + places // columns, -row_decay, dtype=np.float64)


def weighted_least_squares(found: Harvest) -> Floats:
    """Propensities (ranks,) of one group: log ratios of weighted clicks, regressed on differences of log theta.

    The weight of a pair of ranks is the inverse of its log ratio's variance, 1 / (1/C_kl + 1/C_lk), for Poisson clicks.
    Ranks without any such pair are NaN.
    """
    clicked, clicks = found.clicked[0], found.clicks[0]
    upper = np.triu((clicks > 0) & (clicks.T > 0), 1)
    here, there = np.nonzero(upper)
    root = np.sqrt(1.0 / (1.0 / clicks[here, there] + 1.0 / clicks[there, here]))
    design = np.zeros((len(here), found.ranks))
    design[np.arange(len(here)), here] = root
    design[np.arange(len(here)), there] = -root
    ratio = np.log(clicked[here, there] / clicked[there, here]) * root
    logs = np.full(found.ranks, np.nan)
    reached = _component(upper | upper.T)
    logs[0] = 0.0
    others = np.flatnonzero(reached[1:]) + 1
    if len(others):
        logs[others] = np.linalg.lstsq(design[:, others], ratio, rcond=None)[0]
    return np.asarray(np.exp(logs))


def fixed_effects(counts: Counts, ranks: int, *, tolerance: float = 1e-5, most: int = 500) -> Floats:
    """Propensities (ranks,) by maximum likelihood with an effect for each pair of query and product.

    clicked ~ Poisson(seen * theta_rank * gamma_pair); both are found in turn until log theta moves by less than
    ``tolerance`` (the family of Aslanyan and Porwal, arXiv 1812.09338). Pairs seen at one rank only say nothing and
    fall out by themselves. Ranks without clicks are NaN.
    """
    keep = counts.rank <= ranks
    _, pair = np.unique(counts.pair[keep], return_inverse=True)
    rank, seen, clicked = counts.rank[keep] - 1, counts.seen[keep], counts.clicked[keep]
    of_pair = np.bincount(pair, clicked)
    of_rank = np.bincount(rank, clicked, ranks)
    theta = np.ones(ranks)
    for _ in range(most):
        gamma = of_pair / np.bincount(pair, seen * theta[rank])
        expected = np.bincount(rank, seen * gamma[pair], ranks)
        new = np.divide(of_rank, expected, out=np.full(ranks, np.nan), where=(of_rank > 0) & (expected > 0))
        if np.isnan(new[0]):
            return np.full(ranks, np.nan)
        new = np.where(of_rank > 0, new / new[0], _NEVER)
        moved = np.abs(np.log(new / theta)).max()
        theta = new
        if moved < tolerance:
            break
    return np.where(of_rank > 0, theta, np.nan)


_NEVER = 1e-12
"""Stands for theta of a rank that was never clicked while the others are found."""


@dataclass(frozen=True)
class Propensities:
    """What is known of examination by rank in one context.

    Args:
        theta: (ranks,) to be used, rank 1 is 1: harvested, or shrunk to the prior where that is uncertain.
        low: (ranks,) end of the 95 % interval.
        high: (ranks,) the other end.
        harvested: (ranks,) as estimated by least squares, NaN where it cannot be.
        likelihood: (ranks,) as estimated by maximum likelihood.
        prior: (ranks,) what was assumed.
        clicks: that were harvested.
        connection: whether the ranks can be compared at all.
    """

    theta: Floats
    low: Floats
    high: Floats
    harvested: Floats
    likelihood: Floats
    prior: Floats
    clicks: float
    connection: Connection

    @property
    def disagreement(self) -> float:
        """The greatest relative difference of both estimators at a connected rank; 0 where none is."""
        both = self.connection.connected & ~np.isnan(self.harvested) & ~np.isnan(self.likelihood)
        if not both.any():
            return 0.0
        return float(np.max(np.abs(self.likelihood[both] / self.harvested[both] - 1.0)))

    @property
    def trusted(self) -> bool:
        """Whether the estimate may be used: every rank is connected, and both estimators agree."""
        return self.connection.whole and self.disagreement <= AGREEMENT


def estimate(
    counts: Counts, assumed: Floats, *, replicates: int = 200, least_clicks: float = 50.0, seed: int = 0
) -> Propensities:
    """Propensities of the ranks of ``assumed`` (ranks,), the prior that uncertain ones are shrunk to.

    The interval is of a Poisson(1) bootstrap over groups of queries: clicks of one query are no independent evidence.
    A rank whose interval is wide is moved to the prior, in logarithms, by the share that its variance has of itself
    and of the prior's: precision weighting, as in any normal model with a normal prior.
    """
    ranks = len(assumed)
    found = harvest(counts, ranks, GROUPS)
    linked = connection(found, least_clicks)
    harvested = weighted_least_squares(found.whole())
    weights = np.random.default_rng(seed).poisson(1.0, (replicates, GROUPS)).astype(np.float64)
    drawn = np.log([weighted_least_squares(found.weighted(one)) for one in weights])
    usable = linked.connected & ~np.isnan(harvested)
    missing = np.isnan(drawn)  # a replicate may have drawn no query that compares this rank
    spread = np.where(missing.mean(axis=0) > 0.1, np.inf, np.ma.masked_array(drawn, missing).std(axis=0).filled(np.inf))
    theta, deviation = _shrunk(harvested, np.where(usable, spread, np.inf), assumed)
    return Propensities(
        theta=theta,
        low=theta * np.exp(-1.96 * deviation),
        high=theta * np.exp(1.96 * deviation),
        harvested=harvested,
        likelihood=fixed_effects(counts, ranks),
        prior=assumed,
        clicks=float(found.clicks.sum(axis=(0, 1, 2)) / max(ranks - 1, 1)),
        connection=linked,
    )


PRIOR_DEVIATION = 0.5
"""Standard deviation of log theta under the prior: the decay may be half or twice what is assumed."""


def _shrunk(harvested: Floats, deviation: Floats, assumed: Floats) -> tuple[Floats, Floats]:
    """Theta and the standard deviation of its logarithm."""
    certain = deviation * 1.96 <= WIDEST
    variance = np.where(np.isinf(deviation), 1e12, deviation**2)
    own = np.where(certain, 1.0, PRIOR_DEVIATION**2 / (PRIOR_DEVIATION**2 + variance))
    estimated = np.where(np.isnan(harvested) | np.isinf(deviation), assumed, harvested)
    logs = own * np.log(estimated) + (1.0 - own) * np.log(assumed)
    left = np.where(certain, deviation, np.sqrt(own) * np.where(np.isinf(deviation), 1e6, deviation))
    return np.exp(logs), np.where(np.arange(len(assumed)) == 0, 0.0, np.minimum(left, PRIOR_DEVIATION))


def _component(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n,) whether each node can be reached from the first."""
    reached = np.zeros(len(edges), dtype=bool)
    reached[0] = True
    while True:
        grown = reached | edges[reached].any(axis=0)
        if (grown == reached).all():
            return reached
        reached = grown
