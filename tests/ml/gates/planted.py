"""Nights whose truth is planted: what is wrong with the frozen encoder is one linear map, and heads know part of it."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.click_log import part_of
from backend.ml.clicks.contexts import ContextOptions, estimate_contexts
from backend.ml.clicks.exploration import ExplorationPolicy
from backend.ml.clicks.planted_log import click_log_of
from backend.ml.clicks.shoppers import gain
from backend.ml.clicks.simulated_log import Planted, exploring, planted_shop, simulate_log
from backend.ml.clicks.worlds import WORLDS, World, with_fans_of
from backend.ml.gates.evidence import Candidate, Evidence
from backend.ml.gates.golden import Golden
from backend.ml.gates.rankers import Ranker
from backend.ml.heads import Head, QueryHeads
from backend.ml.metrics import ndcg
from backend.ml.scoring import Calibration, Side

Floats = NDArray[np.float64]

DIM, RANK, SHIFT = 32, 4, 0.7


def unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@dataclass(frozen=True)
class Knowing:
    """A head that knows some of what shoppers mean, and may turn or pull what it says."""

    shift: Floats
    strength: float
    turn: Floats | None = None
    pull: Floats | None = None

    def __call__(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        asked = unit(self.strength * unit(vectors @ self.shift) + (1 - self.strength) * vectors)
        if self.turn is not None:
            asked = asked @ self.turn
        if self.pull is not None:
            asked = asked + self.pull
        return unit(asked).astype(np.float32)


@dataclass(frozen=True)
class Night:
    """One night of a world."""

    planted: Planted
    shift: Floats
    strength: float
    evidence: Evidence

    def ranker(self, strength: float, **changed: Floats) -> Ranker:
        """A ranking that knows this much of the truth."""
        head = cast(Head, Knowing(self.shift, strength, **changed))
        nothing = Side(np.zeros((0, DIM), np.float32), np.zeros(0, np.int64))
        pictures = Side(self.planted.products, np.arange(len(self.planted.products)))
        heads = QueryHeads(text=head if strength or changed else None)
        return Ranker(heads, pictures, nothing, Calibration(caption_weight=0.0))

    def candidates(self, seed: int = 0) -> dict[str, Candidate]:
        """What may be offered to the gates: some of it good."""
        rng = np.random.default_rng(seed)
        turn = np.eye(DIM) + 0.25 * rng.standard_normal((DIM, DIM)) / np.sqrt(DIM)
        rankers = {
            "better": self.ranker(min(self.strength + 0.15, 1.0)),
            "much better": self.ranker(min(self.strength + 0.4, 1.0)),
            "same": self.ranker(self.strength),
            "worse": self.ranker(max(self.strength - 0.15, 0.0)),
            "noise": self.ranker(self.strength, turn=turn),
            "one product": self.ranker(self.strength, pull=0.15 * self.planted.products[self.loved]),
        }
        return {name: Candidate(name, one) for name, one in rankers.items()}

    @property
    def loved(self) -> int:
        """The product that fans love."""
        return loved_of(self.planted)

    def truth(self, ranker: Ranker) -> float:
        """NDCG@10 by what was planted."""
        log = self.evidence.log
        first = ranker.first(log.asked, np.arange(len(log.asked.keys)), log.products, 10)
        gains = gain(self.planted.grades)
        return float(ndcg(np.take_along_axis(gains, first, axis=1), gains, 10).mean())


def loved_of(planted: Planted) -> int:
    return int(np.argsort(-planted.production[0])[3])


def night(
    name: str, *, lists: int, seed: int, queries: int = 400, products: int = 1200, strength: float | None = None
) -> Night:
    """A night of the world ``name``, whose ranking changed a little meanwhile and whose lists all explore."""
    world = WORLDS[name]
    strength = world.strength if strength is None else strength
    planted = planted_shop(
        queries=queries, products=products, dim=DIM, shift=SHIFT, rank=RANK, strength=strength, seed=seed
    )
    shift, captions = _map_and_captions(planted, queries, products, seed)
    if name == "fan":
        world = with_fans_of(world, loved_of(planted))
    evidence = _evidence(world, planted, shift, captions, lists, seed, strength)
    return Night(planted, shift, strength, evidence)


def _map_and_captions(planted: Planted, queries: int, products: int, seed: int) -> tuple[Floats, Floats]:
    """What ``planted_shop`` drew, and captions that say nothing of what is shifted."""
    rng = np.random.default_rng(seed)
    rng.standard_normal((queries, DIM)), rng.standard_normal((products, DIM))
    inward, outward = (np.linalg.qr(rng.standard_normal((DIM, RANK)))[0] for _ in range(2))
    shift = np.eye(DIM) + SHIFT * np.sqrt(DIM / RANK) * inward @ outward.T
    noisy = planted.products + 0.35 * rng.standard_normal(planted.products.shape) / np.sqrt(DIM)
    return shift, unit(noisy - noisy @ inward @ inward.T)


def _evidence(
    world: World, planted: Planted, shift: Floats, captions: Floats, lists: int, seed: int, strength: float
) -> Evidence:
    asked, before = planted.queries.astype(np.float64), max(strength - 0.1, 0.0)
    earlier = (before * unit(asked @ shift) + (1 - before) * asked) @ planted.products.T
    rankers, policy = (planted.production, earlier), ExplorationPolicy()
    simulated = simulate_log(
        world, planted, lists=lists, seed=seed, randomise=exploring(policy), units=max(lists // 8, 50), zipf=0.5,
        rankers=rankers,
    )  # fmt: skip
    log = click_log_of(world, planted, simulated, policy=policy, rankers=rankers)
    parts = np.array([part_of(f"p{number}") for number in range(len(captions))])
    kept = np.flatnonzero(parts != "training")
    golden = Golden(("text",) * len(kept), captions[kept].astype(np.float32), kept, parts[kept])
    bare = Night(planted, shift, strength, cast(Evidence, None))
    found = estimate_contexts(log, ContextOptions())
    return Evidence(log, found, golden, bare.ranker(strength), bare.ranker(0.0))
