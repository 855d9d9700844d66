"""A planted shop and its log as a problem to train on."""

import numpy as np
from numpy.typing import NDArray

from backend.ml.click_training.problem import Captions, ItemVectors, Problem
from backend.ml.clicks.adversaries import Honest
from backend.ml.clicks.click_log import part_of
from backend.ml.clicks.examination import ByPosition
from backend.ml.clicks.planted_log import click_log_of
from backend.ml.clicks.shoppers import Behaviour, gain
from backend.ml.clicks.simulated_log import Planted, planted_shop, simulate_log
from backend.ml.clicks.worlds import ONE_LIST, Population, World
from backend.ml.heads import QueryHeads
from backend.ml.metrics import ndcg
from backend.ml.scoring import Calibration, Side

READERS = Population("readers", 1.0, Honest(Behaviour(examination=ByPosition(1.0))), ONE_LIST)


def shop(seed: int, *, queries: int = 600, products: int = 600, dim: int = 32, shift: float = 0.6) -> Planted:
    """One whose ranking knows nothing of what is meant."""
    return planted_shop(queries=queries, products=products, dim=dim, shift=shift, strength=0.0, seed=seed)


def problem_of(
    planted: Planted, *, lists: int, seed: int, also: tuple[Population, ...] = (), units: int = 800
) -> Problem:
    """What readers of lists, and others, did: propensities are known, the captions are products in words."""
    world = World("readers", "Read as 1/k.", (READERS, *also))
    log = click_log_of(world, planted, simulate_log(world, planted, lists=lists, seed=seed, units=units))
    numbers = np.arange(len(planted.products))
    rng = np.random.default_rng(seed)
    words = planted.products + 0.08 * rng.standard_normal(planted.products.shape).astype(np.float32)
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    captions = Captions(words, numbers, np.array([part_of(f"product {number}") for number in numbers]))
    empty = Side(np.zeros((0, planted.products.shape[1]), np.float32), np.zeros(0, np.int64))
    items = ItemVectors(Side(planted.products, numbers), empty)
    return Problem(log, 1.0 / log.rows.position, items, Calibration.identity(), QueryHeads(), captions)


def quality(planted: Planted, heads: QueryHeads, queries: NDArray[np.bool_]) -> float:
    """Mean NDCG@10 by planted truth of some queries, over the whole catalogue."""
    scores = heads.adapt("text", planted.queries[queries]) @ planted.products.T
    gains = gain(planted.grades[queries])
    top = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    return float(ndcg(np.take_along_axis(gains, top, axis=1), gains, 10).mean())
