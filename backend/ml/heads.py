"""Residual heads on a frozen encoder, as they serve: numpy only.

For a unit row x, with a blend α in [0, 1) and a guard γ,

    h(x) = n((1-α)·x + α·A(x)),    A(x) = γ·W2·GELU(W1·LN(x) + b1),    n(v) = v / |v|

(the residual ratio of CLIP-Adapter, arXiv 2110.04544 equation 3, with the identity as its start: W2 is zero in a new
head, and there is no activation after it, which would have no gradient there). Since n drops a common factor, it is
computed as y = x + r·A(x) with r = α/(1-α), then y·(|x|/|y|): with A = 0 that is x to the last bit, so a new head
changes no rank anywhere. GELU is its tanh form (arXiv 1606.08415 section 2), which numpy and torch compute alike.
`residual_head` trains them, `head_files` keeps them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
QuerySide = Literal["text", "image"]
ItemSide = Literal["image", "caption"]

NORM_EPS = 1e-5
"""Added to the variance that layer normalisation divides by."""

_TINY = 1e-30
_BLOCK = 8192  # rows at a time: what is computed on the way stays within tens of MB however many rows there are
WEIGHTS = ("gain", "shift", "inward", "bias", "outward")
"""Arrays of a head, by name."""


@dataclass(frozen=True)
class HeadConfig:
    """The shape of a head and how it blends.

    Args:
        dim: numbers of an embedding.
        hidden: width of the hidden layer; None takes a quarter of ``dim``.
        alpha: α, the share of what is learned; the start where it is learned itself.
        learn_alpha: whether α = sigmoid(θ) with a learned θ.
        dropout: share of the hidden layer that is dropped while training.

    Raises:
        ValueError: a size below 1, an α outside [0, 1), a learned α that starts at 0, or a dropout outside [0, 1).
    """

    dim: int
    hidden: int | None = None
    alpha: float = 0.2
    learn_alpha: bool = False
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.dim < 1 or self.width < 1:
            raise ValueError(f"found dim {self.dim} and hidden {self.hidden}; expected both from 1 on")
        check_alpha(self.alpha)
        if self.learn_alpha and self.alpha == 0:
            raise ValueError("found a learned alpha of 0; expected one above 0: sigmoid(θ) never reaches it")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"found dropout {self.dropout}; expected a share in [0, 1)")

    @property
    def width(self) -> int:
        """Width of the hidden layer."""
        return max(1, self.dim // 4) if self.hidden is None else self.hidden


def check_alpha(alpha: float) -> None:
    """Refuse an α that is no blend.

    Raises:
        ValueError: outside [0, 1).
    """
    if not 0 <= alpha < 1:
        why = "nothing of the embedding would be left, and a new head, A = 0, would have no direction at all"
        raise ValueError(f"found alpha {alpha}; expected a share in [0, 1)" + (f": at 1 {why}" if alpha == 1 else ""))


@dataclass(frozen=True, eq=False)
class Head:
    """A head that is trained: an immutable function from raw embeddings to adapted ones.

    Args:
        gain: (d,) of the layer normalisation.
        shift: (d,) of the layer normalisation.
        inward: W1, (hidden, d).
        bias: b1, (hidden,).
        outward: W2, (d, hidden).
        alpha: α.
        gamma: γ, what the learned part is scaled by.

    Raises:
        ValueError: shapes that do not fit, weights that are not finite, or an α outside [0, 1).
    """

    gain: Floats
    shift: Floats
    inward: Floats
    bias: Floats
    outward: Floats
    alpha: float = 0.2
    gamma: float = 1.0

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        for name in WEIGHTS:
            weight = np.array(getattr(self, name), dtype=np.float32)
            if not np.isfinite(weight).all():
                raise ValueError(f"found {name} with numbers that are not finite; expected a head's weights")
            weight.flags.writeable = False
            object.__setattr__(self, name, weight)
        hidden, dim = self.inward.shape if self.inward.ndim == 2 else (0, 0)
        found = [getattr(self, name).shape for name in WEIGHTS]
        expected = [(dim,), (dim,), (hidden, dim), (hidden,), (dim, hidden)]
        if found != expected or not dim or not hidden:
            raise ValueError(f"found {WEIGHTS} of shapes {found}; expected (d,), (d,), (h, d), (h,), (d, h)")
        if not np.isfinite(self.gamma):
            raise ValueError(f"found gamma {self.gamma}; expected a finite number")

    @property
    def dim(self) -> int:
        """Numbers of an embedding."""
        return int(self.inward.shape[1])

    @property
    def hidden(self) -> int:
        """Width of the hidden layer."""
        return int(self.inward.shape[0])

    def __call__(self, vectors: NDArray[Any]) -> Floats:
        """Raw rows (n, d) -> adapted rows (n, d) float32, each as long as it was; ``vectors`` is left as it is.

        A row that is c times another comes out c times the other's: the direction alone decides.

        Raises:
            ValueError: rows of another width.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise ValueError(f"found vectors of shape {vectors.shape}; expected (n, {self.dim})")
        if len(vectors) <= _BLOCK:
            return self._adapted(np.ascontiguousarray(vectors, dtype=np.float32))
        adapted = np.empty(vectors.shape, dtype=np.float32)
        for start in range(0, len(vectors), _BLOCK):
            block = np.ascontiguousarray(vectors[start : start + _BLOCK], dtype=np.float32)
            adapted[start : start + _BLOCK] = self._adapted(block)
        return adapted

    def scaled(self, gamma: float) -> Self:
        """The head whose learned part is ``gamma`` times this one's: the scaling guard; 0 is the identity."""
        return replace(self, gamma=self.gamma * gamma)

    @cached_property
    def _folded(self) -> tuple[Floats, Floats, float]:
        """W1 with the gain in it, transposed; b1 with the shift in it; r·γ."""
        inward = np.ascontiguousarray((self.inward * self.gain).T)
        return inward, self.bias + self.inward @ self.shift, self.gamma * self.alpha / (1 - self.alpha)

    def _adapted(self, x: Floats) -> Floats:
        inward, bias, strength = self._folded
        lengths = _lengths(x)
        centred = x / np.maximum(lengths, _TINY)
        centred -= centred.mean(axis=1, keepdims=True)
        spread = np.einsum("nd,nd->n", centred, centred)[:, None] / self.dim
        hidden = (centred @ inward) / np.sqrt(spread + NORM_EPS)
        hidden += bias
        y = (gelu(hidden) @ self.outward.T) * (strength * lengths)
        y += x
        y *= lengths / np.maximum(_lengths(y), _TINY)
        return y


