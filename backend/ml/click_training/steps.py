"""One training of an arm: its batches, its losses, epoch by epoch."""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.errors import Conflict
from backend.ml.click_training.batches import Night
from backend.ml.click_training.gallery import Gallery
from backend.ml.click_training.losses import corrected_info_nce, distilled, listwise, moved, within_reach
from backend.ml.click_training.network import Network, Scorer
from backend.ml.click_training.plan import ClickEpoch
from backend.ml.click_training.validation import merit, through
from backend.ml.losses import no_negatives, symmetric_info_nce
from backend.ml.training_steps import DivergedError, adamw, keep_state, rate_after, seeded

Rows = NDArray[np.int64]
OnStep = Callable[[int, int], None]
Losses = dict[str, Tensor]


@dataclass
class Run:
    """A training of one seed and how far it has come.

    Args:
        night: what it learns from.
        seed: of weights, order and draws.
        rate: highest learning rate.
    """

    night: Night
    seed: int
    rate: float
    remember: float = field(init=False)
    history: list[ClickEpoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        night = self.night
        self.remember = night.plan.remember
        with seeded(self.seed):
            self.network = Network(night.problem, night.arm, night.plan, pictures=night.pictures)
        self.scorer = Scorer(night.problem, self.network, night.gallery)
        heads = [one for one in self.network.named_parameters() if one[0] != "log_scale"]
        self.optimizer = adamw(heads, self.rate, night.plan.weight_decay)
        self.optimizer.add_param_group({"params": [self.network.log_scale], "weight_decay": 0.0, "share": 0.1})

    def learn(self, on_step: OnStep | None) -> dict[str, float]:
        """One epoch; the mean of each loss, and of their weighted sum as "loss"."""
        number, plan = len(self.history), self.night.plan
        rng = np.random.default_rng((self.seed, number))
        batches, totals = self.night.batches(rng), dict[str, float]()
        self.network.train()
        with seeded(self.seed + 1000 * number):
            for step, lists in enumerate(batches, start=1):
                self._set_rate(number - 1 + step / len(batches))
                losses = self._losses(lists, rng)
                weights = {**plan.weights, "remembered": self.remember}
                loss = sum((weights[name] * one for name, one in losses.items()), torch.zeros(()))
                if not math.isfinite(value := loss.item()):
                    raise DivergedError(f"found a loss of {value} in step {step} of epoch {number}")
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), plan.longest)
                self.optimizer.step()
                self.network.clamp_scale()
                for name, one in {**losses, "loss": loss}.items():
                    totals[name] = totals.get(name, 0.0) + one.item() / len(batches)
                if on_step is not None:
                    on_step(step, len(batches))
        return totals

    def judge(self, losses: dict[str, float] | None) -> None:
        """Rank the lists of validation anew, and keep the weights if they are the best of those that forget little.

        What forgets more is held back harder from then on. The start may be kept whatever it forgets.
        """
        heads, items = self.network.eval().frozen()
        night = self.night
        vectors = through(night.problem, items)
        gallery = night.live if items is None else Gallery(vectors, night.live.products)
        found, kept = merit(night.problem, night.held, gallery, heads).ndcg, night.memory.kept(vectors, heads).least
        remembers = kept >= night.plan.least_retention
        if not remembers:
            self.remember *= night.plan.tightened
        best = not self.history or (remembers and found > max(one.merit for one in self.history if one.best))
        if best:
            self.best = deepcopy(dict(self.network.state_dict()))
        parts = {name: round(value, 5) for name, value in (losses or {}).items()}
        loss = parts.pop("loss", None)
        self.history.append(ClickEpoch(len(self.history), loss, parts, found, kept, self.network.scale.item(), best))

    @property
    def merit(self) -> float:
        """Of the weights that are kept."""
        return max(epoch.merit for epoch in self.history if epoch.best)

    def ended(self) -> bool:
        """Whether it is over."""
        last = max(epoch.number for epoch in self.history if epoch.best)
        plan = self.night.plan
        return len(self.history) > plan.epochs or self.history[-1].number - last >= plan.patience

    def save(self, path: Path) -> None:
        """Keep how far it has come, whole or not at all."""
        state = {
            "night": self.night.fingerprint,
            "model": self.network.state_dict(),
            "best": self.best,
            "remember": self.remember,
            "optimizer": self.optimizer.state_dict(),
            "history": [asdict(epoch) for epoch in self.history],
        }
        keep_state(state, path)

    def load(self, path: Path) -> None:
        """Go on from what was kept.

        Raises:
            Conflict: it is of another log, plan or version.
        """
        state: dict[str, Any] = torch.load(path, weights_only=True)
        known = {one.name for one in fields(ClickEpoch)}
        if state.get("night") != self.night.fingerprint or any(known != set(one) for one in state["history"]):
            detail = f"{path} is of another log, plan or version."
            raise Conflict(detail, expected="the same, or no such file")
        self.network.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.remember = state["remember"]
        self.best = state["best"]
        self.history = [ClickEpoch(**epoch) for epoch in state["history"]]

    def _losses(self, lists: Rows, rng: np.random.Generator) -> Losses:
        night, plan, scale = self.night, self.night.plan, self.network.scale
        query = torch.from_numpy(night.examples.query[lists])
        raw = night.asked[query]
        z = self.network.queries(raw, night.by_picture[query])
        shown = night.shown(lists)
        logits = scale * self.scorer.listed(z, query, shown.image, shown.caption)
        allowed = None if night.reach is None else within_reach(logits, shown.present, night.reach)
        losses = {"listwise": listwise(logits, shown.weight, shown.present, allowed), "identity": moved(raw, z)}
        if plan.contrast:
            losses["contrast"] = self._contrast(lists, z, query, rng)
        if plan.replay or plan.distil:
            losses |= self._replayed(len(lists), rng)
        return losses

    def _contrast(self, lists: Rows, z: Tensor, query: Tensor, rng: np.random.Generator) -> Tensor:
        night, scale = self.night, self.network.scale
        drawn = night.contrast(lists, rng)
        logits = scale * self.scorer.crossed(z, query, night.production[query], drawn.products)[drawn.row]
        positive = logits.gather(1, drawn.own[:, None])[:, 0]
        return corrected_info_nce(positive, logits, drawn.frequency, drawn.weight, drawn.drawn)

    def _replayed(self, count: int, rng: np.random.Generator) -> Losses:
        """What holds words where they were: captions find their pictures, and rank others as they did."""
        night, plan, scale = self.night, self.night.plan, self.network.scale
        if not len(night.replayed):
            return {}
        rows = rng.choice(len(night.replayed), size=min(count, len(night.replayed), plan.most_replayed), replace=False)
        texts, shown, products = night.replayed.of(rows)
        z, images = self.network.text(texts), self.scorer.vectors("image", shown)
        masked = no_negatives(products, rows, None, math.inf)
        frozen = texts @ night.replayed.images(shown).T
        return {
            "replay": symmetric_info_nce(z, images, scale, masked=masked),
            "distil": distilled(plan.scale * frozen, plan.scale * (z @ images.T)),
            "remembered": moved(texts, z),
        }

    def _set_rate(self, epochs: float) -> None:
        plan = self.night.plan
        rate = rate_after(epochs, rate=self.rate, warmup=plan.warmup, last=plan.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
