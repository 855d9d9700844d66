"""The value of a real shop's recommender from the log of another one, beside what it really earned.

    python -m benchmarks.open_bandit --folder open-bandit-sample

The Open Bandit Dataset (Saito et al., NeurIPS 2021 Datasets and Benchmarks, arXiv 2008.07146) holds what two policies
showed in a fashion shop, at random (``random-<campaign>.csv``) and by Bernoulli Thompson sampling
(``bts-<campaign>.csv``), with the chance of each product at its place and whether it was clicked. Each policy ran on
its own traffic: what it earned there is the truth that the other's log must tell.

Chances of Thompson sampling move with what it learns. Where its value is asked for, the log of its own tells how often
it showed a product at a place (nothing of what was clicked); the random policy's chances are known.
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.counterfactual import Log, clip_of, doubly_robust, self_normalised
from backend.ml.clicks.estimates import Estimate, estimate_of
from backend.ml.clicks.off_policy import item_position
from backend.ml.clicks.relevance_model import relevance_model

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

POLICIES = ("random", "bts")


@dataclass(frozen=True)
class Shown:
    """One product at one place, a row each; (n,).

    Args:
        place: of the page, from 0.
        item: number of the product.
        clicked: 0 or 1.
        chance: of this product at this place when it was drawn.
    """

    place: Ints
    item: Ints
    clicked: Floats
    chance: Floats

    def shares(self, items: int, places: int) -> Floats:
        """(places, items) how often each product was shown at each place."""
        counts = np.zeros((places, items))
        np.add.at(counts, (self.place, self.item), 1)
        return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def read(path: Path) -> Shown:
    """A policy's log of one campaign."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [
            (row["position"], row["item_id"], row["click"], row["propensity_score"]) for row in csv.DictReader(file)
        ]
    place, item, clicked, chance = np.array(rows, dtype=np.float64).T
    return Shown(place.astype(np.int64) - 1, item.astype(np.int64), clicked, chance)


@dataclass(frozen=True)
class Valued:
    """Clicks a product shown: what a policy earned, and what the other's log says of it."""

    campaign: str
    policy: str
    truth: Estimate
    found: dict[str, Estimate]


def valued(campaign: str, policy: str, own: Shown, other: Shown) -> Valued:
    """The value of ``policy``, whose ``own`` log says what it earned, from the log of the ``other`` one."""
    items, places = int(max(own.item.max(), other.item.max())) + 1, int(max(own.place.max(), other.place.max())) + 1
    known = len(np.unique(own.chance)) == 1
    target = np.full((places, items), own.chance[0]) if known else own.shares(items, places)
    alone = np.arange(len(other.place))
    weighted = item_position(
        other.clicked[:, None], other.chance[:, None], target[other.place, other.item][:, None], alone
    )
    log = Log(
        query=other.place,
        unit=alone,
        fold=alone % 2,
        impression=alone,
        pair=other.place * items + other.item,
        clicked=other.clicked,
        alpha=np.ones(len(alone)),
        pair_query=np.repeat(np.arange(places), items),
        rho=other.shares(items, places).ravel(),
        clusters=(alone,),
    )
    clip, omega = clip_of(log.impressions), target.ravel()
    gamma = relevance_model(log, np.tile(np.arange(items), places), np.zeros(len(omega)), strength=100.0)
    found = {
        "IPS": weighted,
        "SNIPS": self_normalised(log, omega, clip=clip),
        "DR": doubly_robust(log, omega, gamma, clip=clip),
    }
    truth = estimate_of(own.clicked, own.clicked[own.clicked > 0], 1.0, [np.arange(len(own.clicked))])
    return Valued(campaign, policy, truth, found)


def campaigns(folder: Path) -> Iterator[Valued]:
    """Both policies of every campaign in ``folder``."""
    for path in sorted(folder.glob("random-*.csv")):
        campaign = path.stem.removeprefix("random-")
        logs = {policy: read(folder / f"{policy}-{campaign}.csv") for policy in POLICIES}
        for policy, other in (POLICIES, POLICIES[::-1]):
            yield valued(campaign, policy, logs[policy], logs[other])


def main() -> None:
    """Value and print, in clicks per thousand products shown."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--folder", type=Path, required=True)
    folder: Path = arguments.parse_args().folder
    print("| campaign | policy valued | on its own traffic | by | from the other's log | effective clicks | covered |")
    print("|---|---|---|---|---|---|---|")
    for one in campaigns(folder):
        for name, found in one.found.items():
            told, truth = (
                f"{1000 * e.value:.1f} ({1000 * e.low:.1f} to {1000 * e.high:.1f})" for e in (found, one.truth)
            )
            covered = f"{found.coverage:.3f}"
            print(f"| {one.campaign} | {one.policy} | {truth} | {name} | {told} | {found.effective:.0f} | {covered} |")


if __name__ == "__main__":
    main()
