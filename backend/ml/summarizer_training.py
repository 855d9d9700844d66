"""Training an attentive summarizer: from what a frozen retrieval showed for a query to the vector it should have found.

The recipe is that of "A Little More Like This" (arXiv 2511.17255), sections 3.3 and 4.1: one query a picture and
epoch, the first K products that the frozen encoder found for that very query as feedback, and the picture's own vector
as what the summary should be (eq. 3), its other captions' mean (eq. 4), or both (eq. 5).
"""

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from backend.ml.image_tower import computes_bf16
from backend.ml.summarizer_examples import Examples, Rows, draw_queries
from backend.ml.summarizer_network import AttentiveSummarizer, TokenBatch

Loss = Literal["image", "caption", "both"]

CPU = torch.device("cpu")

TEMPERATURE = 1 / 20
"""Of the contrast among pictures."""


@dataclass(frozen=True)
class TrainingPlan:
    """What decides how a summarizer is trained.

    Args:
        loss: what the summary is drawn to: the target's picture, its captions, or both by half each.
        contrast: weight of a further loss, which the paper does not have: the cross-entropy of finding the target's
            picture among those shown and those of the batch, at a temperature of 1/20. It teaches to tell near twins
            apart, which the cosine to the target alone hardly rewards.
        shown: feedback items a query, K.
        epochs: most passes over the targets; the cosine of the learning rate ends there.
        batch: queries a step.
        rate: learning rate of AdamW.
        weight_decay: of AdamW.
        patience: epochs without an improvement after which it ends.
        least_gain: what counts as an improvement of the validation loss.
        mask_items: drop 0 to K - 1 of the items of each modality at random while training.
        patch_share: share of each picture's tokens that a step of training sees, drawn at random: fewer cost less time
            and change little (PatchDropout, arXiv 2208.07220).
        seed: decides weights, order and draws; with the same seed a run on a processor is the same.
    """

    loss: Loss = "image"
    contrast: float = 0.0
    shown: int = 5
    epochs: int = 100
    batch: int = 512
    rate: float = 3e-4
    weight_decay: float = 0.01
    patience: int = 10
    least_gain: float = 5e-4
    mask_items: bool = False
    patch_share: float = 1.0
    seed: int = 1


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to: mean losses, and how often a summary is nearest to its own target in its batch."""

    number: int
    training_loss: float
    validation_loss: float
    hits_at_1: float
    best: bool


@dataclass
class Run:
    """A training run and how far it has come.

    Args:
        model: what is trained; it ends with the best weights.
        plan: how.
        device: where.
        precision: arithmetic of the forward pass; ``auto`` is bf16 where the device has it.
    """

    model: AttentiveSummarizer
    plan: TrainingPlan
    device: torch.device = CPU
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    epochs: list[Epoch] = field(default_factory=list)
    _best: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model.to(self.device)
        native = self.device.type != "cpu" or computes_bf16()
        self._half = self.precision == "bf16" or (self.precision == "auto" and native)
        weights, plan = self.model.parameters(), self.plan
        self._optimizer = torch.optim.AdamW(weights, lr=plan.rate, weight_decay=plan.weight_decay)

    def train(
        self,
        examples: Examples,
        validation: Examples,
        *,
        checkpoint: Path | None = None,
        on_step: Callable[[int, int], None] | None = None,
        on_epoch: Callable[[Epoch], None] | None = None,
    ) -> float:
        """Train until the plan's end or until nothing improves; the best validation loss.

        Args:
            examples: what is learned from.
            validation: what decides which weights are kept, and when it ends.
            checkpoint: written after each epoch, and gone on from where it is there already: a run that was killed
                and begun again ends with the weights of one that was not.
            on_step: told how many of how many steps of the epoch are done.
            on_epoch: told what each epoch came to.

        Raises:
            ValueError: the checkpoint is of another plan or model, or a loss is no finite number.
        """
        if checkpoint is not None and checkpoint.exists():
            self._load(checkpoint)
        while len(self.epochs) < self.plan.epochs and not self._stalled():
            number = len(self.epochs)
            training = self._learn(examples, number, on_step)
            loss, hits = self.validate(validation)
            best = loss < self.best_loss
            if best:
                self._best = deepcopy({name: weight.cpu() for name, weight in self.model.state_dict().items()})
            self.epochs.append(Epoch(number + 1, training, loss, hits, best))
            if checkpoint is not None:
                self._save(checkpoint)
            if on_epoch is not None:
                on_epoch(self.epochs[-1])
        self.model.load_state_dict(self._best)
        self.model.eval()
        return self.best_loss

    @property
    def best_loss(self) -> float:
        """Least validation loss so far; infinite before the first epoch."""
        return min((epoch.validation_loss for epoch in self.epochs), default=math.inf)

    def validate(self, examples: Examples) -> tuple[float, float]:
        """Mean loss and hits@1 in the batch, over the first query for each target."""
        self.model.eval()
        _, first = np.unique(examples.targets, return_index=True)
        losses, hits = [], []
        with torch.inference_mode():
            for rows in _batches(first, self.plan.batch):
                loss, hit = self._losses(examples, rows, None)
                losses.append(loss.sum().item())
                hits.append(hit.sum().item())
        return sum(losses) / len(first), sum(hits) / len(first)

    def _learn(self, examples: Examples, number: int, on_step: Callable[[int, int], None] | None) -> float:
        """One pass over the targets, a query of each drawn at random; the mean loss."""
        rng = np.random.default_rng((self.plan.seed, number))
        for group in self._optimizer.param_groups:
            group["lr"] = self.plan.rate * 0.5 * (1 + math.cos(math.pi * number / self.plan.epochs))
        self.model.train()
        rows, total = draw_queries(examples.targets, rng), 0.0
        steps = math.ceil(len(rows) / self.plan.batch)
        for step, chosen in enumerate(_batches(rows, self.plan.batch), start=1):
            losses, _ = self._losses(examples, chosen, rng)
            loss = losses.mean()
            if not torch.isfinite(loss):
                raise ValueError(f"found a loss of {loss.item()} in epoch {number + 1}; expected a finite number")
            self._optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            self._optimizer.step()
            total += losses.detach().sum().item()
            if on_step is not None:
                on_step(step, steps)
        return total / len(rows)

    def _losses(self, examples: Examples, rows: Rows, rng: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        """Of each of ``rows`` the loss, and whether its summary is nearest to its own target in the batch."""
        batch = token_batch(examples, rows, self.plan, rng).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._half):
            summaries = self.model(batch)
        summaries = functional.normalize(summaries.float(), dim=1)
        images = torch.from_numpy(examples.vectors[examples.targets[rows]]).to(self.device)
        cosines, own = summaries @ images.T, torch.arange(len(rows), device=self.device)
        loss = summaries.new_zeros(len(rows))
        if self.plan.loss != "caption":
            loss = loss + 0.5 * (1 - cosines.diagonal())
        if self.plan.loss != "image":
            loss = loss + 0.5 * (1 - (summaries * self._captions(examples, rows)).sum(dim=1))
        if self.plan.contrast:
            logits = torch.cat([cosines, self._to_others(examples, rows, summaries)], dim=1) / TEMPERATURE
            loss = loss + self.plan.contrast * functional.cross_entropy(logits, own, reduction="none")
        return loss, cosines.argmax(dim=1) == own

    def _captions(self, examples: Examples, rows: Rows) -> Tensor:
        """Mean vectors (b, d) of the other captions of the targets of ``rows``."""
        if examples.other_captions is None:
            raise ValueError(f"found no other captions of the targets; the loss {self.plan.loss!r} needs some")
        return torch.from_numpy(examples.other_captions[rows]).to(self.device)

    def _to_others(self, examples: Examples, rows: Rows, summaries: Tensor) -> Tensor:
        """Cosines (b, K) of summaries to the pictures shown; minus infinity for the target and where nothing is."""
        shown = examples.shown[rows, : self.plan.shown]
        pictures = torch.from_numpy(examples.vectors[shown]).to(self.device)
        left_out = torch.from_numpy((shown < 0) | (shown == examples.targets[rows][:, None])).to(self.device)
        return torch.einsum("bd,bkd->bk", summaries, pictures).masked_fill(left_out, -torch.inf)

    def _stalled(self) -> bool:
        """Whether the last ``patience`` epochs improved nothing."""
        best, since = math.inf, 0
        for epoch in self.epochs:
            better = epoch.validation_loss < best - self.plan.least_gain
            best, since = (epoch.validation_loss, 0) if better else (best, since + 1)
        return since >= self.plan.patience

    def _save(self, path: Path) -> None:
        state = {
            "plan": asdict(self.plan),
            "model": self.model.state_dict(),
            "best": self._best,
            "optimizer": self._optimizer.state_dict(),
            "epochs": [asdict(epoch) for epoch in self.epochs],
        }
        torch.save(state, path.with_suffix(".partial"))
        path.with_suffix(".partial").replace(path)

    def _load(self, path: Path) -> None:
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        if state["plan"] != asdict(self.plan):
            raise ValueError(f"found the plan {state['plan']} in {path}; expected {asdict(self.plan)}")
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._best = {name: weight.cpu() for name, weight in state["best"].items()}
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]


def begin_by_matching(model: AttentiveSummarizer, *, sharpness: float = 2.0, gain: float = 0.5) -> None:
    """Let half of the heads begin by comparing: a word of the query attends to words of captions that are like it.

    Queries and captions share a projection, so that identities for queries, keys and values do so from the first step,
    and a query begins as itself and what is nearest to it. Learned from the published random start alone, this takes
    more passes than a processor has time for. Not in the paper.

    Args:
        model: fresh; changed in place.
        sharpness: of the identities for queries and keys.
        gain: of that for the output.
    """
    attention, width = model.cross.attention, model.config.width
    half = width // attention.heads * (attention.heads // 2)
    same = torch.eye(width)[:half]
    with torch.no_grad():
        attention.query.weight[:half] = sharpness * same
        attention.key_value.weight[:half] = sharpness * same
        attention.key_value.weight[width : width + half] = same
        attention.out.weight[:, :half] = gain * same.T


def token_batch(
    examples: Examples, rows: Rows, plan: TrainingPlan, rng: np.random.Generator | None = None
) -> TokenBatch:
    """Tokens of the queries ``rows`` (b,) and of the first K items shown for each; with ``rng``, as in training."""
    query, parts = examples.words.take(examples.asked[rows]), list[Tensor | None]()
    sides = (
        (examples.words, examples.captions_shown, 1.0),
        (examples.images, examples.shown, plan.patch_share),
    )
    for table, kept, share in sides:
        if table is None or kept is None:
            parts += [None, None]
            continue
        shown = kept[rows, : plan.shown]
        items = _some(shown, rng) if rng is not None and plan.mask_items else shown
        tokens, present = table.take(items.ravel(), share=share, rng=rng).dense()
        parts += [tokens.reshape(*shown.shape, *tokens.shape[1:]), present.reshape(*shown.shape, -1)]
    return TokenBatch(*query.dense(), *parts)


def _batches(rows: Rows, size: int) -> Iterator[Rows]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _some(shown: Rows, rng: np.random.Generator) -> Rows:
    """Items (b, K) without 0 to K - 1 of each row."""
    ranks = rng.permuted(np.tile(np.arange(shown.shape[1]), (len(shown), 1)), axis=1)
    return np.where(ranks < rng.integers(0, shown.shape[1], (len(shown), 1)), -1, shown)
