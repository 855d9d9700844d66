"""What relevance feedback starts from and what comes of it: arrays, whoever keeps them."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
"""(d,), unit length unless said otherwise."""

Matrix = NDArray[np.float32]
"""(n, d), unit rows unless said otherwise; a row of NaN stands for nothing."""

Decision = Literal["moved", "blended", "held"]
"""Whether the query went where the feedback led, was blended back to keep the drift budget, or stayed."""


@dataclass(frozen=True)
class Query:
    """Where a search stands: the unit vector (d,) that each collection is asked with; NaN where nothing was said."""

    image: Vector
    caption: Vector


@dataclass(frozen=True)
class Items:
    """k products, best first.

    Args:
        images: (k, d) the picture of each that answers the query best, through the item head; NaN where it has none.
        captions: (k, d) likewise its caption.
        grades: (k,) in [-1, 1], what the shopper says of each; NaN where nothing was said.
    """

    images: Matrix
    captions: Matrix
    grades: NDArray[np.float64]


@dataclass(frozen=True)
class Regions:
    """n boxes drawn on pictures: the vector (n, d) of each crop, and what the shopper says of it (n,), in [-1, 1]."""

    vectors: Matrix
    grades: NDArray[np.float64]


@dataclass(frozen=True)
class ItemTokens:
    """Tokens of one shown product.

    Args:
        image: (Np, Dv) patch tokens of its picture, or None.
        caption: (Lc, Dt) word tokens of its caption, padding not included, or None.
        steer: (Np,) in [-1, 1], what boxes on the picture say of each patch; None where there are none.
    """

    image: Matrix | None
    caption: Matrix | None
    steer: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Tokens:
    """Word tokens (Lq, Dt) of the session's first words, padding not included, and tokens of the products shown."""

    query: Matrix
    items: tuple[ItemTokens, ...]


@dataclass(frozen=True)
class Summary:
    """What a summarizer makes of tokens.

    Args:
        vector: (Dg,) the summary s, not normalised.
        image_attention: for each item the attention (Np,) its patches got, empty where it has no picture.
        caption_attention: for each item the attention (Lc,) its words got, empty where it has no caption.

    Attention is the mean over heads and query rows, so all of it sums to 1.
    """

    vector: Vector
    image_attention: tuple[NDArray[np.float64], ...]
    caption_attention: tuple[NDArray[np.float64], ...]


class Summarizer(Protocol):
    """An attentive summarizer of one encoder."""

    def summarize(self, tokens: Tokens, *, captions: bool = True, steer_strength: float = 5.0) -> Summary:
        """The summary of ``tokens``.

        Args:
            tokens: of the query and of the items.
            captions: False summarises the pictures alone.
            steer_strength: λ, what a patch with a steer of 1 adds to the logits of the attention.

        Raises:
            ValueError: no item has tokens.
        """


@dataclass(frozen=True)
class Feedback:
    """One turn: the list it is about and what the shopper says.

    Args:
        shown: the first K products of the preceding list.
        judged: products with grades, liked or disliked, from this turn and those before; or None.
        words: (d,) words of this turn, through the query head; or None.
        regions: boxes of this turn; or None.
        tokens: for a summarizer; or None.
    """

    shown: Items
    judged: Items | None = None
    words: Vector | None = None
    regions: Regions | None = None
    tokens: Tokens | None = None


@dataclass(frozen=True)
class Outcome:
    """Where a turn leads.

    Args:
        query: what the collections are asked with next.
        base: the same without judged products, which the next turn gives again, and without what a list said that
            nobody asked: what the next turn starts from.
        strategy: what was applied, such as ``afs`` or ``text+likes``.
        decision: whether the query moved.
        similarity_to_start: cosine of the image side to the session's first query; NaN where that was browsing.
        similarity_to_last: cosine of the image side to the turn before; NaN likewise.
        relevance: (k,) what each shown item weighed in the positive vector, for explanations; sums to 1 or is empty.
        irrelevance: (k,) likewise in the negative vector.
        summary: of a summarizer, where one was asked.
    """

    query: Query
    base: Query
    strategy: str
    decision: Decision
    similarity_to_start: float
    similarity_to_last: float
    relevance: NDArray[np.float64]
    irrelevance: NDArray[np.float64]
    summary: Summary | None = None
