"""A planted shop and its log as a problem to train on."""

from dataclasses import replace

from backend.ml.click_training.batches import Night
from backend.ml.click_training.plan import ARMS, ClickPlan
from backend.ml.click_training.problem import Problem
from backend.ml.click_training.steps import Run
from backend.ml.clicks.simulated_log import Planted, planted_shop
from benchmarks.planted_night import quality

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


def learned(planted: Planted, problem: Problem, arm: str, plan: ClickPlan, seed: int) -> float:
    """Quality, for the queries that judge, of what an arm comes to at its last epoch, whatever validation says."""
    run = Run(Night(problem, ARMS[arm], plan), seed, plan.rate)
    run.judge(None)
    for _ in range(plan.epochs):
        run.judge(run.learn(None))
    return quality(planted, run.network.eval().frozen()[0], problem.log.asked.parts() == "judged")
