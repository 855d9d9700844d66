"""Metrics against numbers derived by hand and against ir-measures, which is trec_eval."""

import ir_measures
import numpy as np
import pytest
from ir_measures import RR, P, R, nDCG

from backend.ml.metrics import (
    gain_reciprocal_rank,
    hits,
    ndcg,
    paired_bootstrap,
    precision,
    recall,
    reciprocal_rank,
    target_ranks,
)

DEPTH = 12


def test_ranks_count_what_is_ahead() -> None:
    """0.7 has 0.9 ahead of it: rank 2. Of two equal scores the lower column is first: ranks 1 and 2."""
    scores = np.array([[0.9, 0.7, 0.1], [0.5, 0.5, 0.1], [0.5, 0.5, 0.1]])
    assert target_ranks(scores, np.array([1, 0, 1])).tolist() == [2, 1, 2]


def test_behind_the_first_k_nothing_is_won() -> None:
    ranks = np.array([1, 4, 5, 6])
    assert reciprocal_rank(ranks, 5).tolist() == [1, 0.25, 0.2, 0]
    assert reciprocal_rank(ranks).tolist() == [1, 0.25, 0.2, 1 / 6]
    assert hits(ranks, 5).tolist() == [1, 1, 1, 0]


@pytest.fixture(scope="module")
def judged() -> tuple[np.ndarray, np.ndarray]:
    """Ranked gains (n, depth) of 40 queries, and the gains of everything judged (n, depth + 6); some without any."""
    rng = np.random.default_rng(5)
    everything = rng.integers(0, 4, size=(40, DEPTH + 6)) * (rng.random((40, DEPTH + 6)) < 0.3)
    everything[:3] = 0
    return everything[:, :DEPTH].astype(float), everything.astype(float)


def by_trec(judged: tuple[np.ndarray, np.ndarray], measure: object) -> list[float]:
    gains, everything = judged
    qrels = [
        ir_measures.Qrel(str(query), f"d{place}", int(gain))
        for query, row in enumerate(everything)
        for place, gain in enumerate(row)
    ]
    run = [
        ir_measures.ScoredDoc(str(query), f"d{place}", float(DEPTH - place))
        for query, row in enumerate(gains)
        for place in range(len(row))
    ]
    found = {metric.query_id: metric.value for metric in ir_measures.iter_calc([measure], qrels, run)}
    return [found[str(query)] for query in range(len(gains))]


def test_ndcg_is_trec_evals(judged: tuple[np.ndarray, np.ndarray]) -> None:
    gains, everything = judged
    assert ndcg(gains, everything, 10) == pytest.approx(by_trec(judged, nDCG @ 10))
    assert ndcg(gains, everything, 5) == pytest.approx(by_trec(judged, nDCG @ 5))


def test_precision_recall_and_reciprocal_rank_are_trec_evals(judged: tuple[np.ndarray, np.ndarray]) -> None:
    gains, everything = judged
    assert precision(gains, 5) == pytest.approx(by_trec(judged, P @ 5))
    assert recall(gains, (everything > 0).sum(axis=1), 10) == pytest.approx(by_trec(judged, R @ 10))
    assert gain_reciprocal_rank(gains, 5) == pytest.approx(by_trec(judged, RR @ 5))


def test_hits_and_reciprocal_rank_of_one_target_are_trec_evals() -> None:
    scores = np.random.default_rng(2).random((30, DEPTH))
    targets = np.arange(30) % DEPTH
    ranks = target_ranks(scores, targets)
    gains = np.zeros((30, DEPTH))
    gains[np.arange(30), ranks - 1] = 1
    assert reciprocal_rank(ranks, 5) == pytest.approx(by_trec((gains, gains), RR @ 5))
    assert hits(ranks, 5) == pytest.approx(by_trec((gains, gains), R @ 5))


def test_an_interval_holds_the_difference_and_the_same_seed_gives_it_again() -> None:
    """Differences of mean 0.2 and deviation 1 over 400 queries: half width 1.96 / 20 = 0.098."""
    rng = np.random.default_rng(1)
    base = rng.normal(size=400)
    better = base + 0.2 + (noise := rng.normal(size=400)) - noise.mean()
    found = paired_bootstrap(better, base)
    assert found.mean == pytest.approx(0.2)
    assert found.low == pytest.approx(0.2 - 0.098, abs=0.02)
    assert found.high == pytest.approx(0.2 + 0.098, abs=0.02)
    assert found.above
    assert found == paired_bootstrap(better, base)


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of 200 intervals at 80 %, 160 hold the true mean; five deviations of a binomial (5.7) are allowed."""
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        found = paired_bootstrap(rng.normal(0.3, 1, 100), np.zeros(100), samples=300, confidence=0.8, seed=trial)
        covered += found.low <= 0.3 <= found.high
    assert 131 < covered < 189


def test_unpaired_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shapes \(3,\) and \(4,\)"):
        paired_bootstrap(np.zeros(3), np.zeros(4))
