"""A log whose truth is known: planted vectors, a production ranking of chosen strength, and what shoppers did with it.

Nothing here asks a server: millions of lists take seconds, for estimators to be compared with what was planted.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.examination import Floats
from backend.ml.clicks.exploration import ExplorationPolicy, explore, odds
from backend.ml.clicks.shoppers import Acts, gain
from backend.ml.clicks.worlds import World

Ints = NDArray[np.int64]
Vectors = NDArray[np.float32]

GRADED = (3, 8, 18, 38)
"""Of each query's products by truth, the first 3 have grade 4, up to the 8th grade 3, the 18th 2, the 38th 1."""

Randomise = Callable[[Floats, int, np.random.Generator], tuple[Ints, Floats]]
"""Scores (c,) of candidates, best first, and how many are shown -> candidates in the order shown (k,), p_show (k,)."""


@dataclass(frozen=True)
class Planted:
    """q queries and p products with known relevance.

    Args:
        queries: (q, d) unit rows, as the frozen encoder has them.
        products: (p, d) unit rows.
        truth: (q, p) what the shoppers' eyes go by: cosine of the shifted query.
        grades: (q, p) 0 to 4.
        production: (q, p) scores of the ranking in use.
    """

    queries: Vectors
    products: Vectors
    truth: Floats
    grades: NDArray[np.int8]
    production: Floats


def planted_shop(
    *, queries: int, products: int, dim: int = 32, shift: float = 1.0, rank: int = 4, strength: float = 0.3, seed: int
) -> Planted:
    """Vectors whose relevance a residual head of low rank can learn.

    Truth is the cosine of normalise(q + ``shift`` q U Vᵀ) with U, V (d, ``rank``): what the frozen encoder has wrong is
    the same for all queries. Production scores are ``strength`` of truth and the rest the frozen cosine.

    Raises:
        ValueError: fewer products than are graded.
    """
    if products <= GRADED[-1]:
        raise ValueError(f"{products} products: expected more than the {GRADED[-1]} that are graded")
    rng = np.random.default_rng(seed)
    asked, sold = _unit(rng.standard_normal((queries, dim))), _unit(rng.standard_normal((products, dim)))
    inward, outward = (np.linalg.qr(rng.standard_normal((dim, rank)))[0] for _ in range(2))
    meant = _unit(asked + shift * np.sqrt(dim / rank) * (asked @ inward) @ outward.T)
    truth = meant @ sold.T
    production = strength * truth + (1 - strength) * (asked @ sold.T)
    return Planted(asked.astype(np.float32), sold.astype(np.float32), truth, planted_grades(truth), production)


@dataclass(frozen=True)
class SimulatedLog:
    """n lists of k places; (n, k) unless another shape is named.

    Args:
        query: (n,) row of the query.
        population: (n,) place of the population in its world.
        unit: (n,) whose list it is.
        ranker: (n,) which of the rankings ordered it.
        columns: (n,) columns it was shown in.
        shown: columns of the products in ``Planted``, in the order shown.
        p_show: chance of each product at its place, given the ranking, over the coins of ``randomise``.
        gains: planted, of what was shown.
        acts: what was done.
    """

    query: Ints
    population: Ints
    unit: Ints
    ranker: Ints
    columns: Ints
    shown: Ints
    p_show: Floats
    gains: Floats
    acts: Acts


