"""A night's lists as the steps of a training take them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.ml.click_training.doubly_robust import doubly_robust_examples
from backend.ml.click_training.examples import Examples, examples
from backend.ml.click_training.gallery import Gallery, Rowed, Scales
from backend.ml.click_training.losses import Drawn
from backend.ml.click_training.plan import Arm, ClickPlan
from backend.ml.click_training.problem import Captions, Problem
from backend.ml.click_training.validation import Memory
from backend.ml.scoring import Kind

Rows = NDArray[np.int64]

ALIKE = 0.95
"""Cosine of two products' pictures, as the encoder gave them, from which neither is a negative of the other."""

MARGIN = 0.02
"""What the encoder scores as high as the right product, less this, is no negative of it."""

HELD = 5000
"""Newest lists of validation that decide."""

_FEWEST = 16
"""Lists of the smallest batch."""


@dataclass(frozen=True)
class Shown:
    """Lists of a batch, (l, k) each: rows of pictures and of captions (-1: none), weights, where there is a product."""

    image: Rows
    caption: Rows
    weight: Tensor
    present: Tensor


@dataclass(frozen=True)
class Contrast:
    """n clicks of a batch and what they are told from.

    Args:
        row: (n,) list of the batch.
        own: (n,) column of the right product.
        weight: (n,) what each counts.
        frequency: (n,) chance of the right product in one draw.
        products: (m,) columns.
        drawn: what they are.
    """

    row: Tensor
    own: Tensor
    weight: Tensor
    frequency: Tensor
    products: Rows
    drawn: Drawn


class Replayed:
    """Captions to be replayed, each with the first picture of its product.

    Args:
        captions: of products that nothing is judged by.
        images: pictures, as the encoder gave them.
        products: (p,) of the catalogue.
    """

    def __init__(self, captions: Captions, images: Rowed, products: Rows) -> None:
        place = np.minimum(np.searchsorted(products, captions.products), max(len(products) - 1, 0))
        known = np.flatnonzero((products[place] == captions.products) & (images.count[place] > 0))
        self._captions, self._place, self._known, self._images = captions, place, known, images

    def __len__(self) -> int:
        return len(self._known)

    def of(self, rows: Rows) -> tuple[Tensor, Rows, Rows]:
        """Raw captions (n, d), the rows of their pictures (n,) and their products (n,)."""
        chosen = self._known[rows]
        texts = torch.from_numpy(np.ascontiguousarray(self._captions.vectors[chosen], dtype=np.float32))
        place = self._place[chosen]
        return texts, self._images.start[place], place

    def images(self, shown: Rows) -> Tensor:
        """(n, d) pictures as the encoder gave them."""
        return torch.from_numpy(self._images.vectors[shown])


