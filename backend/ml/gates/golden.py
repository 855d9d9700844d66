"""Queries with a known answer that no night learns from: what must not be forgotten."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Self

import numpy as np
from numpy.typing import NDArray

from backend.ml.adapter_gate import Retention, retention_of
from backend.ml.clicks.click_log import ClickLog, Part
from backend.ml.exact_ranks import ranks_of
from backend.ml.gates.rankers import Ranker

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Golden:
    """g queries with the product each means; parts are by hash, for ever (``part_of``).

    Args:
        kinds: kind of each query: text, or image.
        vectors: (g, d) unit rows of the frozen encoder.
        right: (g,) number of the product.
        parts: (g,) judged or validation.
    """

    kinds: tuple[str, ...]
    vectors: NDArray[np.float32]
    right: Ints
    parts: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.right)

    @property
    def version(self) -> str:
        """Hash of what is asked and meant: another set, or another encoder, is another version."""
        whole = sha256("\x1f".join([*self.kinds, *self.parts]).encode())
        whole.update(np.ascontiguousarray(self.right).tobytes())
        whole.update(np.ascontiguousarray(self.vectors, dtype=np.float32).tobytes())
        return whole.hexdigest()[:16]

    def of(self, part: Part) -> Self:
        """Those of one part."""
        return self._only(np.flatnonzero(self.parts == part))

    def and_also(self, other: Self) -> Self:
        """Both."""
        return type(self)(
            self.kinds + other.kinds,
            np.concatenate([self.vectors, other.vectors]),
            np.concatenate([self.right, other.right]),
            np.concatenate([self.parts, other.parts]),
        )

    def of_kind(self, kind: str) -> Self:
        """Those of one kind."""
        return self._only(np.flatnonzero(np.array(self.kinds, dtype=object) == kind))

    def _only(self, rows: Ints) -> Self:
        return type(self)(
            tuple(self.kinds[row] for row in rows),
            self.vectors[rows],
            self.right[rows],
            self.parts[rows],
        )

    def ranks(self, ranker: Ranker) -> Ints:
        """(g,) rank of the right product by its best picture.

        Captions ask pictures alone: a product's own caption would find itself among the captions whatever a head does.
        """
        ranks = np.ones(len(self), np.int64)
        for kind in set(self.kinds):
            rows = np.flatnonzero(np.array(self.kinds, dtype=object) == kind)
            adapted = ranker.queries(self.vectors[rows], kind)
            ranks[rows] = ranks_of(adapted, self.right[rows], ranker.images.vectors, ranker.images.products)
        return ranks

    def retention(self, before: Ranker, after: Ranker) -> Retention:
        """What they find after, as a share of what they found before."""
        return retention_of(self.ranks(before), self.ranks(after))


def labelled(log: ClickLog, pictured: Ints) -> Golden:
    """Queries by words or picture that nothing is learned from, with what shoppers liked or marked for them.

    Args:
        log: with its judgements.
        pictured: numbers of products with a picture.
    """
    said, asked = log.judgements, log.asked
    parts = asked.parts()[said.query]
    kinds = np.array(asked.kinds, dtype=object)[said.query]
    right = log.products[said.product].astype(np.int64)
    kept = (said.label >= _MEANT) & np.isin(said.source, _BY_SHOPPERS) & (parts != "training")
    kept &= np.isin(kinds, ("text", "image")) & np.isin(right, pictured)
    pairs = np.unique(np.stack([said.query[kept].astype(np.int64), right[kept]]), axis=1)
    rows = pairs[0]
    return Golden(
        tuple(asked.kinds[row] for row in rows), np.asarray(asked.vectors[rows]), pairs[1], asked.parts()[rows]
    )


_MEANT = 1.0
"""A label from which on a product was meant."""

_BY_SHOPPERS = (0, 1)
"""Sources of judgements that are likes and boxes."""
