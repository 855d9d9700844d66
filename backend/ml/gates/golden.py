"""Queries with a known answer that no night learns from: what must not be forgotten."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Self

import numpy as np
from numpy.typing import NDArray

from backend.ml.adapter_gate import Retention, retention_of
from backend.ml.clicks.click_log import Part
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
