"""A log whose every chance is known: each list is one of a few rankings of its query's products, drawn by a lottery.

Attention, relevance and the value of any ranking are exact, so that estimators can be held against the truth.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.counterfactual import Log

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Lottery:
    """How lists come about; everything shown is in view and looked at as (1 / place)^eta.

    Args:
        products: of each query.
        shown: places of a list.
        eta: how fast attention decays.
        explored: share of lists that are one of the random rankings rather than the production ranking.
        rankings: random rankings of each query.
        noise: P(click | looked at) of what is not relevant at all.
        production: standard deviation of what the production ranking has wrong.
        candidate: likewise of the ranking to be valued.
        frozen: likewise of the score that a model of relevance may see.
    """

    products: int = 20
    shown: int = 10
    eta: float = 1.0
    explored: float = 0.1
    rankings: int = 20
    noise: float = 0.1
    production: float = 0.5
    candidate: float = 0.3
    frozen: float = 0.4

    @property
    def theta(self) -> Floats:
        """(shown,) chance that a place is looked at."""
        return np.asarray(np.arange(1, self.shown + 1, dtype=np.float64) ** -self.eta)

    def attention(self, order: Ints) -> Floats:
        """Attention to each product of rankings ``order`` (..., products); 0 behind the list."""
        given = np.zeros(order.shape)
        shown = order[..., : self.shown]
        np.put_along_axis(given, shown, np.broadcast_to(self.theta, shown.shape), axis=-1)
        return given


@dataclass(frozen=True)
class Drawn:
    """Queries and what is true of them; columns of p pairs are as in ``log``.

    Args:
        log: what was shown and clicked.
        relevance: (p,) P(click | looked at).
        frozen: (p,) what a model may see of it.
        product: (p,) number of each pair's product; queries share products.
        candidate: (p,) attention of the ranking to be valued.
        production: (p,) attention of the production ranking.
    """

    log: Log
    relevance: Floats
    frozen: Floats
    product: Ints
    candidate: Floats
    production: Floats

    def value(self, attention: Floats) -> float:
        """Expected clicks of a list, over these impressions' queries."""
        of_query = np.bincount(self.log.pair_query, attention * self.relevance)
        return float(of_query[self.log.query].mean())

    @property
    def gain(self) -> float:
        """Expected clicks of a list that the candidate has more than production, over all queries alike."""
        return float((self.candidate - self.production) @ self.relevance / (self.log.pair_query[-1] + 1))


def draw(lottery: Lottery, *, queries: int, impressions: int, seed: int, units: int = 1_000) -> Drawn:
    """Draw ``queries`` and ``impressions`` of them."""
    rng = np.random.default_rng(seed)
    shape = (queries, lottery.products)
    appeal = rng.beta(0.6, 1.4, shape)
    relevance = (lottery.noise + (1 - lottery.noise) * appeal).ravel()
    production, candidate = (
        np.argsort(-(appeal + rng.normal(0, wrong, shape)), axis=1) for wrong in (lottery.production, lottery.candidate)
    )
    others = rng.random((queries, lottery.rankings, lottery.products)).argsort(axis=2)
    shares = np.array([1 - lottery.explored, lottery.explored])
    rho = shares @ np.stack([lottery.attention(production), lottery.attention(others).mean(axis=1)]).reshape(2, -1)
    query = rng.integers(queries, size=impressions)
    explored = (rng.random(impressions) < lottery.explored)[:, None]
    order = np.where(explored, others[query, rng.integers(lottery.rankings, size=impressions)], production[query])
    pair = (query[:, None] * lottery.products + order[:, : lottery.shown]).ravel()
    alpha = np.tile(lottery.theta, impressions)
    unit = rng.integers(units, size=impressions)
    log = Log(
        query=query,
        unit=unit,
        fold=unit % 2,
        impression=np.repeat(np.arange(impressions), lottery.shown),
        pair=pair,
        clicked=(rng.random(len(pair)) < alpha * relevance[pair]).astype(np.float64),
        alpha=alpha,
        pair_query=np.repeat(np.arange(queries), lottery.products),
        rho=rho,
    )
    return Drawn(
        log=log,
        relevance=relevance,
        frozen=(appeal + rng.normal(0, lottery.frozen, shape)).ravel(),
        product=rng.integers(max(len(relevance) // 4, 1), size=len(relevance)),
        candidate=lottery.attention(candidate).ravel(),
        production=lottery.attention(production).ravel(),
    )
