"""What rankings are worth by planted truth: NDCG@10 over a crowd's searches, from stored vectors and the one score."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from backend.demo.catalogue import products
from backend.demo.learn.vectors import Gallery
from backend.demo.shoppers.asking import Wish
from backend.demo.shoppers.planted import PlantedTruth
from backend.demo.shoppers.traffic import DEMO_SEED, Crowd, wishes_of
from backend.ml.clicks.adversaries import Honest
from backend.ml.clicks.click_log import part_of
from backend.ml.clicks.shoppers import gain
from backend.ml.heads import ItemHeads, QueryHeads
from backend.ml.metrics import ndcg
from backend.ml.scoring import Calibration, score_matrix

Floats = NDArray[np.float64]

DEPTH = 10

ASKED_OFTEN = 24
"""Searches among which the one to show is chosen."""

MEANT_GRADE = 3
"""Products of this grade and above are what a search is after."""


@dataclass(frozen=True)
class Worth:
    """NDCG@10 by planted truth.

    Args:
        all: over the crowd's searches, as often as they are asked.
        unseen: over those of them that no night learns from.
    """

    all: float
    unseen: float

    def to_json(self) -> dict[str, float]:
        """As the diary has it."""
        return {"all": round(self.all, 4), "unseen": round(self.unseen, 4)}


class Planted:
    """What a crowd asks for and what it holds for relevant.

    Args:
        crowd: whose truth it is.
    """

    def __init__(self, crowd: Crowd) -> None:
        chosen = products(crowd.products, DEMO_SEED)
        self._book = wishes_of(crowd, chosen)
        self._truth = PlantedTruth(chosen, crowd.world.taste)
        self._items = {product.id: row for row, product in enumerate(chosen)}
        shares: dict[tuple[str, ...], float] = {}
        for population, share in zip(crowd.world.populations, crowd.world.shares(), strict=True):
            if isinstance(population.shopper, Honest):  # what a bot or an adversary opens is nobody's wish
                shares[population.loves] = shares.get(population.loves, 0.0) + share
        total = sum(shares.values())
        self._tastes = {loves: share / total for loves, share in shares.items()}

    @property
    def wishes(self) -> Sequence[Wish]:
        """What is asked for, the most frequent first."""
        return self._book.wishes

    @property
    def chances(self) -> Floats:
        """(w,) how often each is asked."""
        return np.asarray(self._book.chances, dtype=np.float64)

    def wish(self, text: str) -> Wish | None:
        """The search of these words."""
        return self._by_text.get(" ".join(text.split()))

    @cached_property
    def _by_text(self) -> dict[str, Wish]:
        return {one.text: one for one in self.wishes}

    def shown(self, ids: Sequence[str], served: Callable[[str], Sequence[str]], row: int) -> tuple[str, str | None]:
        """The search to show, and the product to follow: where what is meant stands behind the first ``row`` places.

        Of the searches that are asked most, the one whose first row could gain most products that are meant; the
        product is the last one meant of its list.

        Args:
            ids: of everything that is sold.
            served: the list of a search as it is before anything was learned.
            row: places of a row.
        """
        best: tuple[int, int, str, str | None] = (0, 0, self.wishes[0].text, None)
        for wish in self.wishes[:ASKED_OFTEN]:
            found = served(wish.text)
            here = np.flatnonzero(self.grades(wish, found) >= MEANT_GRADE)
            behind = here[here >= 2 * row]
            if len(behind):
                meant = int((self.grades(wish, ids) >= MEANT_GRADE).sum())
                room = min(row, meant) - int((here < row).sum())
                best = max(best, (room, min(meant, len(found)), wish.text, found[behind[-1]]), key=lambda one: one[:2])
        return best[2], best[3]

    def grades(self, wish: Wish, ids: Sequence[str]) -> NDArray[np.int64]:
        """(k,) grades of products for those who are most."""
        loves = max(self._tastes, key=lambda one: self._tastes[one])
        grades = self._truth.grades(wish.named, loves)
        return np.array([grades[self._items[one]] if one in self._items else 0 for one in ids], dtype=np.int64)

    def quality(self, wish: Wish, order: NDArray[np.int64], rows: NDArray[np.int64]) -> float:
        """NDCG@10 of ``order`` (k,), rows of a gallery whose products are ``rows`` (p,) of the truth; -1 is unknown."""
        found = 0.0
        for loves, share in self._tastes.items():
            gains = np.append(gain(self._truth.grades(wish.named, loves)), 0.0)
            found += share * float(ndcg(gains[rows[order]][None, :], gains[None, :-1], DEPTH)[0])
        return found

    def rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """(p,) row of each product in the truth; -1 where it is none of the demo's."""
        return np.array([self._items.get(one, -1) for one in ids], dtype=np.int64)


class Bench:
    """Ranks a gallery for a crowd's searches, exactly.

    Args:
        planted: what is asked and meant.
        gallery: what is sold, before any head.
        calibration: of the one score.
        encode: words -> (d,) unit vector, before any head.
    """

    def __init__(
        self,
        planted: Planted,
        gallery: Gallery,
        calibration: Calibration,
        encode: Callable[[str], NDArray[np.float32]],
    ) -> None:
        self._planted = planted
        self._gallery = gallery
        self._calibration = calibration
        self._rows = planted.rows(gallery.ids)
        self._asked = np.stack([encode(one.text) for one in planted.wishes])
        unseen = [part_of(f"text:{one.text}") != "training" for one in planted.wishes]
        self._unseen = np.array(unseen, dtype=bool)

    def orders(self, heads: QueryHeads, items: ItemHeads | None = None, most: int = DEPTH) -> NDArray[np.int64]:
        """(w, most) rows of the gallery, the best first."""
        held = self._gallery.through(items or ItemHeads())
        asked = heads.adapt("text", self._asked)
        scores = score_matrix(asked, asked, held.images, held.captions, held.numbers, self._calibration, "text")
        return np.argsort(-scores, axis=1, kind="stable")[:, :most]

    def worth(self, heads: QueryHeads, items: ItemHeads | None = None) -> Worth:
        """What heads are worth."""
        found = np.array(
            [
                self._planted.quality(wish, order, self._rows)
                for wish, order in zip(self._planted.wishes, self.orders(heads, items), strict=True)
            ]
        )
        chances = self._planted.chances
        unseen = chances * self._unseen
        held = float(found @ unseen / unseen.sum()) if unseen.any() else float("nan")
        return Worth(float(found @ chances), held)

    def worths(self, arms: Mapping[str, QueryHeads], items: ItemHeads | None = None) -> dict[str, dict[str, float]]:
        """What each of some heads is worth, by name."""
        return {name: self.worth(heads, items).to_json() for name, heads in arms.items()}
