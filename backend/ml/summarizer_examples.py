"""What an attentive summarizer learns from: queries, what was shown for each, and what each asked for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.ml.token_table import TokenTable

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """What a summarizer learns from: n queries for some of m items, and the items that were shown for each.

    Args:
        words: tokens of captions and queries, or of queries alone.
        asked: (n,) row of ``words`` that each query is.
        targets: (n,) the item that each query asks for.
        shown: (n, K) items shown for each query, best first; negative where fewer were found.
        images: patch tokens of the items, or None.
        captions_shown: (n, K) rows of ``words`` that the items shown speak through, negative where one has none; or
            None where none has. The query itself must not be among them.
        vectors: (m, d) unit vectors of the items' pictures.
        other_captions: (n, d) what the caption loss is to reach for each query: the mean of the unit vectors of the
            target's other captions, or None.
    """

    words: TokenTable
    asked: Rows
    targets: Rows
    shown: Rows
    captions_shown: Rows | None
    images: TokenTable | None
    vectors: NDArray[np.float32]
    other_captions: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.images is None and self.captions_shown is None:
            raise ValueError("found neither patch tokens nor caption tokens; expected one of them at least")
        if not len(self.asked) == len(self.targets) == len(self.shown):
            counts = (len(self.asked), len(self.targets), len(self.shown))
            raise ValueError(f"found {counts} queries, targets and lists of shown items; expected as many of each")


def first_found(
    queries: NDArray[np.float32], pictures: NDArray[np.float32], count: int, *, at_once: int = 1000
) -> Rows:
    """The ``count`` of the pictures (m, d) nearest to each query (n, d), best first; -1 behind the last: (n, count)."""
    found = np.full((len(queries), count), -1, np.int64)
    most = min(count, len(pictures))
    for start in range(0, len(queries), at_once):
        scores = queries[start : start + at_once] @ pictures.T
        some = np.argpartition(-scores, most - 1, axis=1)[:, :most]
        order = np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1, kind="stable")
        found[start : start + at_once, :most] = np.take_along_axis(some, order, axis=1)
    return found


def draw_queries(targets: Rows, rng: np.random.Generator) -> Rows:
    """One query for each target (n,), in random order."""
    order = rng.permutation(len(targets))
    _, first = np.unique(targets[order], return_index=True)
    return rng.permutation(order[first])
