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
    """How lists come about.

    Args:
        products: of each query.
        shown: places of a list.
        theta: (shown,) chance that a place is looked at; everything is in view.
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
        """(shown,) chance that a place is looked at; everything is in view."""
        return np.asarray(np.arange(1, self.shown + 1, dtype=np.float64) ** -self.eta)


@dataclass(frozen=True)
class Drawn:
    """Queries and what is true of them; columns of pairs are as in ``log``.

    Args:
        log: what was shown and clicked.
        relevance: (p,) P(click | looked at).
        frozen: (p,) what a model may see of it.
        product: (p,) number of each pair's product, shared by queries.
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
        queries = int(self.log.pair_query.max()) + 1
        of_query = np.bincount(self.log.pair_query, attention * self.relevance, queries)
        return float(of_query[self.log.query].mean())


def draw(lottery: Lottery, *, queries: int, impressions: int, seed: int, units: int = 1_000) -> Drawn:
    """Draw ``queries`` and ``impressions`` of them."""
    rng = np.random.default_rng(seed)
    shape = (queries, lottery.products)
    appeal = rng.beta(0.6, 1.4, shape)
    relevance = lottery.noise + (1 - lottery.noise) * appeal

    def ranked(wrong: float, *more: int) -> Ints:
        scores = appeal[..., None] if more else appeal
        return np.argsort(-(scores + rng.normal(0, wrong, shape + more)), axis=1)

    def attention(order: Ints) -> Floats:
        given = np.zeros(order.shape)
        places = lottery.theta[:, None] if order.ndim == 3 else lottery.theta
        np.put_along_axis(given, order[:, : lottery.shown], np.broadcast_to(places, order[:, : lottery.shown].shape), 1)
        return given

    production, candidate = ranked(lottery.production), ranked(lottery.candidate)
    others = ranked(1e6, lottery.rankings)  # (queries, products, rankings)
    rho = (1 - lottery.explored) * attention(production) + lottery.explored * attention(others).mean(axis=2)
    query, unit = rng.integers(queries, size=impressions), rng.integers(units, size=impressions)
    which = rng.integers(lottery.rankings, size=impressions)
    order = np.where((rng.random(impressions) < lottery.explored)[:, None], others[query, :, which], production[query])
    pair = query[:, None] * lottery.products + order[:, : lottery.shown]
    clicked = rng.random(pair.shape) < lottery.theta * relevance.ravel()[pair]
    log = Log(
        query=query,
        unit=unit,
        fold=unit % 2,
        impression=np.repeat(np.arange(impressions), lottery.shown),
        pair=pair.ravel(),
        clicked=clicked.ravel().astype(np.float64),
        alpha=np.tile(lottery.theta, impressions),
        pair_query=np.repeat(np.arange(queries), lottery.products),
        rho=rho.ravel(),
    )
    return Drawn(
        log,
        relevance.ravel(),
        (appeal + rng.normal(0, lottery.frozen, shape)).ravel(),
        rng.integers(queries * lottery.products // 4, size=queries * lottery.products),
        attention(candidate).ravel(),
        attention(production).ravel(),
    )
