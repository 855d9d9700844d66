"""Partial unfreezing, "stage B": the last blocks of the towers and their projections, trained gently.

Where residual heads cannot reach, the encoder itself is changed: last blocks by a small rate, projections by ten times
that, drawn back to the pretrained weights (L2-SP, arXiv 1802.01483) or averaged over steps. The result is another
encoder: every picture is embedded again, and heads are trained for it anew.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from backend.ml.baselines import LOGIT_SCALE_MOST
from backend.ml.dual_encoder import EncoderParts
from backend.ml.exact_ranks import pair_ranks
from backend.ml.losses import symmetric_info_nce
from backend.ml.metrics import hits, reciprocal_rank
from backend.ml.pairs import Pairs, Rows
from backend.ml.unfrozen_towers import Pictures, Progress, Side, image_side, text_side

DEPTH = 10
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class UnfreezingPlan:
    """What decides how towers are trained in part.

    Args:
        text_blocks: last blocks of the text tower that are trained; 0 trains its projection, None leaves it frozen.
        image_blocks: the same of the image tower.
        rate: learning rate of the blocks (AdamW, no weight decay).
        projection_factor: times that for the projections.
        pull: weight of half the squared distance to the pretrained weights, in the loss.
        ema: decay of an average of the weights over steps, which is what is judged and kept; 0 keeps the weights.
        epochs: most passes over the pairs.
        batch: pairs a step.
        patience: passes without an improvement after which it ends.
        seed: decides the order; with the same seed a run on a processor is the same.
    """

    text_blocks: int | None = 1
    image_blocks: int | None = None
    rate: float = 1e-5
    projection_factor: float = 10.0
    pull: float = 0.01
    ema: float = 0.0
    epochs: int = 20
    batch: int = 256
    patience: int = 4
    seed: int = 1

    def __post_init__(self) -> None:
        if self.text_blocks is None and self.image_blocks is None:
            raise ValueError("found no tower to train; expected blocks of the text or of the image tower")
        if not 0 <= self.ema < 1:
            raise ValueError(f"found an ema of {self.ema}; expected a decay in [0, 1)")


@dataclass(frozen=True)
class UnfrozenEpoch:
    """What one pass came to; the first, 0, is the untouched encoder."""

    number: int
    loss: float
    recall_at_10: float
    mrr: float
    best: bool


@dataclass
class Unfreezing:
    """An encoder with its frozen part computed over texts and pictures, ready to be trained from there.

    Args:
        parts: the encoder; its weights change while it is trained.
        plan: which parts, and how.
        texts: the text tower over all texts.
        images: the image tower over all pictures.
        image_of: (n,) picture of each text.
        product_of: (m,) product of each picture.
        device: where.
    """

    parts: EncoderParts
    plan: UnfreezingPlan
    texts: Side
    images: Side
    image_of: Rows
    product_of: Rows
    device: torch.device
    _start: Weights = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.parts.model.requires_grad_(requires_grad=False)
        for _, weight in self._trained():
            weight.requires_grad_()
        self._start = self._weights()

    def pairs(self) -> Pairs:
        """Texts and pictures as the towers make them now."""
        made = self.texts.all_vectors(self.device), self.images.all_vectors(self.device)
        return Pairs(*made, self.image_of, self.product_of)

    def train(
        self, learned: Rows, chosen_by: Rows, on_epoch: Callable[[UnfrozenEpoch], None] = lambda _: None
    ) -> list[UnfrozenEpoch]:
        """Train from the pretrained weights until nothing improves; the towers end with the best weights.

        Args:
            learned: rows of texts.
            chosen_by: rows of texts of other products, ranked over all pictures after each pass. The untouched encoder
                is the first candidate, so that what is kept is never worse on them.
            on_epoch: told what each pass came to.

        Raises:
            ValueError: a loss is no finite number.
        """
        self.scale_to(0.0)
        optimizer, scale = self._optimizer()
        average, best, epochs = dict(self._start), self._weights(), list[UnfrozenEpoch]()
        for number in range(self.plan.epochs + 1):
            loss = self._learn(learned, number, optimizer, scale, average) if number else math.nan
            weights = self._weights()
            if self.plan.ema:
                self._load(average)
            ranks = pair_ranks(self._only(chosen_by))
            found = float(hits(ranks, DEPTH).mean()), float(reciprocal_rank(ranks).mean())
            improved = sum(found) > max((epoch.recall_at_10 + epoch.mrr for epoch in epochs), default=-1.0)
            epochs.append(UnfrozenEpoch(number, loss, *found, improved))
            best = self._weights() if improved else best
            on_epoch(epochs[-1])
            if number - max(epoch.number for epoch in epochs if epoch.best) >= self.plan.patience:
                break
            self._load(weights)
        self._load(best)
        return epochs

    def scale_to(self, share: float, trained: Weights | None = None) -> None:
        """Set the weights to ``share`` of the way from the pretrained to the ``trained`` ones (arXiv 2109.01903)."""
        goal = trained if trained is not None else self._weights()
        self._load({name: torch.lerp(start, goal[name], share) for name, start in self._start.items()})

    def trained(self) -> Weights:
        """A copy of the weights that are trained, by name."""
        return self._weights()

    def _learn(
        self, learned: Rows, number: int, optimizer: torch.optim.Optimizer, scale: Tensor, average: Weights
    ) -> float:
        """One pass; the mean loss. ``average`` follows the weights."""
        total, start = 0.0, self._start
        for rows in _batches(learned, self.plan.batch, np.random.default_rng((self.plan.seed, number))):
            pictures = self.image_of[rows]
            owners = self.product_of[pictures]
            same = torch.from_numpy(owners[:, None] == owners).fill_diagonal_(False).to(self.device)
            sides = self.texts.vectors(rows, self.device), self.images.vectors(pictures, self.device)
            loss = symmetric_info_nce(*sides, scale.exp().clamp(max=LOGIT_SCALE_MOST), masked=same)
            if not torch.isfinite(loss):
                raise ValueError(f"found a loss of {loss.item()} in pass {number}; expected a finite number")
            distance = sum((weight - start[name]).square().sum() for name, weight in self._trained())
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss + 0.5 * self.plan.pull * distance)
            optimizer.step()
            if self.plan.ema:
                for name, weight in self._trained():
                    average[name] = torch.lerp(weight.detach(), average[name], self.plan.ema)
            total += loss.item() * len(rows)
        return total / len(learned)

    def _only(self, rows: Rows) -> Pairs:
        """The texts ``rows`` and all pictures, as the towers make them now; other texts cost nothing."""
        made = self.texts.all_vectors(self.device, rows), self.images.all_vectors(self.device)
        return Pairs(*made, self.image_of[rows], self.product_of)

    def _optimizer(self) -> tuple[torch.optim.Optimizer, Tensor]:
        """AdamW over blocks, projections and a scale of the logits that begins as the encoder's own."""
        own = getattr(self.parts.model, "logit_scale", torch.tensor(math.log(1 / 0.07)))
        scale = nn.Parameter(own.detach().clone().to(self.device))
        fast = [weight for name, weight in self._trained() if ".projection" in name]
        slow = [weight for name, weight in self._trained() if ".projection" not in name]
        faster = self.plan.rate * self.plan.projection_factor
        groups = [{"params": slow, "lr": self.plan.rate}, {"params": [*fast, scale], "lr": faster}]
        return torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=0.0), scale

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        for side, tail in (("text", self.texts.tail), ("image", self.images.tail)):
            if tail is not None:
                yield from ((f"{side}.{name}", weight) for name, weight in tail.named_parameters())

    def _weights(self) -> Weights:
        return {name: weight.detach().clone() for name, weight in self._trained()}

    def _load(self, weights: Weights) -> None:
        with torch.no_grad():
            for name, weight in self._trained():
                weight.copy_(weights[name])


def unfreeze(
    parts: EncoderParts,
    texts: list[str],
    pictures: Pictures,
    pairing: tuple[Rows, Rows],
    plan: UnfreezingPlan,
    folder: Path,
    *,
    device: torch.device,
    told: Progress = lambda *_: None,
) -> Unfreezing:
    """Compute the frozen part of an encoder once, over all texts and pictures.

    Args:
        parts: the encoder; taken over.
        texts: n of them.
        pictures: m of them.
        pairing: (n,) picture of each text, and (m,) product of each picture.
        plan: which parts are trained.
        folder: for what is computed: 4 bytes a number, of a picture at ViT-B/32 154 KB, of a text of 20 tokens 40 KB.
        device: where.
        told: how far it is.

    Raises:
        TowerNotDivisible: a tower cannot be taken apart so.
    """
    parts.model.eval().to(device)
    text = text_side(parts, texts, plan.text_blocks, folder, device, told)
    image = image_side(parts, pictures, plan.image_blocks, folder, device, told)
    return Unfreezing(parts, plan, text, image, *pairing, device)


def _batches(rows: Rows, size: int, rng: np.random.Generator) -> Iterator[Rows]:
    order = rng.permutation(rows)
    for start in range(0, len(order), size):
        yield order[start : start + size]
