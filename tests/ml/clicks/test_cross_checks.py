"""Other ways to the same propensities, and what none of them can know: cross-checks, used nowhere else."""

import numpy as np
import pytest

from backend.ml.clicks.examination import examined_share
from backend.ml.clicks.harvest import Counts, harvest
from backend.ml.clicks.lottery import Lottery, draw
from backend.ml.clicks.propensities import weighted_least_squares
from backend.ml.clicks.shoppers import at
from backend.ml.clicks.worlds import TRUSTING


def counts_of(lottery: Lottery, *, impressions: int, seed: int) -> Counts:
    """A lottery's log by pair and rank."""
    log = draw(lottery, queries=60, impressions=impressions, seed=seed).log
    rank = np.tile(np.arange(lottery.shown), log.impressions)
    key, place = np.unique(log.pair * lottery.shown + rank, return_inverse=True)
    pair = key // lottery.shown
    return Counts(
        log.pair_query[pair],
        pair,
        key % lottery.shown + 1,
        np.bincount(place).astype(float),
        np.bincount(place, log.clicked),
    )


def regression_em(counts: Counts, ranks: int, relevance_of: np.ndarray, steps: int = 150) -> np.ndarray:
    """Regression EM (Wang et al., WSDM 2018) with a relevance for each value of ``relevance_of`` (m,): its regression.

    E: P(E=1, R=0 | c=0) = θ(1-γ)/(1-θγ), P(R=1, E=0 | c=0) = γ(1-θ)/(1-θγ). M: means over impressions.
    """
    theta, gamma = np.full(ranks, 0.5), np.full(int(relevance_of.max()) + 1, 0.3)
    rank, passed = counts.rank - 1, counts.seen - counts.clicked
    for _ in range(steps):
        looked, relevant = theta[rank], gamma[relevance_of]
        unclicked = 1 - looked * relevant
        theta = np.bincount(rank, counts.clicked + passed * looked * (1 - relevant) / unclicked) / np.bincount(
            rank, counts.seen
        )
        gamma = np.bincount(relevance_of, counts.clicked + passed * relevant * (1 - looked) / unclicked) / np.bincount(
            relevance_of, counts.seen
        )
    return theta / theta[0]


def test_expectation_maximisation_finds_the_same_curve_where_its_regression_can_tell_products_apart() -> None:
    """And another one where it cannot: one relevance for all products puts their order down to attention."""
    lottery = Lottery(explored=0.5, rankings=40)
    counts = counts_of(lottery, impressions=40_000, seed=3)
    harvested = weighted_least_squares(harvest(counts, 10))[0]
    maximised = regression_em(counts, 10, counts.pair)
    assert np.abs(harvested / lottery.theta - 1)[1:].mean() < 0.06
    assert np.abs(maximised / lottery.theta - 1)[1:].mean() < 0.1
    assert np.abs(maximised / harvested - 1)[1:].max() < 0.15
    blind = regression_em(counts, 10, np.zeros(len(counts.pair), np.int64))
    assert np.abs(blind / lottery.theta - 1)[1:].mean() > 0.15


def test_an_affine_label_takes_trust_out_and_no_propensity_can() -> None:
    """P(click) = α γ + β with α = θ(ε⁺ - ε⁻), β = θ ε⁻: (c - β) / α means γ at every rank, c / θ does not."""
    theta = examined_share(TRUSTING.examination, 10, 1)
    plus, minus = at(TRUSTING.trust, 10), at(TRUSTING.noise, 10)
    alpha, beta = theta * (plus - minus), theta * minus
    for gamma in (0.0, 0.2, 0.9):
        rate = theta * TRUSTING.click_chance(np.full((1, 10), gamma))[0]
        assert (rate - beta) / alpha == pytest.approx(np.full(10, gamma))
        weighted = rate / theta
        assert weighted.max() - weighted.min() > 0.05
    # what a harvest would find is a curve for each relevance, so that none is the curve
    curves = [alpha * gamma + beta for gamma in (0.05, 0.9)]
    assert np.abs((curves[0] / curves[0][0]) / (curves[1] / curves[1][0]) - 1).max() > 0.3