@dataclass(frozen=True)
class QueryHeads:
    """The heads that a generation's queries go through. ``None`` is the identity."""

    text: Head | None = None
    image: Head | None = None

    def of(self, side: QuerySide) -> Head | None:
        """The head for queries of words, or of pictures."""
        return self.text if side == "text" else self.image

    def adapt(self, side: QuerySide, vectors: Floats) -> Floats:
        """Raw rows (n, d) of words, or of pictures, as the collections are asked; without a head no change."""
        head = self.of(side)
        return vectors if head is None else head(vectors)


@dataclass(frozen=True)
class ItemHeads:
    """The heads that everything in an index build goes through. ``None`` is the identity."""

    image: Head | None = None
    caption: Head | None = None

    def of(self, side: ItemSide) -> Head | None:
        """The head for pictures, or for captions, of products."""
        return self.image if side == "image" else self.caption

    def adapt(self, side: ItemSide, vectors: Floats) -> Floats:
        """Raw rows (n, d) of pictures, or of captions, as a collection holds them; without a head no change."""
        head = self.of(side)
        return vectors if head is None else head(vectors)

    def adapt_each(self, side: ItemSide, parts: Sequence[Floats]) -> list[Floats]:
        """`adapt` for several (n_i, d) in one pass."""
        head = self.of(side)
        if head is None or not parts:
            return list(parts)
        return np.split(head(np.concatenate(parts)), np.cumsum([len(part) for part in parts])[:-1])


def gelu(x: Floats) -> Floats:
    """GELU in its tanh form, elementwise: x/2 · (1 + tanh(√(2/π)·(x + .044715·x³)))."""
    inner = x * x
    inner *= 0.044715
    inner += 1
    inner *= x
    inner *= (2 / np.pi) ** 0.5
    np.tanh(inner, out=inner)
    inner += 1
    inner *= 0.5
    inner *= x
    return inner


def drift(raw: NDArray[Any], adapted: NDArray[Any]) -> float:
    """How far a head moved rows: the mean of 1 - cos between ``raw`` (n, d) and ``adapted`` (n, d); 0 of no rows.

    Raises:
        ValueError: two shapes.
    """
    if raw.shape != adapted.shape:
        raise ValueError(f"found shapes {raw.shape} and {adapted.shape}; expected one")
    total = 0.0
    for start in range(0, len(raw), _BLOCK):
        x, y = (np.asarray(rows[start : start + _BLOCK], dtype=np.float64) for rows in (raw, adapted))
        lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        total += float((1 - np.einsum("nd,nd->n", x, y) / np.maximum(lengths, _TINY)).sum())
    return total / max(len(raw), 1)


def _lengths(rows: Floats) -> Floats:
    """Euclidean lengths (n, 1) of rows (n, d)."""
    lengths: Floats = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return lengths
