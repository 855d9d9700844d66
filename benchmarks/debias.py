"""What debiasing is worth where the truth is known: attention by rank, values of rankings, intervals of gains, heads.

    python -m benchmarks.debias [--worlds tests/ml/clicks/known_truth.toml] [--seeds 0] [--tables attention arms]

Draws the worlds of the file with as many seeds as it says (``long``; ``--seeds`` for fewer) and prints, beside each
number, that of the naive twin: click rates by rank for propensities, clicks as they are for values of rankings and
for heads that are trained on them.
"""

import argparse
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.adversaries import Honest
from backend.ml.clicks.click_log import ClickLog
from backend.ml.clicks.contexts import ContextOptions, estimate_contexts
from backend.ml.clicks.counterfactual import (
    Log,
    clip_of,
    difference,
    direct,
    doubly_robust,
    inverse_propensity,
    self_normalised,
)
from backend.ml.clicks.examination import ByPosition, examined_share
from backend.ml.clicks.lottery import Drawn, Lottery, draw
from backend.ml.clicks.planted_log import click_log_of
from backend.ml.clicks.relevance_model import relevance_model
from backend.ml.clicks.shoppers import Behaviour
from backend.ml.clicks.simulated_log import planted_shop, simulate_log
from backend.ml.clicks.worlds import ONE_LIST, Population, World
from benchmarks.planted_night import COMPARED, arms_by_truth

WORLDS_FILE = Path(__file__).parents[1] / "tests" / "ml" / "clicks" / "known_truth.toml"

Given = Mapping[str, Any]
Floats = NDArray[np.float64]


def known_truth(path: Path = WORLDS_FILE) -> dict[str, Any]:
    """The worlds and seeds of the file."""
    with path.open("rb") as file:
        return tomllib.load(file)


@dataclass(frozen=True)
class AttentionError:
    """Mean relative errors of propensities behind rank 1, and what they rest on."""

    estimated: float
    likelihood: float
    naive: float
    clicks: float


def attention_error(given: Given, clicks: int, seed: int) -> AttentionError:
    """Of a log with some ``clicks`` harvested."""
    shop = planted_shop(
        queries=given["queries"], products=given["products"], strength=given["strength"], seed=given["shop_seed"]
    )
    rng = np.random.default_rng(seed)
    rankers = tuple(shop.production + rng.normal(0, wrong, shop.production.shape) for wrong in given["nights"])
    behaviour = Behaviour(examination=ByPosition(given["eta"]), rows_in_view=10)
    world = World("known", "A list in view as a whole.", (Population("all", 1.0, Honest(behaviour), ONE_LIST),))
    simulated = simulate_log(world, shop, lists=int(given["lists_per_click"] * clicks), seed=seed, rankers=rankers)
    log: ClickLog = click_log_of(world, shop, simulated, rankers=rankers)
    found = estimate_contexts(log, ContextOptions(seed=seed)).contexts[0]
    theta = examined_share(behaviour.examination, 10, 1)

    def error(curve: tuple[float, ...]) -> float:
        return float(np.abs(np.array(curve) / theta - 1)[1:].mean())

    return AttentionError(error(found.harvested), error(found.likelihood), error(found.naive), found.clicks)


def lottery_of(given: Given) -> Lottery:
    """The lottery of a world."""
    return Lottery(**{one.name: given[one.name] for one in fields(Lottery) if one.name in given})


def as_clicked(log: Log) -> Log:
    """The log as one reads it who knows nothing of attention: each place counts alike."""
    queries = int(log.pair_query[-1]) + 1
    shown = (
        np.bincount(log.pair, minlength=len(log.rho))
        / np.maximum(np.bincount(log.query, minlength=queries), 1)[log.pair_query]
    )
    return replace(log, alpha=np.ones(len(log.alpha)), rho=shown)


