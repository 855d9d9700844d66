"""Two generations side by side: what each puts first for what shoppers ask, and what each finds by captions.

Products are compared by their stored vectors, exactly and without the index: one whose build was dropped can be
compared, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.errors import Conflict, NotFound
from backend.generations.heads import read_item_heads, read_query_heads
from backend.generations.models import EncoderRecord, Generation, IndexBuild
from backend.learning.adapter_data import Encode, Told
from backend.learning.nightly.items import Catalogue, read_items
from backend.ml.clicks.click_log import Asked
from backend.ml.gates.golden import Golden
from backend.ml.gates.rankers import Ranker
from backend.ml.metrics import hits
from backend.ml.scoring import Calibration

DEPTH = 10
MOST_GOLDEN = 2000


@dataclass(frozen=True)
class Finding:
    """What a generation finds by captions that no night learns from.

    Args:
        recall: Recall@10.
        mrr: mean reciprocal rank.
    """

    recall: float
    mrr: float


@dataclass(frozen=True)
class Comparison:
    """Generations a and b; q queries.

    Args:
        queries: what shoppers asked most, most first; captions where nobody has asked anything.
        overlap: (q,) share of the first ten that both have.
        first: ids of the first ten for each query, of a and of b.
        golden: captions that were asked.
        findings: of a and of b.
    """

    queries: tuple[str, ...]
    overlap: NDArray[np.float64]
    first: tuple[list[list[str]], list[list[str]]]
    golden: int
    findings: tuple[Finding, Finding]


def compare_generations(
    sessions: sessionmaker[Session],
    numbers: tuple[int, int],
    encoder: Callable[[EncoderRecord], Encode],
    folder: Path,
    told: Told,
    *,
    queries: int = 200,
) -> Comparison:
    """Compare two generations on the catalogue as it is.

    Args:
        sessions: PostgreSQL.
        numbers: of the generations.
        encoder: opens what encodes the texts of queries.
        folder: for the vectors, some of which may be larger than memory.
        told: progress.
        queries: texts compared, at most.

    Raises:
        NotFound: one of them does not exist.
        Conflict: they are of two encoders, or nothing is embedded.
    """
    with session_scope(sessions) as session:
        record = _encoder_of(session, numbers)
        asked = list(session.scalars(_ASKED, {"most": queries})) or list(session.scalars(_SAID, {"most": queries}))
    catalogue = read_items(sessions, record, folder, told)
    products = np.unique(catalogue.items.images.products)
    if not len(products) or not asked:
        raise Conflict("Nothing is embedded that could be compared.", found=len(products))
    with session_scope(sessions) as session:
        rankers = [_ranker(session, number, record.id, catalogue) for number in numbers]
    vectors = np.asarray(encoder(record)(asked), np.float32)
    rows = np.arange(len(asked))
    of = Asked(tuple(f"text:{one}" for one in asked), ("text",) * len(asked), vectors)
    first = [ranker.first(of, rows, products, DEPTH) for ranker in rankers]
    golden = _golden(catalogue)
    return Comparison(
        tuple(asked),
        np.array([len(np.intersect1d(one, other)) / one.size for one, other in zip(*first, strict=True)]),
        (_named(catalogue, products, first[0]), _named(catalogue, products, first[1])),
        len(golden),
        (_found(golden, rankers[0]), _found(golden, rankers[1])),
    )


def _encoder_of(session: Session, numbers: tuple[int, int]) -> EncoderRecord:
    found = []
    for number in numbers:
        generation = session.get(Generation, number)
        if generation is None:
            raise NotFound(f"there is no generation g{number}", found=f"g{number}")
        found.append(session.get_one(IndexBuild, generation.index_build_id).encoder_id)
    if found[0] != found[1] or found[0] is None:
        raise Conflict("Generations of two encoders cannot be compared.", found=found)
    return session.get_one(EncoderRecord, found[0])


def _ranker(session: Session, number: int, encoder_id: str, catalogue: Catalogue) -> Ranker:
    generation = session.get_one(Generation, number)
    build = session.get_one(IndexBuild, generation.index_build_id)
    items = catalogue.items
    if build.item_heads is not None:
        items = items.through(read_item_heads(build.item_heads, encoder_id))
    heads = read_query_heads(generation.query_heads, encoder_id)
    return Ranker(heads, items.images, items.captions, Calibration.from_json(generation.calibration))


def _golden(catalogue: Catalogue) -> Golden:
    captions = catalogue.captions.part("judged")
    count = len(captions.products)
    rows = np.unique(np.linspace(0, count - 1, min(count, MOST_GOLDEN)).astype(int))
    return Golden(("text",) * len(rows), captions.vectors[rows], captions.products[rows], captions.parts[rows])


def _found(golden: Golden, ranker: Ranker) -> Finding:
    if not len(golden):
        return Finding(float("nan"), float("nan"))
    ranks = golden.ranks(ranker)
    return Finding(float(hits(ranks, DEPTH).mean()), float((1 / ranks).mean()))


def _named(catalogue: Catalogue, products: NDArray[np.int64], first: NDArray[np.int64]) -> list[list[str]]:
    return [[catalogue.ids[int(products[place])] for place in row] for row in first]


def most_apart(comparison: Comparison, most: int) -> Sequence[int]:
    """Places of the queries whose lists have least in common, least first."""
    return [int(place) for place in np.argsort(comparison.overlap, kind="stable")[:most]]


# by the text as the query cache knows it; programs do not count
_ASKED = text("""
    SELECT request ->> 'text' FROM served_lists
    WHERE NOT is_bot AND turn = 1 AND coalesce(request ->> 'text', '') <> ''
      AND served_at > now() - interval '28 days' AND served_on >= CAST(timezone('UTC', now()) AS date) - 28
    GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT :most
""")

_SAID = text("""
    SELECT text FROM captions WHERE error IS NULL GROUP BY text ORDER BY md5(text) LIMIT :most
""")
