"""A night on a planted log: what each arm's heads are worth by planted truth, for queries nothing was learned from."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.ml.click_training.plan import ClickPlan
from backend.ml.click_training.problem import Captions, ItemVectors, Problem
from backend.ml.click_training.train import train_arm
from backend.ml.clicks.adversaries import Honest
from backend.ml.clicks.click_log import part_of
from backend.ml.clicks.examination import ByPosition
from backend.ml.clicks.planted_log import click_log_of
from backend.ml.clicks.shoppers import Behaviour, gain
from backend.ml.clicks.simulated_log import Planted, planted_shop, simulate_log
from backend.ml.clicks.worlds import ONE_LIST, Population, World
from backend.ml.heads import ItemHeads, QueryHeads, QuerySide
from backend.ml.metrics import ndcg
from backend.ml.scoring import Calibration, Side

COMPARED = ("none", "naive", "ips", "dr")


def problem_of(
    planted: Planted, *, lists: int, seed: int, also: tuple[Population, ...] = (), units: int = 800, eta: float = 1.0
) -> Problem:
    """What readers of lists, and others, did: propensities are known, captions are products seen dimly."""
    readers = Population("readers", 1.0, Honest(Behaviour(examination=ByPosition(eta))), ONE_LIST)
    world = World("readers", "Read as 1/k.", (readers, *also))
    log = click_log_of(world, planted, simulate_log(world, planted, lists=lists, seed=seed, units=units))
    numbers = np.arange(len(planted.products))
    rng = np.random.default_rng(seed)
    words = planted.products + 0.08 * rng.standard_normal(planted.products.shape).astype(np.float32)
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    captions = Captions(words, numbers, np.array([part_of(f"product {number}") for number in numbers]))
    empty = Side(np.zeros((0, planted.products.shape[1]), np.float32), np.zeros(0, np.int64))
    items = ItemVectors(Side(planted.products, numbers), empty)
    theta = log.rows.position.astype(np.float64) ** -eta
    return Problem(log, theta, items, Calibration.identity(), QueryHeads(), captions)


def quality(
    planted: Planted,
    heads: QueryHeads,
    queries: NDArray[np.bool_],
    side: QuerySide = "text",
    items: ItemHeads | None = None,
) -> float:
    """Mean NDCG@10 by planted truth of some queries, over the whole catalogue."""
    sold = planted.products if items is None else items.adapt("image", planted.products)
    scores = heads.adapt(side, planted.queries[queries]) @ sold.T
    gains = gain(planted.grades[queries])
    top = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    return float(ndcg(np.take_along_axis(gains, top, axis=1), gains, 10).mean())


def arms_by_truth(given: Mapping[str, Any], seed: int) -> dict[str, float]:
    """NDCG@10 by planted truth of what each arm came to, by name: one log of the world ``given``, one training each.

    A ranking that knows the encoder alone showed every list. Plan and choice by validation are those of a night.
    """
    planted = planted_shop(
        queries=given["queries"], products=given["products"], shift=given["shift"], strength=0.0, seed=seed
    )
    problem = problem_of(planted, lists=given["lists"], seed=seed, eta=given["eta"])
    judged = problem.log.asked.parts() == "judged"
    trained = {arm: train_arm(problem, arm, ClickPlan(seeds=1), seed=seed) for arm in COMPARED}
    return {arm: quality(planted, one.heads, judged) for arm, one in trained.items()}
