"""From query vectors to candidates: both collections, oversampled, fused into one score a product."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from backend.generations.serving import Serving
from backend.metrics import search_stage
from backend.ml.scoring import Calibration, Fused, Ints, Kind, SideHits, fuse_candidates
from backend.ml.word_evidence import add_evidence
from backend.search.exact_sides import ExactSides
from backend.search.lexical import Evidence
from backend.search.query_vectors import QueryVectors, Vector
from backend.vector_index import VectorIndex
from backend.vectors import VectorFilter

DEPTH = 200
"""Rows each collection is asked for at first. Milvus Lite spends 0.05 ms on each; what was cut off is looked up where
it decides a page."""

DEEPEST = 4096
"""Rows asked for at most, when PostgreSQL's check removed many."""

MARGIN = 8
"""Candidates behind a page that are looked up with it, because they may move onto it."""

LOOK_UPS = 3
"""Times that candidates with a bounded side are looked up before a page is taken as settled."""


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
        exact: looks up what a search cut off.
        pool: threads for what runs beside the caller's own.
    """

    def __init__(self, index: VectorIndex, exact: ExactSides, pool: ThreadPoolExecutor) -> None:
        self._index = index
        self._exact = exact
        self._pool = pool

    def candidates(self, aim: Aim, depth: int, settled: int, find_words: Callable[[], Evidence] | None) -> Candidates:
        """Candidates of ``aim``.

        Args:
            aim: what is looked for.
            depth: rows asked of each collection.
            settled: how many of the first candidates must carry their exact score.
            find_words: gives the lexical evidence; run beside the collections.
        """
        with search_stage("index"):
            caption_side = self._pool.submit(self._caption_side, aim, depth)
            words = self._pool.submit(find_words) if find_words is not None else None
            image_hits = self._image_side(aim, depth)
            caption_hits = caption_side.result()
        with search_stage("words"):
            evidence = words.result() if words is not None else Evidence.none()
        with search_stage("score"):
            return self._settled(aim, image_hits, caption_hits, evidence, settled)

    def _settled(
        self, aim: Aim, image_hits: SideHits, caption_hits: SideHits, evidence: Evidence, settled: int
    ) -> Candidates:
        """Candidates whose first ``settled`` carry exact scores: what rests on a bound there is looked up."""
        fused = _score(aim, image_hits, caption_hits, evidence)
        for _ in range(LOOK_UPS):
            image_bound, caption_bound = _bounded(fused, settled)
            if not len(image_bound) and not len(caption_bound):
                break
            images, captions = self._exact.of(aim.serving, aim.vectors, image_bound, caption_bound)
            image_hits = image_hits.with_looked_up(image_bound, images)
            caption_hits = caption_hits.with_looked_up(caption_bound, captions)
            fused = _score(aim, image_hits, caption_hits, evidence)
        return Candidates(fused, exhausted=image_hits.complete and caption_hits.complete)

    def _image_side(self, aim: Aim, depth: int) -> SideHits:
        return self._side(aim, aim.serving.image_collection, aim.vectors.image, depth)

    def _caption_side(self, aim: Aim, depth: int) -> SideHits:
        return self._side(aim, aim.serving.caption_collection, aim.vectors.caption, depth)

    def _side(self, aim: Aim, collection: str, vector: Vector, depth: int) -> SideHits:
        found = self._index.find(collection, vector, depth, aim.filter, aim.selectivity)[0]
        return SideHits(found.products, found.scores, complete=len(found.products) < depth)


def _score(aim: Aim, image_hits: SideHits, caption_hits: SideHits, evidence: Evidence) -> Fused:
    fused = fuse_candidates(image_hits, caption_hits, aim.calibration, aim.kind, others=evidence.products)
    return add_evidence(fused, evidence.products, evidence.added)


def _bounded(fused: Fused, settled: int) -> tuple[Ints, Ints]:
    """Candidates to look up, because the first ``settled`` rest on bounds: on which side, and some behind them too."""
    first = slice(settled + MARGIN)
    if not (fused.image_bound[:settled] | fused.caption_bound[:settled]).any():
        return fused.products[:0], fused.products[:0]
    products = fused.products[first]
    return products[fused.image_bound[first]], products[fused.caption_bound[first]]
