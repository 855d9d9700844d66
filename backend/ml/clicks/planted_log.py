"""A simulated log as the night reads it, for estimators, training and gates to be proven against what was planted."""

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.click_log import NO_COINS, NO_JUDGEMENTS, Asked, ClickLog, Coins, Context, Lists, Rows
from backend.ml.clicks.examination import Floats
from backend.ml.clicks.exploration import ExplorationPolicy, odds
from backend.ml.clicks.labels import SATISFYING, graded
from backend.ml.clicks.simulated_log import Planted, SimulatedLog
from backend.ml.clicks.worlds import World

_DEPTH = 50
_NOTHING = 1e-6
"""Chances below this are left out of the record."""


def click_log_of(
    world: World,
    planted: Planted,
    log: SimulatedLog,
    *,
    rankers: tuple[Floats, ...] = (),
    policy: ExplorationPolicy | None = None,
    days: float = 14.0,
) -> ClickLog:
    """``log`` as columns; products are rows of ``planted.products``, a query's key is ``text:<row>``.

    Args:
        world: whose log it is.
        planted: what was planted.
        log: what was done.
        rankers: as ``simulate_log`` had them.
        policy: of the exploration that ``simulate_log`` had; None where its lists are shown as ranked.
        days: that the lists are spread over, evenly.
    """
    lists, length = log.shown.shape
    contexts, numbers = _contexts(world, log)
    cohorts = ("", *sorted({one.context.cohort or "" for one in world.populations} - {""}))
    cohort_of = [cohorts.index(one.context.cohort or "") for one in world.populations]
    acts, label = log.acts, _labels(log)
    asked = Asked(tuple(f"text:{row}" for row in range(len(planted.queries))), ("text",) * len(planted.queries),
                  planted.queries)  # fmt: skip
    return ClickLog(
        asked=asked,
        lists=Lists(
            query=log.query.astype(np.int32),
            unit=log.unit.astype(np.int32),
            context=numbers,
            cohort=np.array(cohort_of, np.int16)[log.population],
            generation=(1 + log.ranker).astype(np.int32),
            served=1.7e9 + np.linspace(0.0, 86_400.0 * days, lists),
            start=np.arange(lists, dtype=np.int64) * length,
            abandoned=acts.reformulated,
        ),
        rows=Rows(
            product=log.shown.ravel().astype(np.int32),
            position=np.tile(np.arange(1, length + 1, dtype=np.int16), lists),
            p_show=log.p_show.ravel().astype(np.float32),
            score=np.take_along_axis((rankers or (planted.production,))[0][log.query], log.shown, axis=1)
            .ravel()
            .astype(np.float32),
            viewed=(acts.viewed | acts.clicked).ravel(),
            clicked=acts.clicked.ravel(),
            satisfied=(label >= SATISFYING).ravel(),
            label=label.ravel(),
        ),
        coins=_coins(planted, log, rankers or (planted.production,), length, policy),
        judgements=NO_JUDGEMENTS,
        products=np.arange(len(planted.products), dtype=np.int64),
        contexts=contexts,
        cohorts=cohorts,
    )


def _labels(log: SimulatedLog) -> NDArray[np.float32]:
    """(n, k), as the night grades them without a cut of its own."""
    acts = log.acts
    later = np.zeros_like(acts.clicked)
    later[:, :-1] = np.flip(np.logical_or.accumulate(np.flip(acts.clicked, 1), axis=1), 1)[:, 1:]
    return graded(
        clicked=acts.clicked,
        dwell_ms=acts.dwell_ms,
        timed=acts.timed,
        returned=acts.returned,
        went_on=later | acts.reformulated[:, None],
        kept=acts.carted | acts.wished,
        bought=acts.bought,
    )


def _contexts(world: World, log: SimulatedLog) -> tuple[tuple[Context, ...], NDArray[np.int16]]:
    of_population = [
        Context(one.context.device, one.context.layout, one.context.columns, "text") for one in world.populations
    ]
    distinct = tuple(dict.fromkeys(of_population))
    return distinct, np.array([distinct.index(one) for one in of_population], np.int16)[log.population]


def _coins(
    planted: Planted, log: SimulatedLog, rankers: tuple[Floats, ...], length: int, policy: ExplorationPolicy | None
) -> Coins:
    if policy is None:
        return NO_COINS
    depth = min(max(_DEPTH, length), len(planted.products))
    known: dict[tuple[int, int], tuple[NDArray[np.int64], NDArray[np.int64], Floats]] = {}
    parts = []
    for at, (ranker, query) in enumerate(zip(log.ranker.tolist(), log.query.tolist(), strict=True)):
        if (ranker, query) not in known:
            scores = rankers[ranker][query]
            candidates = np.argsort(-scores, kind="stable")[:depth]
            chances = odds(scores[candidates], length, policy)[:, :length]
            which, rank = np.nonzero(chances > _NOTHING)
            known[ranker, query] = candidates[which], rank + 1, chances[which, rank]
        parts.append((at, *known[ranker, query]))
    return Coins(
        np.arange(len(parts), dtype=np.int64),
        np.concatenate([np.full(len(one[1]), one[0], np.int32) for one in parts]),
        np.concatenate([one[1] for one in parts]).astype(np.int32),
        np.concatenate([one[2] for one in parts]).astype(np.int16),
        np.concatenate([one[3] for one in parts]).astype(np.float32),
    )
