"""Training residual heads on cached vectors of a frozen encoder, so that texts find their pictures better.

Symmetric InfoNCE over batches of pairs (arXiv 2103.00020), heads that begin as the identity, and full-gallery ranks on
held-out products after each epoch: the untouched encoder is the first candidate, and the best one is kept.
"""

import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from backend.errors import Conflict
from backend.ml.adapter_plan import AdapterEpoch, AdapterPlan, AdapterRun
from backend.ml.exact_ranks import pair_ranks
from backend.ml.hard_negatives import HardNegatives
from backend.ml.heads import Head, HeadConfig
from backend.ml.losses import no_negatives, symmetric_info_nce
from backend.ml.metrics import hits, reciprocal_rank
from backend.ml.pairs import Examined, Pairs, Rows, Vectors, examine
from backend.ml.residual_head import ResidualHead
from backend.ml.training_steps import DivergedError, adamw, keep_state, rate_after, seeded

OnStep = Callable[[int, int], None]

DEPTH = 10
"""Of the recall that decides which weights are kept."""


def train_adapter(
    pairs: Pairs,
    validation: Pairs,
    plan: AdapterPlan,
    *,
    replay: Pairs | None = None,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    on_step: OnStep | None = None,
    on_epoch: Callable[[AdapterEpoch], None] | None = None,
) -> AdapterRun:
    """Train heads until the plan's end or until nothing improves; those of the best epoch.

    Args:
        pairs: what is learned from; vectors stay where they are but for a batch.
        validation: of other products; after each epoch all of its texts are ranked over all of its pictures.
        plan: how.
        replay: pairs whose texts the text head shall leave where they are (``AdapterPlan.replay``): some are drawn for
            every batch.
        device: where batches are computed.
        checkpoint: written after each epoch, and gone on from where it is there already: a run that was killed and
            begun again ends with the weights of one that was not.
        on_step: told how many of how many steps of the epoch are done.
        on_epoch: told what each epoch came to.

    Raises:
        PairsUnfit: vectors that are not finite or not of unit length.
        DivergedError: a loss is no finite number.
        Conflict: the checkpoint is of another plan or other pairs.
    """
    began = time.monotonic()
    held = None if replay is None else examine(replay)
    run = _Run(examine(pairs), examine(validation).pairs, held, plan, torch.device(device))
    if checkpoint is not None and checkpoint.exists():
        run.load(checkpoint)
    else:
        run.judge(None)
    while not (stopped := run.ended()):
        run.judge(run.learn(on_step))
        if checkpoint is not None:
            run.save(checkpoint)
        if on_epoch is not None:
            on_epoch(run.history[-1])
    run.model.load_state_dict(run.best)
    text, image = run.model.frozen()
    return AdapterRun(plan, text, image, tuple(run.history), stopped, run.examined.merged, time.monotonic() - began)