def simulate_log(
    world: World,
    planted: Planted,
    *,
    lists: int,
    seed: int,
    length: int = 10,
    units: int = 1000,
    rankers: tuple[Floats, ...] = (),
    randomise: Randomise | None = None,
    zipf: float = 0.0,
) -> SimulatedLog:
    """What the shoppers of ``world`` did with ``lists`` lists.

    Args:
        world: who comes.
        planted: what is relevant.
        lists: n.
        seed: the same seed gives the same log.
        length: k, places of a list.
        units: how many shoppers there are; each belongs to one population.
        rankers: (q, p) scores of each ranking, chosen by a coin per list; none: the production ranking alone.
        randomise: explores, from the scores of the 50 best; None shows them as they are.
        zipf: queries come in proportion to rank^-zipf; 0 all alike.
    """
    rng = np.random.default_rng(seed)
    of_unit = rng.choice(len(world.populations), size=units, p=world.shares())
    unit = rng.integers(units, size=lists)
    for number, one in enumerate(world.populations):
        if one.alone and (of_unit == number).any():
            unit[of_unit[unit] == number] = np.flatnonzero(of_unit == number)[0]
    popularity = np.arange(1, len(planted.queries) + 1) ** -zipf
    query = rng.choice(len(planted.queries), size=lists, p=popularity / popularity.sum())
    scores = rankers or (planted.production,)
    ranker = rng.integers(len(scores), size=lists)
    shown, p_show = _served(scores, query, ranker, length, randomise, rng)
    gains = gain(planted.grades)[query[:, None], shown]
    population = of_unit[unit]
    acts, columns = _acted(world, population, gains, shown, rng)
    return SimulatedLog(query, population, unit, ranker, columns, shown, p_show, gains, acts)


def exploring(policy: ExplorationPolicy) -> Randomise:
    """Pair and slot exploration of every list; the odds of equal scores are computed once."""
    known: dict[tuple[bytes, int], Floats] = {}

    def randomise(scores: Floats, length: int, rng: np.random.Generator) -> tuple[Ints, Floats]:
        asked = (scores.tobytes(), length)
        if asked not in known:
            known[asked] = odds(scores, length, policy)[:, :length]
        order = explore(scores, length, policy, rng).order[:length]
        return order, known[asked][order, np.arange(length)]

    return randomise


def _served(
    scores: tuple[Floats, ...],
    query: Ints,
    ranker: Ints,
    length: int,
    randomise: Randomise | None,
    rng: np.random.Generator,
) -> tuple[Ints, Floats]:
    """(n, k) products in the order shown and their p_show."""
    depth = min(max(50, length), scores[0].shape[1])
    best = np.stack([np.argsort(-one, axis=1, kind="stable")[:, :depth] for one in scores])  # (r, q, depth)
    candidates = best[ranker, query]
    if randomise is None:
        return candidates[:, :length], np.ones((len(query), length))
    shown, p_show = np.empty((len(query), length), dtype=np.int64), np.empty((len(query), length))
    for at, (row, which, asked) in enumerate(zip(candidates, ranker, query, strict=True)):
        order, p_show[at] = randomise(scores[which][asked][row], length, rng)
        shown[at] = row[order]
    return shown, p_show


def _acted(world: World, population: Ints, gains: Floats, shown: Ints, rng: np.random.Generator) -> tuple[Acts, Ints]:
    """What each population did with its lists, put together again, and (n,) columns."""
    whole: dict[str, Any] = {}
    columns = np.empty(len(population), dtype=np.int64)
    for number, one in enumerate(world.populations):
        own = np.flatnonzero(population == number)
        columns[own] = one.context.columns
        done = one.shopper.act(gains[own], shown[own], one.context.columns, rng)
        for field in fields(Acts):
            part = getattr(done, field.name)
            target = whole.setdefault(field.name, np.zeros((len(population), *part.shape[1:]), dtype=part.dtype))
            target[own] = part
    return Acts(**whole), columns


def planted_grades(truth: Floats) -> NDArray[np.int8]:
    """(q, p) grades by rank within a query."""
    grades = np.zeros(truth.shape, dtype=np.int8)
    order = np.argsort(-truth, axis=1, kind="stable")
    begin = 0
    for grade, end in zip((4, 3, 2, 1), GRADED, strict=True):
        np.put_along_axis(grades, order[:, begin:end], np.int8(grade), axis=1)
        begin = end
    return grades


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
