"""A night's arms before the gates: what they are judged by, and what the system measures of them."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from backend.catalog.models import Product
from backend.ml.click_training.plan import ARMS, TrainedArm
from backend.ml.click_training.problem import Captions, ItemVectors, Problem
from backend.ml.clicks.context_propensities import ContextPropensities
from backend.ml.clicks.exploration import NEW_DAYS
from backend.ml.gates.evidence import Candidate, Evidence
from backend.ml.gates.golden import Golden, labelled
from backend.ml.gates.judge import Told, judge_night
from backend.ml.gates.rankers import Ranker
from backend.ml.gates.steps import STEPS, part_way
from backend.ml.gates.thresholds import Thresholds
from backend.ml.gates.verdict import NightVerdict
from backend.ml.head_files import dump_query_heads, load_query_heads
from backend.ml.heads import QueryHeads, QuerySide

MOST_GOLDEN = 2000
"""Captions of each part that are asked, each over the whole catalogue for each arm."""

_TRIES = 200
"""Single queries that a head is timed with."""

_USUAL_MS = 10.0
"""A query's latency where none was served lately."""


def judge_arms(
    problem: Problem,
    propensities: ContextPropensities,
    arms: Sequence[TrainedArm],
    thresholds: Thresholds,
    *,
    encoder_id: str,
    generation: int | None = None,
    fresh: NDArray[np.bool_] | None = None,
    latency_ms: float | None = None,
    seed: int = 0,
    told: Told = lambda *_: None,
) -> NightVerdict:
    """The verdict of a night.

    Args:
        problem: what the arms were trained with.
        propensities: of the night.
        arms: that were trained.
        thresholds: what is asked.
        encoder_id: the live encoder.
        generation: that is live.
        fresh: (p,) products that are new (:func:`new_products`).
        latency_ms: of queries lately (:func:`served_latency`).
        seed: of the bootstrap.
        told: progress.
    """
    evidence = Evidence(
        log=problem.log,
        propensities=propensities,
        golden=_golden(problem),
        production=_ranker(problem, problem.production, problem.items),
        frozen=_ranker(problem, QueryHeads(), problem.frozen_items),
        fresh=fresh,
        generation=generation,
    )
    usual = _USUAL_MS if latency_ms is None else max(latency_ms, 1.0)
    before = head_ms(problem.production, problem)
    candidates = [_candidate(problem, arm, encoder_id, before, usual) for arm in arms]
    return judge_night(evidence, candidates, thresholds, seed=seed, told=told)


def with_smaller_steps(problem: Problem, arms: Sequence[TrainedArm]) -> list[TrainedArm]:
    """``arms``, and of each that can be gone a part of the way, the parts: ``ips-0.5``, ``ips-0.25``.

    Training does not look at what the log can vouch for; of one direction, the longest step that it can is judged. Each
    way begins where its arm did: a part of the way from what is live to heads that are to be free of it is not free.
    """
    found = list(arms)
    for arm in arms:
        begun = QueryHeads() if (known := ARMS.get(arm.name)) and known.fresh else problem.production
        for share in STEPS if arm.gamma and arm.items is None else ():
            heads = part_way(begun, arm.heads, share)
            if heads is not None:
                report = {"part_of": arm.name, "share": share}
                found.append(TrainedArm(f"{arm.name}-{share:g}", heads, None, arm.gamma * share, (), report))
    return found


def new_products(session: Session, products: NDArray[np.int64], now: datetime) -> NDArray[np.bool_]:
    """(p,) which of ``products`` (p,) came within the last 14 days."""
    since = now - timedelta(days=NEW_DAYS)
    found = session.scalars(select(Product.number).where(Product.created_at > since)).all()
    return np.isin(products, np.array(found, np.int64))


def served_latency(session: Session, now: datetime) -> float | None:
    """95th percentile of the milliseconds that lists of the last day took; None where there were none."""
    since = (now - timedelta(days=1)).astimezone(UTC)  # rows lie under days in UTC
    return session.execute(_LATENCY, {"since": since, "day": since.date()}).scalar()


_LATENCY = text("""
    SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms) FROM served_lists
    WHERE served_on >= :day AND served_at >= :since AND latency_ms IS NOT NULL
""")


def head_ms(heads: QueryHeads, problem: Problem) -> float:
    """Milliseconds that a single query by words spends in the heads, the median."""
    vector = np.asarray(problem.captions.vectors[:1])
    took = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        heads.adapt("text", vector)
        took.append(time.perf_counter() - began)
    return float(np.median(took)) * 1000.0


def _candidate(problem: Problem, arm: TrainedArm, encoder_id: str, before_ms: float, usual_ms: float) -> Candidate:
    items = problem.items if arm.items is None else problem.frozen_items.through(arm.items)
    longer = max(head_ms(arm.heads, problem) - before_ms, 0.0)
    measured = {"latency": 1.0 + longer / usual_ms, "checksum": float(_kept_alike(problem, arm, encoder_id))}
    return Candidate(arm.name, _ranker(problem, arm.heads, items), arm.gamma, measured)


def _kept_alike(problem: Problem, arm: TrainedArm, encoder_id: str) -> bool:
    """Whether the heads are the same to the last bit once they were written and read."""
    kept = load_query_heads(dump_query_heads(arm.heads, encoder_id), encoder_id)
    some = np.asarray(problem.captions.vectors[:100])
    sides: tuple[QuerySide, ...] = ("text", "image")
    return all(np.array_equal(kept.adapt(side, some), arm.heads.adapt(side, some)) for side in sides)


def _golden(problem: Problem) -> Golden:
    """Captions by part, and what shoppers judged of queries that nothing is learned from."""
    parts = [_some(problem.captions.part(name)) for name in ("judged", "validation")]
    captions = Golden(
        ("text",) * sum(len(one.products) for one in parts),
        np.concatenate([one.vectors for one in parts]),
        np.concatenate([one.products for one in parts]),
        np.concatenate([one.parts for one in parts]),
    )
    return captions.and_also(labelled(problem.log, problem.frozen_items.images.products))


def _some(captions: Captions) -> Captions:
    """At most so many, the same of the same catalogue, spread over it."""
    rows = np.unique(np.linspace(0, len(captions.products) - 1, min(len(captions.products), MOST_GOLDEN)).astype(int))
    return Captions(captions.vectors[rows], captions.products[rows], captions.parts[rows])


def _ranker(problem: Problem, heads: QueryHeads, items: ItemVectors) -> Ranker:
    return Ranker(heads, items.images, items.captions, problem.calibration)
