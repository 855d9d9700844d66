"""Examination by rank, estimated from harvested interventions: two estimators that must agree, and an interval.

A propensity is relative: theta[k] = P(rank k+1 is looked at) / P(rank 1 is). That is all that a ranking's loss needs,
because a common factor of all weights changes nothing.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.fixed_effects import fixed_effects
from backend.ml.clicks.harvest import Clicks, Connection, Counts, Harvest, component, connection, harvest

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
    et al., "Debiasing Grid-based Product Search in E-commerce", KDD 2020). The constants are assumptions. A grid of
    unknown ``columns``, 0, decays over ranks as fast as over rows: between a list and any grid.
    """
    places = np.arange(ranks, dtype=np.float64)
    if layout == "list":
        return np.power(1.0 + places, -list_decay, dtype=np.float64)
    return np.power(1.0 + places // max(columns, 1), -row_decay, dtype=np.float64)


def weighted_least_squares(found: Harvest) -> Floats:
    """Propensities (groups, ranks): log ratios of weighted clicks, regressed on differences of log theta.

    The weight of a pair of ranks is the inverse of its log ratio's variance: of Poisson clicks that count w each, the
    sum of w^2 over the square of that of w, on both sides (1 / (1/C_kl + 1/C_lk) where all count alike).
    Normal equations of differences are those of a weighted graph's Laplacian, with rank 1 held at 0. Ranks that no
    chain of such pairs leads to are NaN.
    """
    clicks, other = found.clicks, found.clicks.transpose(0, 2, 1)
    edges = (clicks > 0) & (other > 0)
    relative = np.divide(found.squares, found.clicked**2, out=np.zeros_like(clicks), where=edges)
    weight = np.divide(1.0, relative + relative.transpose(0, 2, 1), out=np.zeros_like(clicks), where=edges)
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


@dataclass(frozen=True)
class Evidence:
    """What a context's lists say of its ranks.

    Args:
        counts: of pairs of query and product.
        by_query: harvested from them, in groups of queries.
        by_unit: the clicks in groups of shoppers; None where it is not known whose they are.
    """

    counts: Counts
    by_query: Harvest
    by_unit: Clicks | None = None

    @classmethod
    def of(cls, counts: Counts, ranks: int) -> "Evidence":
        """Of counts alone."""
        return cls(counts, harvest(counts, ranks, GROUPS))


@dataclass(frozen=True)
class Propensities:
    """What is known of examination by rank in one context.

    Args:
        theta: (ranks,) to be used, rank 1 is 1: of greatest likelihood, or shrunk to the prior where uncertain.
        low: (ranks,) end of the 95 % interval.
        high: (ranks,) the other end.
        harvested: (ranks,) as estimated by least squares, NaN where it cannot be.
        likelihood: (ranks,) as estimated by maximum likelihood.
        prior: (ranks,) what was assumed.
        clicks: of pairs that were seen at more than one rank.
        connection: whether the ranks can be compared at all.
        deviation: (ranks,) standard error of the logarithm of ``likelihood``; infinite where it has none.
        harvested_deviation: (ranks,) likewise of ``harvested``.
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
    harvested_deviation: Floats

    @property
    def certain(self) -> NDArray[np.bool_]:
        """(ranks,) where both estimators have a narrow interval."""
        return np.asarray(1.96 * np.maximum(self.deviation, self.harvested_deviation) <= WIDEST)

    def disagreement(self, needed: NDArray[np.bool_] | None = None) -> float:
        """The greatest relative difference of both estimators at a certain rank (of ``needed``); 0 where none is.

        Where an interval is wide they differ by chance, and what is assumed decides anyway.
        """
        both = self.connection.connected & self.certain & ~np.isnan(self.harvested) & ~np.isnan(self.likelihood)
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

    Those of greatest likelihood are used: they weigh each product by what it says, where a ratio of weighted clicks
    hangs on a few that stood at an unusual rank. Intervals are over queries and over shoppers, the wider of both:
    clicks of one query are no independent evidence, nor are those of one shopper. A rank whose interval is wide is
    moved to what is assumed, in logarithms, by the share that its variance has of itself and of the assumption's:
    precision weighting, as in any normal model with a normal prior.
    """
    ranks = len(assumed)
    linked = connection(evidence.by_query, least_clicks, needed)
    found = fixed_effects(evidence.counts, ranks, clicks=evidence.by_unit, groups=GROUPS)
    deviation = np.where(linked.connected, found.deviation, np.inf)
    theta, left = _shrunk(found.theta, deviation, assumed, np.broadcast_to(assumed_deviation, assumed.shape))
    return Propensities(
        theta=theta,
        low=theta * np.exp(-1.96 * left),
        high=theta * np.exp(1.96 * left),
        harvested=weighted_least_squares(evidence.by_query.whole())[0],
        likelihood=found.theta,
        prior=assumed,
        clicks=float(evidence.counts.clicked[evidence.counts.compared(ranks)].sum()),
        connection=linked,
        deviation=deviation,
        harvested_deviation=_spread(evidence.by_query, replicates, seed),
    )


def _spread(found: Harvest, replicates: int, seed: int) -> Floats:
    """(ranks,) standard deviation of least squares over a Poisson(1) bootstrap; infinite where many know none."""
    weights = np.random.default_rng(seed).poisson(1.0, (replicates, len(found.clicks))).astype(np.float64)
    drawn = np.log(weighted_least_squares(found.weighted(weights)))
    missing = np.isnan(drawn)  # a replicate may have drawn nothing that compares this rank
    known = np.ma.masked_array(drawn, missing).std(axis=0).filled(np.inf)
    return np.where(missing.mean(axis=0) > 0.1, np.inf, known)


def _shrunk(estimated: Floats, deviation: Floats, assumed: Floats, assumed_deviation: Floats) -> tuple[Floats, Floats]:
    """Theta and the standard deviation of its logarithm."""
    unknown = np.isinf(deviation)
    certain = deviation * 1.96 <= WIDEST
    variance, beside = np.where(unknown, 1.0, deviation**2), assumed_deviation**2
    own = np.where(certain, 1.0, np.where(unknown, 0.0, beside / (beside + variance)))
    logs = own * np.log(np.where(unknown, assumed, estimated)) + (1.0 - own) * np.log(assumed)
    left = np.where(certain, deviation, np.where(unknown, assumed_deviation, np.sqrt(own * variance)))
    return np.exp(logs), np.where(np.arange(len(assumed)) == 0, 0.0, left)