def errors_of_values(drawn: Drawn) -> dict[str, float]:
    """Error of each estimator of the candidate's value, by name."""
    truth, log, omega = drawn.value(drawn.candidate), drawn.log, drawn.candidate
    clip, gamma = clip_of(log.impressions), relevance_model(log, drawn.product, drawn.frozen)
    found = {
        "IPS": inverse_propensity(log, omega),
        "clipped IPS": inverse_propensity(log, omega, clip=clip),
        "SNIPS": self_normalised(log, omega, clip=clip),
        "DM": direct(log, omega, gamma),
        "DR": doubly_robust(log, omega, gamma, clip=clip),
    }
    return {name: one.value - truth for name, one in found.items()}


@dataclass(frozen=True)
class Held:
    """Whether an interval of a gain holds the true one."""

    robust: bool
    naive: bool
    deviation: float


def interval_holds(drawn: Drawn, truth: float) -> Held:
    """Of the doubly robust difference, and of that of clicks as they are."""
    log, clip = drawn.log, clip_of(drawn.log.impressions)
    naive = as_clicked(log)
    ours, theirs = (
        difference(one, drawn.candidate, drawn.production, gamma, clip=clip)
        for one, gamma in ((each, relevance_model(each, drawn.product, drawn.frozen)) for each in (log, naive))
    )
    return Held(ours.low <= truth <= ours.high, theirs.low <= truth <= theirs.high, ours.deviation)


def _attention_table(given: Given, seeds: int) -> None:
    print("| harvested clicks | least squares | likelihood | click rate by rank |\n|---|---|---|---|")
    for size in given["sizes"]:
        found = [attention_error(given, size, seed) for seed in range(seeds)]
        mean = {
            name: np.mean([getattr(one, name) for one in found])
            for name in ("estimated", "likelihood", "naive", "clicks")
        }
        print(f"| {mean['clicks']:,.0f} | {mean['estimated']:.3f} | {mean['likelihood']:.3f} | {mean['naive']:.3f} |")


def _value_table(given: Given, seeds: int) -> None:
    lottery = lottery_of(given)
    for size in given["sizes"]:
        found = [
            errors_of_values(draw(lottery, queries=given["queries"], impressions=size, seed=s)) for s in range(seeds)
        ]
        print(f"\n| {size:,} lists | RMSE | bias |\n|---|---|---|")
        for name in found[0]:
            errors = np.array([one[name] for one in found])
            print(f"| {name} | {np.sqrt((errors**2).mean()):.4f} | {errors.mean():+.4f} |")


def _gain_table(given: Given, seeds: int) -> None:
    lottery = lottery_of(given)
    truth = draw(lottery, queries=given["population"], impressions=1, seed=10**6).gain
    print(f"\n| lists | intervals that hold the gain of {truth:.3f} | of clicks as they are |\n|---|---|---|")
    for size in given["sizes"]:
        held = [
            interval_holds(draw(lottery, queries=given["queries"], impressions=size, seed=s), truth)
            for s in range(seeds)
        ]
        print(
            f"| {size:,} | {np.mean([one.robust for one in held]):.3f} | {np.mean([one.naive for one in held]):.3f} |"
        )


def _arms_table(given: Given, seeds: int) -> None:
    print(f"\n| NDCG@10 by planted truth | {' | '.join(COMPARED)} |\n|---{'|---' * len(COMPARED)}|")
    for world in given["worlds"]:
        found = [arms_by_truth(world, seed) for seed in range(seeds)]
        cells = []
        for arm in COMPARED:
            reached = np.array([one[arm] for one in found])
            cells.append(f"{reached.mean():.3f} ± {reached.std(ddof=1) if seeds > 1 else 0.0:.3f}")
        print(f"| {world['name']} | {' | '.join(cells)} |")


def main() -> None:
    """Draw and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--worlds", type=Path, default=WORLDS_FILE)
    arguments.add_argument("--seeds", type=int, default=0, help="of each world; 0: as many as the file says")
    arguments.add_argument("--tables", nargs="+", choices=_TABLES, default=list(_TABLES))
    given = arguments.parse_args()
    worlds = known_truth(given.worlds)
    for name in given.tables:
        _TABLES[name](worlds[name], given.seeds or worlds[name]["long"])


_TABLES = {"attention": _attention_table, "value": _value_table, "gain": _gain_table, "arms": _arms_table}


if __name__ == "__main__":
    main()
