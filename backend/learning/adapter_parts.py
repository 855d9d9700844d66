"""What an adapter is trained on, chosen by, judged by and must not forget: parts that share no product."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from backend.learning.adapter_data import Gallery, VectorFile
from backend.learning.summarizer_data import TooLittleToLearn
from backend.ml.exact_ranks import pair_ranks
from backend.ml.metrics import hits
from backend.ml.pairs import Pairs, Rows

SHARES = (0.8, 0.1, 0.1)
"""Of the products: learned from, deciding which weights and which scale are kept, judging what came of it."""

LEAST_QUERIES = 20
"""Fewer texts in any part decide nothing."""

MOST_QUERIES = 2000
"""Texts of the deciding part, each ranked over the whole catalogue after every pass."""

MOST_JUDGED = 10_000
"""Texts of the judging part."""

LEAST_FOUND = 0.05
"""Recall@10 of the untouched encoder below which texts say nothing about what is forgotten."""

Remembered = Literal["captions", "titles", "own"]
"""Whose finding must last: captions of the catalogue beside a file of pairs; titles, which nothing was trained on; or
texts like those that were trained on."""


@dataclass(frozen=True)
class Parts:
    """Pairs over one gallery, no product in two of the first three.

    Args:
        training: learned from.
        validation: decides which weights are kept, and at which scale.
        judged: decides whether they may go live.
        kept: texts of the products of ``validation`` that must still find them: what the scale is chosen by.
        remembered: the same of the products of ``judged``: what the gate judges retention by.
        replay: texts of the catalogue that shall stay where they are; None where the catalogue itself is learned from.
        retention_of: whose finding must last.
    """

    training: Pairs
    validation: Pairs
    judged: Pairs
    kept: Pairs
    remembered: Pairs
    replay: Pairs | None
    retention_of: Remembered


def parts_of_file(gallery: Gallery, texts: VectorFile, seed: int) -> Parts:
    """Parts where a file of pairs is learned from: the catalogue's own captions are what must not be forgotten.

    Raises:
        TooLittleToLearn: a part has too few texts to decide anything.
    """
    part = _part_of_product(gallery, seed)
    said, plain = _three(texts.product_of, part), _three(gallery.texts.product_of, part)
    _require_enough(*said, *plain[1:])
    pairs, captions = gallery.pairs(texts), gallery.pairs(gallery.texts)
    replay = captions.only(plain[0]) if len(plain[0]) else None
    return _chosen((pairs, said), (captions, plain), replay, "captions", seed)


def parts_of_catalogue(gallery: Gallery, seed: int) -> Parts:
    """Parts where the catalogue's captions are learned from.

    Titles are then held back and must not be forgotten, if there are enough of them beside other captions, and if the
    untouched encoder finds anything by them.

    Raises:
        TooLittleToLearn: a part has too few texts to decide anything.
    """
    own = _three(gallery.texts.product_of, _part_of_product(gallery, seed))
    _require_enough(*own)
    pairs = gallery.pairs(gallery.texts)
    is_title = np.array([source == "title" for source in gallery.sources])[gallery.texts.mark_of]
    titles, others = (tuple(rows[is_title[rows] == wanted] for rows in own) for wanted in (True, False))
    if min(map(len, (*titles[1:], *others))) >= LEAST_QUERIES:
        found = hits(pair_ranks(pairs.only(_some(titles[1], MOST_QUERIES, seed))), 10).mean()
        if found >= LEAST_FOUND:
            return _chosen((pairs, others), (pairs, titles), None, "titles", seed)
    return _chosen((pairs, own), (pairs, own), None, "own", seed)


def _chosen(
    said: tuple[Pairs, Sequence[Rows]],
    plain: tuple[Pairs, Sequence[Rows]],
    replay: Pairs | None,
    retention_of: Remembered,
    seed: int,
) -> Parts:
    """Parts with as many texts as are ranked in bounded time: each of two is pairs and the rows of three parts."""
    pairs, rows = said
    captions, kept = plain
    return Parts(
        pairs.only(rows[0]),
        pairs.only(_some(rows[1], MOST_QUERIES, seed)),
        pairs.only(_some(rows[2], MOST_JUDGED, seed)),
        captions.only(_some(kept[1], MOST_QUERIES, seed)),
        captions.only(_some(kept[2], MOST_JUDGED, seed)),
        replay,
        retention_of,
    )


def _require_enough(*parts: Rows) -> None:
    if (least := min(map(len, parts))) < LEAST_QUERIES:
        raise TooLittleToLearn(
            "Too few texts are left to decide by beside those that are learned from.",
            found=f"{least} texts of a tenth of the products",
            expected=f"at least {LEAST_QUERIES}",
        )


def _part_of_product(gallery: Gallery, seed: int) -> tuple[Rows, ...]:
    """Products of each part; the same catalogue and seed give the same parts."""
    products = np.random.default_rng(seed).permutation(np.unique(gallery.pictures.product_of))
    return tuple(np.split(products, np.round(np.cumsum(SHARES) * len(products)).astype(int)[:-1]))


def _three(product_of: Rows, parts: Sequence[Rows]) -> tuple[Rows, ...]:
    """Rows of each part, by the product of each row."""
    return tuple(np.flatnonzero(np.isin(product_of, products)) for products in parts)


def _some(rows: Rows, most: int, seed: int) -> Rows:
    return rows if len(rows) <= most else np.sort(np.random.default_rng(seed).permutation(rows)[:most])
