"""How feedback moves a query: the hyper-parameters of every strategy, typed, and the policies that come built in."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from backend.ml.feedback.signals import SignalGrades

ListStrategy = Literal["rocchio", "prf", "grf", "afs", "afs_images"]
Strategy = ListStrategy | Literal["auto", "none", "text", "likes", "boxes"]
"""``rocchio`` is the classic form; ``prf``, ``grf``, ``afs`` are the extended one over images, captions, a summary."""

PositiveNorm = Literal["raw", "unit"]
NegativeNorm = Literal["raw", "convex", "unit"]
"""``convex`` divides a weighted sum by the sum of its weights, K - 1 in the extended form."""

_STRICT: dict[str, str | bool] = {"extra": "forbid", "allow_inf_nan": False}

NegativeWeighting = Literal["uniform", "attention", "similarity"]

LEAST, MOST = 1e-6, 1000.0
"""Weights and temperatures lie between: beyond, single precision has no sum of vectors."""


def _are_weights(*values: float) -> bool:
    return all(value == 0 or LEAST <= value <= MOST for value in values)


@dataclass(frozen=True)
class Mix:
    """q' = n(alpha * q + beta * p - gamma * m), and how p and m are scaled before.

    Args:
        alpha: weight of the query, ``LEAST`` to ``MOST``.
        beta: weight of the positive vector p, likewise or 0.
        gamma: weight of the negative vector m, likewise or 0.
        positive_norm: p as summed, or at unit length.
        negative_norm: m as summed, divided by the sum of its weights, or at unit length.
    """

    __pydantic_config__: ClassVar[dict[str, str | bool]] = _STRICT

    alpha: float = 0.8
    beta: float = 0.1
    gamma: float = 0.1
    positive_norm: PositiveNorm = "unit"
    negative_norm: NegativeNorm = "unit"

    def __post_init__(self) -> None:
        if self.alpha == 0 or not _are_weights(self.alpha):
            raise ValueError(f"alpha {self.alpha}: expected {LEAST} to {MOST}")
        if not _are_weights(self.beta, self.gamma):
            raise ValueError(f"beta {self.beta}, gamma {self.gamma}: expected 0, or {LEAST} to {MOST}")


@dataclass(frozen=True)
class Classic:
    """The original Rocchio: plain means of the best and the worst of a ranking.

    Args:
        mix: weights; means are convex already, so only ``unit`` changes them.
        over: vectors averaged.
    """

    __pydantic_config__: ClassVar[dict[str, str | bool]] = _STRICT

    mix: Mix = Mix(positive_norm="raw", negative_norm="raw")
    over: Literal["images", "captions"] = "images"


@dataclass(frozen=True)
class Likes:
    """q' = n(a * q + c * sum over pairs with r_i > r_j of (r_i - r_j)^b * (x_i - x_j)).

    Args:
        a: weight of the query, 0 or more.
        b: how the gap between two grades counts, 0 or more; 0 counts every gap alike.
        c: weight of the pairs, 0 or more.
        pairs: their sum, or their mean, which does not grow with the number of products judged.
        unjudged: whether what was not judged takes part with grade 0, so that likes alone and dislikes alone make
            pairs: likes with the average product, dislikes with what was shown beside them. Off, it is the form above
            and nothing else.
    """

    __pydantic_config__: ClassVar[dict[str, str | bool]] = _STRICT

    a: float = 1.0
    b: float = 0.5
    c: float = 0.5
    pairs: Literal["sum", "mean"] = "mean"
    unjudged: bool = True

    def __post_init__(self) -> None:
        if not _are_weights(self.a, self.c):
            raise ValueError(f"a {self.a}, c {self.c}: expected 0, or {LEAST} to {MOST}")
        if not 0 <= self.b <= 10:
            raise ValueError(f"b {self.b}: expected 0 to 10")


@dataclass(frozen=True)
class Boxes:
    """What a box on a picture does.

    Args:
        mode: ``crop`` mixes the vectors of what is inside; ``afs`` steers a summarizer's attention, and is ``crop``
            where there is none.
        mix: for crops. A side without boxes weighs nothing.
        steered: for ``afs``.
        strength: added to the attention logits of patches in a box, times its grade.
    """

    __pydantic_config__: ClassVar[dict[str, str | bool]] = _STRICT

    mode: Literal["crop", "afs"] = "crop"
    mix: Mix = Mix(0.6, 0.2, 0.2)
    steered: Mix = Mix(0.5, 0.25, 0.25)
    strength: float = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 100:
            raise ValueError(f"strength {self.strength}: expected 0 to 100")


@dataclass(frozen=True)
class NearestNeighbors:
    """Nearest-neighbour normalisation: score - a * (mean of the k largest scores of reference queries).

    Args:
        a: weight of the bias.
        k: reference queries averaged; fewer where there are fewer.
    """

    __pydantic_config__: ClassVar[dict[str, str | bool]] = _STRICT

    a: float = 0.75
    k: int = 16

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k {self.k}: expected 1 or more")
        if not _are_weights(self.a):
            raise ValueError(f"a {self.a}: expected 0, or {LEAST} to {MOST}")


@dataclass(frozen=True)
class Policy:
    """How feedback is used. Defaults of ``prf``, ``grf``, ``afs`` and ``rocchio`` are those that were published.

    Args:
        strategy: ``auto`` takes what was said (boxes, likes, words) and, where nothing was, the list itself if that
            promises a gain. A strategy over the list itself is applied whatever was said, and what was said with it.
        k: products of the preceding list that feedback is taken from.
        tau: temperature of the softmax over them.
        rocchio: the classic form.
        prf: over images.
        grf: over captions.
        afs: over a summary.
        negative_weighting: weights of the negative vector of ``afs``: all 1; or a softmax of negated attention; or
            1 - w_i by similarity to the query, by captions where the list has any, hard negatives as of ``grf``.
        tau_negative: temperature of that softmax, over attention that sums to 1.
        text: of words in the ``rocchio`` mode.
        explicit_mode: whether words are averaged with the query or mixed as ``text`` says.
        likes: weights of likes and dislikes; None takes those fitted to the generation.
        boxes: what a box does.
        remove_modality_mean: take each modality's mean off feedback vectors before they are mixed.
        nnn: rescoring by nearest-neighbour normalisation; None is off.
        gate: whether ``auto`` holds where a refinement from the list alone promises no gain.
        drift_budget: least cosine to the session's first query; -1 is none.
        list_budget: where ``auto`` goes by the list alone, least cosine to where the shopper's own feedback led; -1 is
            none.
        accumulate: whether a turn moves the query of the turn before, or the session's first.
        session_signals: what this session's clicks and dwell stand for; None leaves them out.
        exclude_liked: whether products liked leave the list.
        exclude_disliked: whether products disliked do.
    """

    __pydantic_config__: ClassVar[dict[str, str | bool]] = _STRICT

    strategy: Strategy = "auto"
    k: int = 5
    tau: float = 0.05
    rocchio: Classic = Classic()
    prf: Mix = Mix()
    grf: Mix = Mix(positive_norm="raw", negative_norm="raw")
    afs: Mix = Mix()
    negative_weighting: NegativeWeighting = "uniform"
    tau_negative: float = 0.05
    text: Mix = Mix(gamma=0.0)
    explicit_mode: Literal["average", "rocchio"] = "average"
    likes: Likes | None = None
    boxes: Boxes = Boxes()
    remove_modality_mean: bool = False
    nnn: NearestNeighbors | None = None
    gate: bool = True
    drift_budget: float = -1.0
    list_budget: float = -1.0
    accumulate: bool = True
    session_signals: SignalGrades | None = None
    exclude_liked: bool = False
    exclude_disliked: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.k <= 100:
            raise ValueError(f"k {self.k}: expected 1 to 100")
        if not (LEAST <= self.tau <= MOST and LEAST <= self.tau_negative <= MOST):
            raise ValueError(f"tau {self.tau}, tau_negative {self.tau_negative}: expected {LEAST} to {MOST}")
        for budget in (self.drift_budget, self.list_budget):
            if not -1 <= budget < 1:
                raise ValueError(f"drift_budget {self.drift_budget}, list_budget {self.list_budget}: expected -1 to 1")


BUILT_IN: dict[str, Policy] = {
    # raw sums drift over the rounds: where feedback is taken unasked, both vectors are at unit length
    "auto": Policy(
        grf=Mix(0.8, 0.2, 0.2),
        afs=Mix(0.6, 0.2, 0.2),
        negative_weighting="similarity",
        drift_budget=0.5,
        list_budget=0.98,
        session_signals=SignalGrades(),
    ),
    "none": Policy(strategy="none"),
    "prf": Policy(strategy="prf"),
    "grf": Policy(strategy="grf"),
    "afs": Policy(strategy="afs"),
    "afs_images": Policy(strategy="afs_images"),
    "rocchio": Policy(strategy="rocchio"),
}
"""Policies by name that every installation has; all but ``auto`` as published, and without a drift budget."""
