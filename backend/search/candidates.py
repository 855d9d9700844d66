"""From query vectors to candidates: both collections, oversampled, fused into one score a product."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from backend.generations.serving import Serving
from backend.ml.scoring import Calibration, Fused, Ints, Kind, SideHits, add_evidence, fuse_candidates
from backend.search.lexical import Evidence
from backend.search.query_vectors import QueryVectors, Vector
from backend.vector_index import MAX_LIMIT, VectorIndex
from backend.vectors import VectorFilter

DEPTH = 128
"""Rows each collection is asked for at first. Milvus Lite spends 0.05 ms on each; what was cut off is looked up where
it decides a page."""

DEEPEST = 4096
"""Rows asked for at most, when PostgreSQL's check removed many."""

LOOK_UPS = 3
"""Times that candidates with a bounded side are looked up before a page is taken as settled."""

ROWS_A_PRODUCT = 50
"""Most rows of one product in one collection: the most images, or captions, that a product is kept with."""


@dataclass(frozen=True)
class Aim:
    """What a retrieval looks for, and how it scores what it finds."""

    serving: Serving
    kind: Kind
    vectors: QueryVectors
    filter: VectorFilter
    selectivity: float
    calibration: Calibration


@dataclass(frozen=True)
class Candidates:
    """Candidates best first, and whether there are no others: every row that passes the filter was seen."""

    fused: Fused
    exhausted: bool


class Retrieval:
    """Asks both collections at the same time.

    Args:
        index: the vector index.
        pool: threads for what runs beside the caller's own.
    """

    def __init__(self, index: VectorIndex, pool: ThreadPoolExecutor) -> None:
        self._index = index
        self._pool = pool

    def candidates(self, aim: Aim, depth: int, settled: int, find_words: Callable[[], Evidence] | None) -> Candidates:
        """Candidates of ``aim``.

        Args:
            aim: what is looked for.
            depth: rows asked of each collection.
            settled: how many of the first candidates must carry their exact score.
            find_words: gives the lexical evidence; run beside the collections.
        """
        captions = self._pool.submit(self._caption_side, aim, depth, aim.filter)
        words = self._pool.submit(find_words) if find_words is not None else None
        image_hits = self._image_side(aim, depth, aim.filter)
        caption_hits = captions.result()
        evidence = words.result() if words is not None else Evidence.none()
        fused = _score(aim, image_hits, caption_hits, evidence)
        for _ in range(LOOK_UPS):
            image_bound, caption_bound = _bounded(fused, settled)
            if not len(image_bound) and not len(caption_bound):
                break
            later = self._pool.submit(self._look_up, aim, caption_hits, caption_bound, self._caption_side)
            image_hits = self._look_up(aim, image_hits, image_bound, self._image_side)
            caption_hits = later.result()
            fused = _score(aim, image_hits, caption_hits, evidence)
        return Candidates(fused, exhausted=image_hits.complete and caption_hits.complete)

    def _image_side(self, aim: Aim, limit: int, within: VectorFilter) -> SideHits:
        return self._side(aim.serving.image_collection, aim.vectors.image, limit, within, aim.selectivity)

    def _caption_side(self, aim: Aim, limit: int, within: VectorFilter) -> SideHits:
        return self._side(aim.serving.caption_collection, aim.vectors.caption, limit, within, aim.selectivity)

    def _side(self, collection: str, vector: Vector, limit: int, within: VectorFilter, selectivity: float) -> SideHits:
        hits = self._index.search(collection, vector, limit, within, selectivity)[0]
        return SideHits(
            np.fromiter((hit.product for hit in hits), np.int64, len(hits)),
            np.fromiter((hit.score for hit in hits), np.float64, len(hits)),
            complete=len(hits) < limit,
        )

    def _look_up(
        self, aim: Aim, known: SideHits, products: Ints, side: Callable[[Aim, int, VectorFilter], SideHits]
    ) -> SideHits:
        """``known`` and every row of ``products`` on that side."""
        if not len(products):
            return known
        limit = min(MAX_LIMIT, ROWS_A_PRODUCT * len(products))
        # the rest of the filter stays: what fails it here failed it in the first search as well
        return known.with_looked_up(products, side(aim, limit, replace(aim.filter, products=tuple(products.tolist()))))


def _score(aim: Aim, image_hits: SideHits, caption_hits: SideHits, evidence: Evidence) -> Fused:
    fused = fuse_candidates(image_hits, caption_hits, aim.calibration, aim.kind, others=evidence.products)
    return add_evidence(fused, evidence.products, evidence.added)


def _bounded(fused: Fused, settled: int) -> tuple[Ints, Ints]:
    """Those of the first ``settled`` candidates whose image, and whose caption, is only bounded."""
    first = fused.products[:settled]
    return first[fused.image_bound[:settled]], first[fused.caption_bound[:settled]]
