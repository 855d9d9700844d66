"""Cross-validation: every query is asked once, over the whole gallery, by a fit that saw nothing of its product."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from backend.evaluation.adapters.methods import Adapted, Method
from backend.evaluation.adapters.paired import alone, groups
from backend.evaluation.benchmark import NothingToEvaluate
from backend.ml.alignment import SpaceReport, space_report
from backend.ml.exact_ranks import Through, pair_ranks
from backend.ml.heads import drift
from backend.ml.pairs import Pairs, Rows, Vectors, split

Advance = Callable[[str, int, int], None]
"""What is measured, how many fits of it are done, and of how many."""

SPACE_ROWS = 2000
"""Most held-out pairs of a fold that alignment and uniformity are measured on: uniformity compares all with all."""


@dataclass(frozen=True)
class Protocol:
    """How a method is measured.

    Args:
        folds: parts of the products, each held out once.
        seeds: times everything is repeated, with other folds and other weights.
        chosen_by: share of the products learned from that epochs are chosen by instead.
        first: the first seed.
    """

    folds: int = 5
    seeds: int = 3
    chosen_by: float = 0.15
    first: int = 1

    def __post_init__(self) -> None:
        if self.folds < 2 or self.seeds < 1 or not 0 < self.chosen_by < 1:
            raise ValueError(f"found {self}; expected 2 folds and 1 seed at least, and a share between 0 and 1")


@dataclass(frozen=True)
class Outcome:
    """What a method came to.

    Args:
        method: its name.
        ranks: (s, n) of every pair by every seed, from the fold that held it out.
        retained: (f, r) ranks of the retention pairs by every fit, or None.
        drift_text: mean 1 - cos between held-out texts before and after.
        drift_image: likewise of pictures.
        space: of the held-out pairs, mean over the folds.
        epochs: of every fit.
        seconds: a fit, mean.
        adapted: fits of the first seed, by fold.
        fold_of: (n,) fold of the first seed that held each pair out.
    """

    method: str
    ranks: Rows
    retained: Rows | None
    drift_text: float
    drift_image: float
    space: SpaceReport
    epochs: tuple[int, ...]
    seconds: float
    adapted: tuple[Adapted, ...]
    fold_of: Rows

    def fit_of(self, row: int) -> Adapted:
        """What the first seed asked pair ``row`` through."""
        return self.adapted[int(self.fold_of[row])]


@dataclass(frozen=True)
class _Fold:
    number: int
    seed: int
    learned: Pairs
    held: Pairs


def cross_validate(
    pairs: Pairs, method: Method, protocol: Protocol, *, retention: Pairs | None = None, advance: Advance
) -> Outcome:
    """Fit ``method`` on every fold with every seed, and rank what was held out over all pictures.

    Pairs of one product, and pairs whose texts are word for word the same, are in one fold.

    Args:
        pairs: learned from and asked in turn, all of them.
        method: fitted.
        protocol: how.
        retention: pairs that are only asked, after every fit.
        advance: told how many fits are done.

    Raises:
        NothingToEvaluate: too few products for the folds.
    """
    ranks = np.zeros((protocol.seeds, len(pairs)), np.int64)
    fold_of = np.zeros(len(pairs), np.int64)
    fits, retained, seconds = list[Adapted](), list[Rows](), list[float]()
    moved, spaces = list[tuple[float, float]](), list[SpaceReport]()
    total = protocol.folds * protocol.seeds
    for fold in _folds(pairs, protocol):
        advance(method.name, len(fits), total)
        learned, chosen_by = _parts(fold, method, protocol)
        began = time.perf_counter()
        adapted = method.fit(learned, chosen_by, fold.seed)
        seconds.append(time.perf_counter() - began)
        fits.append(adapted)
        held = fold.held
        ranks[fold.seed - protocol.first, held.rows] = pair_ranks(held, text=adapted.text, image=adapted.image)
        if fold.seed == protocol.first:
            fold_of[held.rows] = fold.number
        if retention is not None:
            retained.append(pair_ranks(retention, text=adapted.text, image=adapted.image))
        shift, space = _of_held_out(held, adapted, fold.seed)
        moved.append(shift)
        spaces.append(space)
    advance(method.name, total, total)
    return Outcome(
        method.name,
        ranks,
        np.stack(retained) if retained else None,
        float(np.mean([text for text, _ in moved])),
        float(np.mean([image for _, image in moved])),
        _mean(spaces),
        tuple(fit.epochs for fit in fits),
        float(np.mean(seconds)),
        tuple(fits[: protocol.folds]),
        fold_of,
    )


def ask(name: str, held: Pairs, fits: Sequence[Adapted], *, seed: int) -> Outcome:
    """What ``fits``, one a seed, come to on ``held``, of which they saw nothing: ranks over all pictures."""
    ranks = np.stack([pair_ranks(held, text=fit.text, image=fit.image) for fit in fits])
    looked_at = [_of_held_out(held, fit, seed) for fit in fits]
    shift = np.mean([shift for shift, _ in looked_at], axis=0)
    return Outcome(
        name,
        ranks,
        None,
        float(shift[0]),
        float(shift[1]),
        _mean([space for _, space in looked_at]),
        tuple(fit.epochs for fit in fits),
        0.0,
        tuple(fits),
        np.zeros(len(held), np.int64),
    )


def _folds(pairs: Pairs, protocol: Protocol) -> Iterator[_Fold]:
    group_of = groups(pairs)
    numbers = np.unique(group_of)
    if len(numbers) < 2 * protocol.folds:
        found = f"{len(numbers)} products with texts of their own"
        raise NothingToEvaluate("Too few products for the folds.", found=found, expected=2 * protocol.folds)
    for seed in range(protocol.first, protocol.first + protocol.seeds):
        order = np.random.default_rng((seed, 0)).permutation(numbers)
        for fold in range(protocol.folds):
            held = np.isin(group_of, order[fold :: protocol.folds])
            yield _Fold(fold, seed, pairs.only(pairs.rows[~held]), pairs.only(pairs.rows[held]))


def _parts(fold: _Fold, method: Method, protocol: Protocol) -> tuple[Pairs, Pairs]:
    """Pairs to learn from and pairs to choose by, over the pictures of both and of no held-out product."""
    pairs = fold.learned
    if method.products:
        drawn = np.random.default_rng((fold.seed, 1)).permutation(np.unique(pairs.products))[: method.products]
        pairs = pairs.only(pairs.rows[np.isin(pairs.products, drawn)])
    learned, chosen_by = split(alone(pairs), (1 - protocol.chosen_by, protocol.chosen_by), seed=fold.seed)
    return learned, chosen_by


def _of_held_out(held: Pairs, adapted: Adapted, seed: int) -> tuple[tuple[float, float], SpaceReport]:
    """How far texts and pictures moved, and the space that they moved to."""
    rows = held.rows
    if len(rows) > SPACE_ROWS:
        rows = np.sort(np.random.default_rng((seed, 2)).permutation(rows)[:SPACE_ROWS])
    shown, image_of = np.unique(held.image_of[rows], return_inverse=True)
    texts, images = held.texts[rows], held.images[shown]
    moved_texts, moved_images = _through(adapted.text, texts), _through(adapted.image, images)
    shift = drift(texts, moved_texts), drift(images, moved_images)
    return shift, space_report(moved_texts, moved_images, image_of.reshape(-1))


def _through(head: Through | None, vectors: Vectors) -> Vectors:
    return vectors if head is None else head(vectors)


def _mean(spaces: list[SpaceReport]) -> SpaceReport:
    columns = zip(*((one.alignment, one.uniformity_text, one.uniformity_image, one.gap) for one in spaces), strict=True)
    return SpaceReport(*(float(np.mean(column)) for column in columns))
