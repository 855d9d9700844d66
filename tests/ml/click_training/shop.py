"""A planted shop and its log as a problem to train on."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backend.ml.click_training.batches import Night
from backend.ml.click_training.plan import ARMS, ClickPlan
from backend.ml.click_training.problem import Captions, ItemVectors, Problem
from backend.ml.click_training.steps import Run
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

FREE = ClickPlan(
    scale=10.0,
    remember=0.0,
    replay=0.0,
    distil=0.0,
    identity=0.0,
    least_retention=0.0,
    half_life=1e6,
    rate=3e-3,
    dropout=0.0,
    safe=False,
    query_share=1.0,
    unit_share=1.0,
)
"""Nothing but one loss: what is compared is how clicks count."""

LIST_ALONE, CONTRAST_ALONE = replace(FREE, contrast=0.0), replace(FREE, listwise=0.0, contrast=1.0)


def shop(seed: int, *, queries: int = 600, products: int = 600, dim: int = 32, shift: float = 0.6) -> Planted:
    """One whose ranking knows nothing of what is meant."""
    return planted_shop(queries=queries, products=products, dim=dim, shift=shift, strength=0.0, seed=seed)


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


def quality(planted: Planted, heads: QueryHeads, queries: NDArray[np.bool_]) -> float:
    """Mean NDCG@10 by planted truth of some queries, over the whole catalogue."""
    scores = heads.adapt("text", planted.queries[queries]) @ planted.products.T
    gains = gain(planted.grades[queries])
    top = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    return float(ndcg(np.take_along_axis(gains, top, axis=1), gains, 10).mean())


def learned(planted: Planted, problem: Problem, arm: str, plan: ClickPlan, seed: int) -> float:
    """Quality, for the queries that judge, of what an arm comes to at its last epoch, whatever validation says."""
    run = Run(Night(problem, ARMS[arm], plan), seed, plan.rate)
    run.judge(None)
    for _ in range(plan.epochs):
        run.judge(run.learn(None))
    return quality(planted, run.network.eval().frozen()[0], problem.log.asked.parts() == "judged")
