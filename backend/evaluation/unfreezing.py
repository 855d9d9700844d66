"""Stage B on captioned pictures: trained on some, chosen by others, judged on a third part and on what must be kept."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from backend.evaluation.datasets import CaptionedPhotos
from backend.ml.adapter_gate import DEPTH, GAMMAS, LEAST_RETENTION, GateReport, Scaled, judge, retention_of
from backend.ml.dual_encoder import EncoderParts
from backend.ml.exact_ranks import pair_ranks
from backend.ml.metrics import hits, reciprocal_rank
from backend.ml.pairs import Pairs, Rows, split
from backend.ml.partial_unfreezing import Unfreezing, UnfreezingPlan, UnfrozenEpoch, unfreeze
from backend.ml.unfrozen_towers import Pictures, Progress

SHARES = (0.7, 0.15, 0.15)
"""Of the pictures: learned from, chosen by, judged on."""


@dataclass(frozen=True)
class Unfrozen:
    """What partial unfreezing came to.

    Args:
        unfreezing: the encoder, with the weights that were chosen.
        epochs: passes, the untouched encoder first.
        tried: shares of the way to the trained weights, from the largest.
        report: the verdict on the best of them.
    """

    unfreezing: Unfreezing
    epochs: list[UnfrozenEpoch]
    tried: tuple[Scaled, ...]
    report: GateReport


@dataclass(frozen=True)
class _Parts:
    """Rows of the texts of both sets, and where the pictures of the first end."""

    learned: Rows
    chosen_by: Rows
    held: Rows
    kept: Rows
    pictures: int

    def own(self, pairs: Pairs, rows: Rows) -> Pairs:
        """``rows`` of the set that is learned from, searched among its own pictures."""
        return Pairs(
            pairs.texts,
            pairs.images[: self.pictures],
            np.minimum(pairs.image_of, self.pictures - 1),  # of texts of the other set, which are not chosen
            pairs.product_of[: self.pictures],
            rows,
        )

    def others(self, pairs: Pairs) -> Pairs:
        """The set that must be kept, searched among its own pictures."""
        return Pairs(
            pairs.texts,
            pairs.images[self.pictures :],
            np.maximum(pairs.image_of - self.pictures, 0),
            pairs.product_of[self.pictures :],
            self.kept,
        )


def unfreeze_on(
    parts: EncoderParts,
    data: CaptionedPhotos,
    keep: CaptionedPhotos,
    plan: UnfreezingPlan,
    folder: Path,
    *,
    device: torch.device,
    told: Progress = lambda *_: None,
    on_epoch: Callable[[UnfrozenEpoch], None] = lambda _: None,
) -> Unfrozen:
    """Unfreeze an encoder in part, and go as far to the trained weights as nothing is forgotten.

    Args:
        parts: the encoder; taken over.
        data: learned from, chosen by and judged on, by picture.
        keep: other captioned pictures, which nothing is learned from: what must still be found.
        plan: which parts are trained, and how.
        folder: for what is computed once.
        device: where.
        told: how far it is.
        on_epoch: told what each pass came to.

    Raises:
        TowerNotDivisible: a tower cannot be taken apart so.
        PictureMissing: a picture that cannot be read.
    """
    sets = (data, keep)
    photos = [(one, place) for one in sets for place in range(len(one.photos))]
    captions = [(number, text) for number, (one, place) in enumerate(photos) for text in one.photos[place].captions]
    image_of = np.array([number for number, _ in captions], np.int64)
    pictures = Pictures(len(photos), lambda row: photos[row][0].picture(photos[row][1]))
    pairing = image_of, np.arange(len(photos))
    texts = [text for _, text in captions]
    unfreezing = unfreeze(parts, texts, pictures, pairing, plan, folder, device=device, told=told)
    untouched = unfreezing.pairs()
    rows = _parted(untouched, len(data.photos), plan.seed)
    epochs = unfreezing.train(rows.learned, rows.chosen_by, on_epoch)
    best, tried = _scaled(unfreezing, rows, untouched)
    now = unfreezing.pairs()
    report = judge(
        pair_ranks(rows.own(untouched, rows.held)),
        pair_ranks(rows.own(now, rows.held)),
        pair_ranks(rows.others(untouched)),
        pair_ranks(rows.others(now)),
        gamma=best.gamma,
        products=untouched.only(rows.held).products,
    )
    return Unfrozen(unfreezing, epochs, tried, report)


def _parted(pairs: Pairs, pictures: int, seed: int) -> _Parts:
    kept = np.flatnonzero(pairs.image_of >= pictures)
    whole = _Parts(kept, kept, kept, kept, pictures)
    learned, chosen_by, held = split(whole.own(pairs, np.flatnonzero(pairs.image_of < pictures)), SHARES, seed=seed)
    return replace(whole, learned=learned.rows, chosen_by=chosen_by.rows, held=held.rows)


def _scaled(unfreezing: Unfreezing, rows: _Parts, untouched: Pairs) -> tuple[Scaled, tuple[Scaled, ...]]:
    """The share of the way to the trained weights that does best of those that forget nothing; they are set to it."""
    goal, tried = unfreezing.trained(), list[Scaled]()
    before = pair_ranks(rows.others(untouched))
    for gamma in GAMMAS:
        unfreezing.scale_to(gamma, goal)
        made = unfreezing.pairs()
        ranks = pair_ranks(rows.own(made, rows.chosen_by))
        found = float(hits(ranks, DEPTH).mean()), float(reciprocal_rank(ranks).mean())
        tried.append(Scaled(gamma, *found, retention_of(before, pair_ranks(rows.others(made)))))
    # of equals the smaller share: it changes less
    keeping = [one for one in reversed(tried) if one.retention.least >= LEAST_RETENTION or not one.gamma]
    best = max(keeping, key=lambda one: one.merit)
    unfreezing.scale_to(best.gamma, goal)
    return best, tuple(tried)
