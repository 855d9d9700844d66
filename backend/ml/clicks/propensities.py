"""Examination by rank, estimated from harvested interventions: two estimators that must agree, and an interval.

A propensity is relative: theta[k] = P(rank k+1 is looked at) / P(rank 1 is). That is all that a ranking's loss needs,
because a common factor of all weights changes nothing.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.harvest import Connection, Counts, Harvest, component, connection, harvest

Floats = NDArray[np.float64]

GROUPS = 256
"""Groups of queries, and of shoppers, that the bootstrap draws from."""

WIDEST = 0.25
"""Half-width of an interval over its propensity from which on that is shrunk to what is assumed."""

AGREEMENT = 0.15
"""How far both estimators may be apart at a rank, as a share: more is confounding, such as drifting demand."""

PRIOR_DEVIATION = 0.5
"""Standard deviation of log theta under the prior: the decay may be half or twice what is assumed."""

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
    """Propensities (groups, ranks): log ratios of weighted clicks, regressed on differences of log theta.

    The weight of a pair of ranks is the inverse of its log ratio's variance, 1 / (1/C_kl + 1/C_lk), for Poisson clicks.
    Normal equations of differences are those of a weighted graph's Laplacian, with rank 1 held at 0. Ranks that no
    chain of such pairs leads to are NaN.
    """
    clicks, other = found.clicks, found.clicks.transpose(0, 2, 1)
    edges = (clicks > 0) & (other > 0)
    weight = np.divide(clicks * other, clicks + other, out=np.zeros_like(clicks), where=edges)
    ratio = np.divide(found.clicked, found.clicked.transpose(0, 2, 1), out=np.ones_like(clicks), where=edges)
    reached = component(edges)
    place = np.arange(found.ranks)
    laplacian = -weight
    laplacian[:, place, place] += weight.sum(axis=2)
    right = (weight * np.log(ratio)).sum(axis=2)
    fixed = ~reached
    fixed[:, 0] = True
    laplacian = np.where(fixed[:, :, None] | fixed[:, None, :], np.eye(found.ranks), laplacian)
    logs = np.linalg.solve(laplacian, np.where(fixed, 0.0, right)[:, :, None])[:, :, 0]
    return np.where(reached, np.exp(logs), np.nan)


def fixed_effects(counts: Counts, ranks: int, *, tolerance: float = 1e-5, most: int = 500) -> Floats:
    """Propensities (ranks,) by maximum likelihood with an effect for each pair of query and product.

    clicked ~ Poisson(seen * theta_rank * gamma_pair); both are found in turn until log theta moves by less than
    ``tolerance`` (the family of Aslanyan and Porwal, arXiv 1812.09338). Pairs seen at one rank only say nothing and
    are left out. Ranks without clicks are NaN.
    """
    kept = counts.where(counts.compared(ranks))
    _, pair = np.unique(kept.pair, return_inverse=True)
    of_pair = np.bincount(pair, kept.clicked)
    clicked_at_all = of_pair[pair] > 0  # the others have gamma 0, whatever theta is
    kept, pair = kept.where(clicked_at_all), pair[clicked_at_all]
    rank, of_rank = kept.rank - 1, np.bincount(kept.rank - 1, kept.clicked, ranks)
    if of_rank[0] == 0:
        return np.full(ranks, np.nan)
    theta = np.ones(ranks)
    for _ in range(most):
        exposed = np.bincount(pair, kept.seen * theta[rank], len(of_pair))
        gamma = np.divide(of_pair, exposed, out=np.zeros_like(of_pair), where=exposed > 0)
        expected = np.bincount(rank, kept.seen * gamma[pair], ranks)
        new = np.divide(of_rank, expected, out=np.full(ranks, _NEVER), where=of_rank > 0)
        new /= new[0]
        moved = np.abs(np.log(new / theta)[of_rank > 0]).max()
        theta = new
        if moved < tolerance:
            break
    return np.where(of_rank > 0, theta, np.nan)


_NEVER = 1e-12
"""Stands for theta of a rank that was never clicked while the others are found."""


@dataclass(frozen=True)
class Evidence:
    """What a context's lists say of its ranks.

    Args:
        counts: of pairs of query and product.
        by_query: harvested from them, in groups of queries.
        by_unit: likewise in groups of shoppers; None where it is not known whose clicks they are.
    """

    counts: Counts
    by_query: Harvest
    by_unit: Harvest | None = None

    @classmethod
    def of(cls, counts: Counts, ranks: int) -> "Evidence":
        """Of counts alone."""
        return cls(counts, harvest(counts, ranks, GROUPS))


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
        clicks: of pairs that were seen at more than one rank.
        connection: whether the ranks can be compared at all.
        deviation: (ranks,) standard error of the logarithm of ``harvested``; infinite where it has none.
    """

    theta: Floats
    low: Floats
    high: Floats
    harvested: Floats
    likelihood: Floats
    prior: Floats
    clicks: float
    connection: Connection
    deviation: Floats

    def disagreement(self, needed: NDArray[np.bool_] | None = None) -> float:
        """The greatest relative difference of both estimators at a connected rank (of ``needed``); 0 where none is."""
        both = self.connection.connected & ~np.isnan(self.harvested) & ~np.isnan(self.likelihood)
        if needed is not None:
            both = both & needed
        if not both.any():
            return 0.0
        return float(np.max(np.abs(self.likelihood[both] / self.harvested[both] - 1.0)))

    @property
    def trusted(self) -> bool:
        """Whether the estimate may be used: every rank is connected, and both estimators agree."""
        return self.connection.whole and self.disagreement() <= AGREEMENT