class _Towers(nn.Module):
    """The heads of a plan and the scale of their contrast."""

    def __init__(self, width: int, plan: AdapterPlan) -> None:
        super().__init__()
        config = HeadConfig(width, plan.hidden, plan.alpha, plan.learn_alpha, plan.dropout)
        self.which, self.most = plan.which, math.log(plan.most_scale)
        self.text = ResidualHead(config)
        self.image = ResidualHead(config) if plan.which == "both" else None
        self.log_scale = nn.Parameter(torch.tensor(math.log(plan.scale)))

    def forward(self, texts: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors (b, d) of texts and of pictures, through their heads."""
        return self.text(texts), self.through_image(images)

    def through_image(self, images: Tensor) -> Tensor:
        """Unit vectors (b, d) of pictures, through their head."""
        head = self.text if self.which == "shared" else self.image
        return images if head is None else head(images)

    @property
    def scale(self) -> Tensor:
        """Inverse temperature."""
        return self.log_scale.exp()

    def clamp_scale(self) -> None:
        """Bring the scale back under its limit; the parameter itself, so that a gradient can still lower it."""
        with torch.no_grad():
            self.log_scale.clamp_(max=self.most)

    def frozen(self) -> tuple[Head, Head | None]:
        """The heads of texts and of pictures, for use."""
        text = self.text.frozen()
        if self.which == "shared":
            return text, text
        return text, None if self.image is None else self.image.frozen()


@dataclass
class _Run:
    """A training and how far it has come."""

    examined: Examined
    validation: Pairs
    replay: Examined | None
    plan: AdapterPlan
    device: torch.device
    history: list[AdapterEpoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pairs, plan = self.examined.pairs, self.plan
        with seeded(plan.seed, self.device):
            self.model = _Towers(self.pairs.width, plan).to(self.device)
        self.optimizer = adamw(self.model.named_parameters(), plan.rate, plan.weight_decay)

    def learn(self, on_step: OnStep | None) -> float:
        """One pass over the pairs in random order; the mean loss."""
        number, plan = len(self.history), self.plan
        rng = np.random.default_rng((plan.seed, number))
        hard = self._hard_negatives(rng)
        order = rng.permutation(self.pairs.rows)
        steps, total = math.ceil(len(order) / plan.batch), 0.0
        batches = np.array_split(order, steps)  # of one size: a last one of a few pairs would be a task of its own
        self.model.train()
        with seeded(plan.seed + 1000 * number, self.device):
            for step, rows in enumerate(batches, start=1):
                self._set_rate(number - 1 + step / steps)
                loss = self._loss(rows, hard) + self._forgotten(len(rows), rng)
                if not math.isfinite(value := loss.item()):
                    raise DivergedError(f"found a loss of {value} in step {step} of epoch {number}: rows {rows[:5]} …")
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
                self.model.clamp_scale()
                total += value * len(rows)
                if on_step is not None:
                    on_step(step, steps)
        return total / len(order)

    def judge(self, loss: float | None) -> None:
        """Rank the held-out pairs, and keep the weights if they are the best so far."""
        text, image = self.model.eval().frozen()
        ranks = pair_ranks(self.validation, text=text, image=image)
        recall, mrr = float(hits(ranks, DEPTH).mean()), float(reciprocal_rank(ranks).mean())
        alphas = tuple(head.alpha for head in dict.fromkeys((text, image)) if head is not None)
        best = recall + mrr > max((epoch.merit for epoch in self.history), default=-math.inf)
        if best:
            self.best = deepcopy({name: weight.cpu() for name, weight in self.model.state_dict().items()})
        scale = self.model.scale.item()
        self.history.append(AdapterEpoch(len(self.history), loss, recall, mrr, scale, alphas, best))

    def ended(self) -> Literal["", "epochs", "patience"]:
        """Why it is over, if it is."""
        last = max(epoch.number for epoch in self.history if epoch.best)
        if len(self.history) > self.plan.epochs:
            return "epochs"
        return "patience" if self.history[-1].number - last >= self.plan.patience else ""

    def save(self, path: Path) -> None:
        """Keep how far it has come, whole or not at all."""
        state = {
            "plan": asdict(self.plan),
            "pairs": self._fingerprint,
            "model": self.model.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "history": [asdict(epoch) for epoch in self.history],
        }
        keep_state(state, path)

    def load(self, path: Path) -> None:
        """Go on from what was kept."""
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        if (state["plan"], state["pairs"]) != (asdict(self.plan), self._fingerprint):
            raise Conflict(f"{path} is of another plan or of other pairs.", expected="the same, or no such file")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best = {name: weight.cpu() for name, weight in state["best"].items()}
        self.history = [AdapterEpoch(**epoch) for epoch in state["history"]]

    def _loss(self, rows: Rows, hard: HardNegatives | None) -> Tensor:
        """Of the pairs of ``rows`` (b,)."""
        pairs, plan = self.pairs, self.plan
        shown = pairs.image_of[rows]
        raw_texts, raw_images = self._put(pairs.texts, rows), self._put(pairs.images, shown)
        looks = None if plan.alike is None else raw_images
        masked = no_negatives(pairs.product_of[shown], self.examined.same_text[rows], looks, plan.alike or math.inf)
        texts, images = self.model(raw_texts, raw_images)
        harder = None if hard is None else self._harder(texts, hard.of(rows))
        loss = symmetric_info_nce(texts, images, self.model.scale, masked=masked, harder=harder)
        if plan.identity:
            drifted = (texts - raw_texts).square().sum(dim=1).mean() + (images - raw_images).square().sum(dim=1).mean()
            loss = loss + plan.identity * drifted
        return loss

    def _forgotten(self, count: int, rng: np.random.Generator) -> Tensor | float:
        """How far the text head moves ``count`` of the texts that are replayed, weighed."""
        if self.replay is None or not self.plan.replay:
            return 0.0
        replayed = self.replay.pairs
        raw = self._put(replayed.texts, replayed.rows[rng.integers(len(replayed), size=count)])
        moved: Tensor = (self.model.text(raw) - raw).square().sum(dim=1).mean()
        return self.plan.replay * moved

    def _harder(self, texts: Tensor, drawn: Rows) -> tuple[Tensor, Tensor]:
        """Cosines (b, h) of ``texts`` (b, d) to the pictures ``drawn`` (b, h), and where there are any."""
        images = self.model.through_image(self._put(self.pairs.images, np.maximum(drawn, 0).ravel()))
        cosines = torch.einsum("bd,bhd->bh", texts, images.reshape(*drawn.shape, -1))
        return cosines, torch.from_numpy(drawn >= 0).to(self.device)

    def _hard_negatives(self, rng: np.random.Generator) -> HardNegatives | None:
        if not self.plan.hard_negatives:
            return None
        text, image = self.model.eval().frozen()
        plan = self.plan
        return HardNegatives.mined(
            self.examined,
            text=text,
            image=image,
            count=plan.hard_negatives,
            band=plan.band,
            alike=plan.alike,
            margin=plan.margin,
            rng=rng,
        )

    @property
    def _fingerprint(self) -> str:
        return self.examined.fingerprint + ("" if self.replay is None else self.replay.fingerprint)

    def _set_rate(self, epochs: float) -> None:
        """The learning rate after ``epochs`` passes: a straight rise, then half a cosine."""
        plan = self.plan
        for group in self.optimizer.param_groups:
            group["lr"] = rate_after(epochs, rate=plan.rate, warmup=plan.warmup, last=plan.epochs)

    def _put(self, vectors: Vectors, rows: Rows) -> Tensor:
        """Vectors (b, d) of ``rows``, on the device."""
        taken = torch.from_numpy(np.ascontiguousarray(vectors[rows], dtype=np.float32))
        if self.device.type != "cuda":
            return taken
        return taken.pin_memory().to(self.device, non_blocking=True)