class Night:
    """What every seed of an arm learns from.

    Args:
        problem: the night's.
        arm: what is learned, and how clicks count.
        plan: how.
        learned: lists to learn from; None takes those of the training part.
        held: lists that decide; None takes those of the validation part.
    """

    def __init__(
        self,
        problem: Problem,
        arm: Arm,
        plan: ClickPlan,
        learned: Examples | None = None,
        held: Examples | None = None,
    ) -> None:
        self.problem, self.arm, self.plan = problem, arm, plan
        self.examples = _learned(problem, arm, plan) if learned is None else learned
        self.reach = plan.reach_of(self.examples.effective)
        self.held = examples(problem, "validation", replace(plan, most_lists=HELD), "ips") if held is None else held
        log = problem.log
        self.memory = Memory(problem)
        self.live = Gallery(problem.items, log.products)
        self.frozen = self.live if problem.raw is None else Gallery(problem.raw, log.products)
        self.gallery = self.frozen if arm.items else self.live
        kinds = np.array(log.asked.kinds, dtype="U10")
        self.pictures = bool((kinds[self.examples.query] == "image").any())
        self._calibrated: list[Kind] = ["image" if kind == "image" else "text" for kind in kinds.tolist()]
        self.asked = torch.from_numpy(np.array(log.asked.vectors, dtype=np.float32))
        self.by_picture = torch.from_numpy(kinds == "image")
        before = np.array(log.asked.vectors, dtype=np.float32)
        for kind in ("text", "image"):
            before[kinds == kind] = problem.production.adapt("image" if kind == "image" else "text",
                                                             before[kinds == kind])  # fmt: skip
        self.production = torch.from_numpy(before)
        self.replayed = Replayed(problem.captions.part("training"), self.frozen.images, log.products)
        self._image, self._caption = (self._best(rowed, before) for rowed in (self.live.images, self.live.captions))
        self._clicked = _Clicked(self.examples, len(log.products))

    def batches(self, rng: np.random.Generator) -> Sequence[Rows]:
        """Lists of each step of an epoch, in random order."""
        plan, count = self.plan, len(self.examples)
        size = min(plan.batch, max(count // plan.least_steps, _FEWEST))
        order = rng.permutation(count)[: size * plan.most_steps]
        return np.array_split(order, max(1, round(len(order) / size)))

    def shown(self, lists: Rows) -> Shown:
        """What was in view in these lists."""
        part = self.examples.only(lists)
        present = torch.from_numpy(part.product >= 0)
        weight = torch.from_numpy(part.weight)
        return Shown(self._image[lists], self._caption[lists], weight, present)

    def contrast(self, lists: Rows, rng: np.random.Generator) -> Contrast:
        """Clicks of these lists, and products of the batch and of the whole catalogue that they are told from."""
        part, p, plan = self.examples.only(lists), len(self.problem.log.products), self.plan
        row, column = np.nonzero(part.clicked)
        chosen = rng.permutation(len(row))[: plan.most_contrasted]
        row, column = row[chosen], column[chosen]
        clicked, uniform = part.product[row, column].astype(np.int64), rng.integers(p, size=plan.negatives)
        products, places = np.unique(np.concatenate([clicked, uniform]), return_inverse=True)
        count = np.bincount(places)
        share = len(clicked) / (len(clicked) + len(uniform))
        frequency = share * self._clicked.frequency(products) + (1 - share) / p
        own = places[: len(clicked)]
        masked = self._no_negatives(part.query[row], own, products)
        of_each = self._put(frequency.astype(np.float32))
        drawn = Drawn(of_each, self._put(count.astype(np.float32)), masked)
        right = self._put(own)
        weight = self._put(part.weight[row, column])
        return Contrast(self._put(row), right, weight, of_each[right], products, drawn)

    @cached_property
    def fingerprint(self) -> str:
        """What a checkpoint must have been made of."""
        found = sha256(repr((asdict(self.plan), asdict(self.arm), len(self.replayed))).encode())
        for one in (self.examples.query, self.examples.product, self.examples.weight, self.production.numpy()):
            found.update(np.ascontiguousarray(one).tobytes())
        return found.hexdigest()

    def _best(self, rowed: Rowed, before: NDArray[np.float32]) -> Rows:
        product = self.examples.product
        rows = np.full(product.shape, -1, dtype=np.int64)
        row, column = np.nonzero(product >= 0)
        rows[row, column] = rowed.best(before, self.examples.query[row], product[row, column].astype(np.int64))
        return rows

    def _put(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values))

    def _no_negatives(self, query: Rows, own: Rows, products: Rows) -> Tensor:
        """(n, m) what was clicked for the query, looks like what was, or is as good by the encoder."""
        masked = torch.from_numpy(self._clicked.of(query, products))
        masked |= torch.arange(len(products))[None, :] == torch.from_numpy(own)[:, None]
        images, captions = self.frozen.images, self.frozen.captions
        looks = _firsts(images, products)
        masked |= (looks[torch.from_numpy(own)] @ looks.T) >= ALIKE
        distinct, places = np.unique(query, return_inverse=True)
        raw = self.asked[torch.from_numpy(distinct)]
        sides = [_greatest(raw, rowed, products) for rowed in (images, captions)]
        present = [torch.from_numpy(rowed.count[products] > 0)[None, :] for rowed in (images, captions)]
        scales = Scales.of(self.problem.calibration, [self._calibrated[one] for one in distinct.tolist()])
        score = scales.score(*sides, *present)[torch.from_numpy(places)]
        return masked | (score >= score.gather(1, torch.from_numpy(own)[:, None]) - MARGIN)


def _learned(problem: Problem, arm: Arm, plan: ClickPlan) -> Examples:
    if arm.labels == "dr":
        return doubly_robust_examples(problem, plan)
    return examples(problem, "training", plan, arm.labels)


class _Clicked:
    """Which products were clicked for which query, and how often each was at all."""

    def __init__(self, learned: Examples, products: int) -> None:
        row, column = np.nonzero(learned.clicked)
        query, product = learned.query[row], learned.product[row, column].astype(np.int64)
        self._share = np.bincount(product, minlength=products) / max(len(product), 1)
        pairs = np.unique(query * products + product)
        self._query, self._product = np.divmod(pairs, products)
        self._column = np.full(products, -1)

    def frequency(self, products: Rows) -> NDArray[np.float64]:
        """(m,) share of all clicks."""
        return np.asarray(self._share[products])

    def of(self, query: Rows, products: Rows) -> NDArray[np.bool_]:
        """(n, m) which products were ever clicked for each query."""
        distinct, places = np.unique(query, return_inverse=True)
        self._column[products] = np.arange(len(products))
        found = np.zeros((len(distinct), len(products)), dtype=np.bool_)
        first, last = np.searchsorted(self._query, distinct), np.searchsorted(self._query, distinct, side="right")
        rows = np.repeat(np.arange(len(distinct)), last - first)
        of = np.arange(len(rows)) + np.repeat(first - (np.cumsum(last - first) - (last - first)), last - first)
        columns = self._column[self._product[of]]
        found[rows[columns >= 0], columns[columns >= 0]] = True
        self._column[products] = -1
        return found[places]


def _firsts(rowed: Rowed, products: Rows) -> Tensor:
    """(m, d) the first row of each product; zeros where it has none."""
    present = rowed.count[products] > 0
    found = np.zeros((len(products), rowed.vectors.shape[1]), dtype=np.float32)
    found[present] = rowed.vectors[rowed.start[products[present]]]
    return torch.from_numpy(found)


def _greatest(raw: Tensor, rowed: Rowed, products: Rows) -> Tensor:
    """(n, m) cosine of the nearest row of each product; 0 where it has none."""
    padded = rowed.padded(products)
    if not len(rowed.vectors):
        return torch.zeros(len(raw), len(products))
    vectors = torch.from_numpy(rowed.vectors[np.maximum(padded.ravel(), 0)])
    cosines = (raw @ vectors.T).view(len(raw), *padded.shape)
    found = cosines.masked_fill(torch.from_numpy(padded < 0)[None], -2.0).amax(dim=2)
    return found.masked_fill(torch.from_numpy(rowed.count[products] == 0)[None, :], 0.0)
