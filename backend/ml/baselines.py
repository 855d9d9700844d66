"""What an adapter is compared with besides the encoder as it is: two plain ways of training on the same pairs.

Neither is served. The two-tower network begins from random weights and so throws the encoder's alignment away; the
linear probe begins at it, but nothing holds it there. Both have only the shop's pairs to learn from.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from backend.ml.losses import symmetric_info_nce
from backend.ml.pairs import Pairs

Matrix = NDArray[np.float32]
Ints = NDArray[np.int64]
Loss = Callable[[Tensor, Tensor, Ints], Tensor]
"""Of a batch: its texts and its images as both towers make them, and the rows of the pairs."""

CPU = torch.device("cpu")

LOGIT_SCALE_START, LOGIT_SCALE_MOST = 1 / 0.07, 100.0
"""Of the softmax over a batch: where it begins and what it is clamped to, as in CLIP (arXiv 2103.00020, 2.3)."""


@dataclass(frozen=True)
class TwoTowerPlan:
    """How the naive two towers are trained: Linear-ReLU-Linear each, no residual.

    Args:
        hidden: width between the layers; by default that of the vectors.
        margin: by which the right image shall be ahead of the wrong one.
        epochs: passes over the pairs.
        batch: pairs a step.
        rate: learning rate of AdamW.
        weight_decay: of AdamW.
        seed: decides weights, order and negatives; with the same seed a run on a processor is the same.
    """

    hidden: int | None = None
    margin: float = 0.2
    epochs: int = 30
    batch: int = 256
    rate: float = 1e-3
    weight_decay: float = 0.01
    seed: int = 1


@dataclass(frozen=True)
class ProbePlan:
    """How the linear probe is trained: a matrix a tower, from the identity, by the symmetric InfoNCE of CLIP.

    Args:
        epochs: passes over the pairs.
        batch: pairs a step.
        rate: learning rate of AdamW.
        weight_decay: of AdamW, toward zero as is usual.
        seed: decides the order; with the same seed a run on a processor is the same.
    """

    epochs: int = 30
    batch: int = 256
    rate: float = 1e-3
    weight_decay: float = 0.01
    seed: int = 1


@dataclass(frozen=True)
class Tower:
    """A trained map of one side."""

    network: nn.Module

    def __call__(self, vectors: Matrix) -> Matrix:
        """Unit rows (n, d) made of unit rows (n, d)."""
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            made = self.network(torch.tensor(vectors, device=device))  # a copy: vectors may be a read-only file
            unit: Matrix = functional.normalize(made, dim=1).cpu().numpy()
        return unit


@dataclass(frozen=True)
class Towers:
    """Both sides of a trained baseline, and its mean training loss, an epoch each."""

    text: Tower
    image: Tower
    losses: list[float] = field(default_factory=list)


def fit_two_towers(pairs: Pairs, plan: TwoTowerPlan, *, device: torch.device = CPU) -> Towers:
    """The naive baseline: mean of max(0, m - s⁺ + s⁻) over texts, one random image of another product each.

    Raises:
        ValueError: all images are of one product, so that there is no wrong one.
    """
    there = np.unique(pairs.image_of[pairs.rows])  # pictures of other parts of the data are not learned from
    products = pairs.product_of[there]
    if len(np.unique(products)) < 2:
        raise ValueError("found the images of one product; expected two products at least to draw negatives from")
    torch.manual_seed(plan.seed)
    width = pairs.texts.shape[1]
    text, image = (_two_layers(width, plan.hidden or width).to(device) for _ in range(2))
    rng = np.random.default_rng((plan.seed, 1))

    def against_one(texts: Tensor, images: Tensor, rows: Ints) -> Tensor:
        wrong = there[draw_negatives(products, pairs.product_of[pairs.image_of[rows]], rng)]
        negatives = functional.normalize(image(_rows(pairs.images, wrong, device)), dim=1)
        return margin_loss((texts * images).sum(dim=1), (texts * negatives).sum(dim=1), plan.margin)

    optimizer = torch.optim.AdamW(
        [*text.parameters(), *image.parameters()], lr=plan.rate, weight_decay=plan.weight_decay
    )
    losses = _train((text, image), optimizer, against_one, pairs, (plan.epochs, plan.batch, plan.seed), device)
    return Towers(Tower(text.eval()), Tower(image.eval()), losses)


def fit_linear_probe(pairs: Pairs, plan: ProbePlan, *, device: torch.device = CPU) -> Towers:
    """The linear probe: texts W_t x and images W_v y, both matrices the identity at first.

    Pairs of one product in a batch are not told apart: they are left out of each other's softmax.
    """
    width = pairs.texts.shape[1]
    text, image = (_identity(width).to(device) for _ in range(2))
    scale = nn.Parameter(torch.tensor(LOGIT_SCALE_START, device=device).log())

    def contrast(texts: Tensor, images: Tensor, rows: Ints) -> Tensor:
        owners = pairs.product_of[pairs.image_of[rows]]
        same = torch.from_numpy(owners[:, None] == owners).fill_diagonal_(False).to(device)
        return symmetric_info_nce(texts, images, scale.exp().clamp(max=LOGIT_SCALE_MOST), masked=same)

    optimizer = torch.optim.AdamW(
        [
            {"params": [*text.parameters(), *image.parameters()], "weight_decay": plan.weight_decay},
            {"params": [scale], "weight_decay": 0.0},
        ],
        lr=plan.rate,
    )
    losses = _train((text, image), optimizer, contrast, pairs, (plan.epochs, plan.batch, plan.seed), device)
    return Towers(Tower(text.eval()), Tower(image.eval()), losses)


def margin_loss(right: Tensor, wrong: Tensor, margin: float) -> Tensor:
    """Mean of max(0, m - s⁺ + s⁻) over the cosines (b,) with the right and with a wrong image."""
    return functional.relu(margin - right + wrong).mean()


def draw_negatives(products: Ints, owners: Ints, rng: np.random.Generator) -> Ints:
    """For each of ``owners`` (b,) an image (b,), drawn evenly from those of ``products`` (m,) that are not its own.

    There must be two products at least.
    """
    drawn = rng.integers(len(products), size=len(owners))
    while (own := np.flatnonzero(products[drawn] == owners)).size:
        drawn[own] = rng.integers(len(products), size=own.size)
    return drawn


def _train(
    towers: tuple[nn.Module, nn.Module],
    optimizer: torch.optim.Optimizer,
    loss_of: Loss,
    pairs: Pairs,
    lengths: tuple[int, int, int],
    device: torch.device,
) -> list[float]:
    """The mean loss of each of as many passes as ``lengths`` says first; then the batch, then the seed."""
    epochs, batch, seed = lengths
    losses = []
    for epoch in range(epochs):
        total = 0.0
        for rows in _batches(pairs.rows, batch, np.random.default_rng((seed, 0, epoch))):
            sides = (_rows(pairs.texts, rows, device), _rows(pairs.images, pairs.image_of[rows], device))
            texts, images = (
                functional.normalize(tower(side), dim=1) for tower, side in zip(towers, sides, strict=True)
            )
            loss = loss_of(texts, images, rows)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.item() * len(rows)
        losses.append(total / len(pairs))
    return losses


def _batches(rows: Ints, size: int, rng: np.random.Generator) -> Iterator[Ints]:
    order = rng.permutation(rows)
    for start in range(0, len(rows), size):
        yield order[start : start + size]


def _rows(vectors: Matrix, rows: Ints, device: torch.device) -> Tensor:
    return torch.from_numpy(np.asarray(vectors[rows], dtype=np.float32)).to(device)


def _two_layers(width: int, hidden: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))


def _identity(width: int) -> nn.Module:
    layer = nn.Linear(width, width, bias=False)
    nn.init.eye_(layer.weight)
    return layer
