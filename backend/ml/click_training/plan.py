"""What decides how heads are trained on clicks, and what a training came to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from backend.ml.heads import ItemHeads, QueryHeads

Labels = Literal["naive", "ips", "dr"]


@dataclass(frozen=True)
class Arm:
    """One way to learn from a night's log.

    Args:
        labels: clicks as they are, clicks over propensities, or doubly robust estimates of relevance.
        fresh: begin from the identity, not from the heads in use: shows what drifted over many nights.
        items: train heads of pictures and captions, too: wants a new index build.
    """

    labels: Labels
    fresh: bool = False
    items: bool = False


REACHES: tuple[tuple[float, tuple[float, float]], ...] = (
    (1e6, (0.2, 5.0)),
    (1e5, (0.33, 3.0)),
    (0.0, (0.5, 2.0)),
)
"""Effective clicks from which on a product's exposure may go down and up by so much: the more is known, the further."""

ARMS: dict[str, Arm] = {
    "naive": Arm("naive"),
    "ips": Arm("ips"),
    "dr": Arm("dr"),
    "challenger": Arm("ips", fresh=True),
    "items": Arm("ips", items=True),
}
"""Arms by name. "none" is none of them: it is what is live already."""


@dataclass(frozen=True)
class ClickPlan:
    """How heads are trained on clicks.

    Args:
        alpha: share of what is learned in what comes out, in [0, 1).
        hidden: units of the hidden layer; None for a quarter of the vector's length.
        dropout: of the hidden layer while training.
        epochs: most passes; the cosine of the learning rate ends there.
        batch: most lists a step.
        least_steps: of an epoch: where there are few lists, batches are smaller.
        most_steps: of an epoch: where there are many, an epoch is a part of them.
        rate: highest learning rate of AdamW.
        weight_decay: of matrices.
        warmup: epochs over which the rate rises.
        longest: gradients of a step are scaled down to this length.
        listwise: weight of the softmax over what was in view.
        contrast: weight of InfoNCE against products of the batch and of the catalogue.
        replay: weight of InfoNCE of captions and their pictures.
        distil: weight of KL(frozen || head) over replayed captions.
        identity: weight of E ||z - e||^2 over queries that were asked.
        remember: weight of the same over replayed captions: what holds words where they mean what they meant.
        tightened: what that weight is multiplied by after an epoch that forgot more than it may.
        scale: inverse temperature at the start.
        scales: least and greatest inverse temperature.
        negatives: products of the whole catalogue in each batch of InfoNCE.
        most_contrasted: clicks of a batch in InfoNCE.
        most_replayed: captions of a batch.
        safe: whether nothing is gained by moving a product's exposure in its list beyond a ratio (:meth:`reach_of`).
        most_weight: 1 / theta is cut off here.
        half_life: days after which a list counts half.
        query_share: most of the weight that one query has; 5 / queries where that is more.
        unit_share: most of the weight that one shopper has; 5 / shoppers where that is more.
        most_lifted: most that lists of a rare device, cohort or type of query are weighed up.
        least_clicks: satisfied clicks from which a head is trained for queries by picture.
        most_lists: newest lists learned from.
        kept: share of the learned part of the heads in use that training begins with.
        patience: epochs without a better one after which it ends.
        seeds: how many trainings; the middle one counts.
        least_retention: share of what captions found that they must find; above what the gate asks, whose captions
            are others.
    """

    alpha: float = 0.2
    hidden: int | None = 64
    dropout: float = 0.1
    epochs: int = 6
    batch: int = 1024
    least_steps: int = 10
    most_steps: int = 200
    rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 1.0
    longest: float = 5.0
    listwise: float = 1.0
    contrast: float = 0.3
    replay: float = 1.0
    distil: float = 1.0
    identity: float = 0.3
    remember: float = 10.0
    tightened: float = 3.0
    scale: float = 30.0
    scales: tuple[float, float] = (5.0, 100.0)
    negatives: int = 256
    most_contrasted: int = 512
    most_replayed: int = 512
    safe: bool = True
    most_weight: float = 10.0
    half_life: float = 7.0
    query_share: float = 0.005
    unit_share: float = 0.001
    most_lifted: float = 3.0
    least_clicks: int = 500
    most_lists: int = 300_000
    kept: float = 0.9
    patience: int = 4
    seeds: int = 3
    least_retention: float = 0.99

    def reach_of(self, clicks: float) -> tuple[float, float] | None:
        """Least and greatest ratio of exposures after so many effective clicks; None: no limit."""
        return next(reach for least, reach in REACHES if clicks >= least) if self.safe else None

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each loss."""
        return {
            "listwise": self.listwise,
            "contrast": self.contrast,
            "replay": self.replay,
            "distil": self.distil,
            "identity": self.identity,
        }


@dataclass(frozen=True)
class ClickEpoch:
    """What one epoch came to.

    Args:
        number: 0 is the start.
        loss: mean of its steps; None for the start.
        parts: mean of each loss, unweighted.
        merit: NDCG@10 on lists of validation.
        retention: share of what captions found that they find.
        scale: inverse temperature.
        best: whether it is the best so far.
    """

    number: int
    loss: float | None
    parts: Mapping[str, float]
    merit: float
    retention: float
    scale: float
    best: bool


@dataclass(frozen=True)
class TrainedArm:
    """What an arm came to.

    Args:
        name: of the arm.
        heads: of queries, scaled by ``gamma``.
        items: of items; None where the index stays as it is.
        gamma: what the learned part was scaled by; 0 where nothing was better than what is live: the heads are those.
        history: of the seed that counts.
        report: everything else, as JSON keeps it.
    """

    name: str
    heads: QueryHeads
    items: ItemHeads | None
    gamma: float
    history: tuple[ClickEpoch, ...]
    report: dict[str, Any]