def estimate(
    evidence: Evidence,
    assumed: Floats,
    *,
    assumed_deviation: Floats | float = PRIOR_DEVIATION,
    replicates: int = 200,
    least_clicks: float = 50.0,
    needed: int | None = None,
    seed: int = 0,
) -> Propensities:
    """Propensities of the ranks of ``assumed`` (ranks,), what uncertain ones are shrunk to.

    The interval is of a Poisson(1) bootstrap over groups of queries and over groups of shoppers, the wider of both:
    clicks of one query are no independent evidence, nor are those of one shopper. A rank whose interval is wide is
    moved to what is assumed, in logarithms, by the share that its variance has of itself and of the assumption's:
    precision weighting, as in any normal model with a normal prior.
    """
    linked = connection(evidence.by_query, least_clicks, needed)
    harvested = weighted_least_squares(evidence.by_query.whole())[0]
    usable = linked.connected & ~np.isnan(harvested)
    spread = _spread(evidence.by_query, replicates, seed)
    if evidence.by_unit is not None:
        spread = np.maximum(spread, _spread(evidence.by_unit, replicates, seed + 1))
    deviation = np.where(usable, spread, np.inf)
    theta, left = _shrunk(harvested, deviation, assumed, np.broadcast_to(assumed_deviation, assumed.shape))
    ranks = len(assumed)
    return Propensities(
        theta=theta,
        low=theta * np.exp(-1.96 * left),
        high=theta * np.exp(1.96 * left),
        harvested=harvested,
        likelihood=fixed_effects(evidence.counts, ranks),
        prior=assumed,
        clicks=float(evidence.counts.clicked[evidence.counts.compared(ranks)].sum()),
        connection=linked,
        deviation=deviation,
    )


def _spread(found: Harvest, replicates: int, seed: int) -> Floats:
    """(ranks,) standard deviation of log theta over replicates; infinite where too many of them do not know it."""
    weights = np.random.default_rng(seed).poisson(1.0, (replicates, len(found.clicks))).astype(np.float64)
    drawn = np.log(weighted_least_squares(found.weighted(weights)))
    missing = np.isnan(drawn)  # a replicate may have drawn nothing that compares this rank
    known = np.ma.masked_array(drawn, missing).std(axis=0).filled(np.inf)
    return np.where(missing.mean(axis=0) > 0.1, np.inf, known)


def _shrunk(harvested: Floats, deviation: Floats, assumed: Floats, assumed_deviation: Floats) -> tuple[Floats, Floats]:
    """Theta and the standard deviation of its logarithm."""
    unknown = np.isinf(deviation)
    certain = deviation * 1.96 <= WIDEST
    variance, beside = np.where(unknown, 1.0, deviation**2), assumed_deviation**2
    own = np.where(certain, 1.0, np.where(unknown, 0.0, beside / (beside + variance)))
    logs = own * np.log(np.where(unknown, assumed, harvested)) + (1.0 - own) * np.log(assumed)
    left = np.where(certain, deviation, np.where(unknown, assumed_deviation, np.sqrt(own * variance)))
    return np.exp(logs), np.where(np.arange(len(assumed)) == 0, 0.0, left)
