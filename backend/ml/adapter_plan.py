"""What decides how residual heads are trained, and what a training came to."""

from dataclasses import dataclass
from typing import Literal

from backend.ml.heads import Head, ItemHeads, QueryHeads

Which = Literal["text", "both", "shared"]


@dataclass(frozen=True)
class AdapterPlan:
    """What decides how heads are trained.

    Args:
        which: ``text`` trains a head for texts alone and leaves pictures and their index as they are; ``both`` one for
            texts and one for pictures; ``shared`` one for both.
        alpha: share of the adapter in what comes out, in [0, 1).
        learn_alpha: learn it, from ``alpha`` on.
        hidden: units of the hidden layer; None for a quarter of the vector's length.
        dropout: of the hidden layer while training.
        epochs: most passes over the pairs; the cosine of the learning rate ends there.
        batch: pairs a step.
        rate: highest learning rate of AdamW.
        weight_decay: of matrices; scale, biases and norms have none.
        warmup: epochs over which the rate rises to ``rate``.
        scale: inverse temperature at the start; a trained encoder is sharp already, and the 1 / .07 that CLIP itself
            began with would pull its space apart first.
        most_scale: the inverse temperature never exceeds this.
        identity: weight of E ||h(x) - x||^2, which holds heads back.
        replay: weight of E ||h(x) - x||^2 over texts that are replayed, where there are any: what holds back the text
            head where words mean what they meant, and nowhere else.
        alike: cosine of raw picture vectors from which two products of a batch are not told apart; None for never.
        hard_negatives: further negatives a text, drawn from among those that the model ranks in ``band``; 0 for none.
        band: first and last rank, from 1, that they are drawn from.
        margin: no hard negative is a picture to which the raw text is as near as to its own, less this.
        patience: epochs without a better rank on the held-out pairs after which it ends.
        seed: decides weights, order and draws; with the same seed and threads a run on a processor is the same.
    """

    which: Which = "both"
    alpha: float = 0.2
    learn_alpha: bool = False
    hidden: int | None = None
    dropout: float = 0.1
    epochs: int = 30
    batch: int = 256
    rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 1.0
    scale: float = 50.0
    most_scale: float = 100.0
    identity: float = 0.0
    replay: float = 30.0
    alike: float | None = 0.95
    hard_negatives: int = 0
    band: tuple[int, int] = (10, 50)
    margin: float = 0.02
    patience: int = 10
    seed: int = 1


@dataclass(frozen=True)
class AdapterEpoch:
    """What one epoch came to: mean loss (None for epoch 0, the untouched encoder) and ranks on the held-out pairs."""

    number: int
    loss: float | None
    recall_at_10: float
    mrr: float
    scale: float
    alphas: tuple[float, ...]
    best: bool

    @property
    def merit(self) -> float:
        """What decides which epoch is best: Recall@10 + MRR."""
        return self.recall_at_10 + self.mrr


@dataclass(frozen=True)
class AdapterRun:
    """What a training came to.

    Args:
        plan: how it was trained.
        text: head of texts.
        image: head of pictures; None where they are left as they are; ``text`` itself where it is shared.
        history: epoch 0, the untouched encoder, and those after it.
        stopped: why it ended.
        merged: pairs left out since they were there twice.
        seconds: of training, without what an interrupted run took before.
    """

    plan: AdapterPlan
    text: Head
    image: Head | None
    history: tuple[AdapterEpoch, ...]
    stopped: Literal["epochs", "patience"]
    merged: int
    seconds: float

    @property
    def query_heads(self) -> QueryHeads:
        """Heads of queries by words and by picture."""
        return QueryHeads(self.text, self.image)

    @property
    def item_heads(self) -> ItemHeads:
        """Heads of what is searched: the index is left alone where pictures are."""
        return ItemHeads(self.image, None if self.image is None else self.text)
