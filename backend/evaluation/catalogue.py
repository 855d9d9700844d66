"""The live catalogue as a benchmark: its products, the one score, and queries whose products are known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.models import Product
from backend.db import session_scope
from backend.evaluation.benchmark import NothingToEvaluate, Scores
from backend.evaluation.datasets import decoded
from backend.evaluation.features import Ints
from backend.generations.calibrate import sample_products
from backend.generations.models import EncoderRecord
from backend.generations.repository import live_build
from backend.generations.serving import NothingServes, Serving, load_serving
from backend.ml.feedback.inputs import Items, Matrix, Query, Tokens, Vector
from backend.ml.feedback.nnn import score_bias
from backend.ml.scoring import Side, best_cosines, combine
from backend.search.refinement.features import ItemVectors, ProductVectors, Standing, items, standing
from backend.search.refinement.tokens import Subjects, item_tokens, read_tokens

AT_ONCE = 1000
SAME = 1 - 1e-5
"""Cosine from which on a caption says the very words of the query."""

TokenReader = Callable[[Sequence[Subjects]], dict[tuple[str, str], Matrix]]


@dataclass(frozen=True)
class CatalogueQuery:
    """A query with known products.

    Args:
        text: what is asked.
        vector: (d,) of it, as the encoder gave it.
        targets: places of the right products.
        tokens: of its words, or None.
        more: (m, d) further words for the same products, given as explicit feedback, likewise.
    """

    text: str
    vector: Vector
    targets: Ints
    tokens: Matrix | None = None
    more: Matrix | None = None


@dataclass(frozen=True)
class Catalogue:
    """Products that searches find.

    Args:
        serving: the live generation.
        products: their vectors, in the order of their numbers.
        ids: the merchant's ids.
        titles: what they are called.
        read: stored tokens of pictures and captions.
        blobs: pictures.
        encoder_source: what opens the encoder, where that was recorded.
        places: of the ids.
    """

    serving: Serving
    products: Sequence[ProductVectors]
    ids: Sequence[str]
    titles: Sequence[str]
    read: TokenReader
    blobs: BlobStore
    encoder_source: str | None = None
    places: dict[str, int] = field(default_factory=dict)


class CatalogueBenchmark:
    """Queries over the live catalogue by the one score; captions that say the very words of a query are hidden from it.

    Args:
        catalogue: searched.
        queries: with their products.
        seed: of the further words drawn.

    Raises:
        NothingToEvaluate: fewer than two products, or no query.
    """

    def __init__(self, catalogue: Catalogue, queries: Sequence[CatalogueQuery], *, seed: int = 7) -> None:
        if len(catalogue.products) < 2 or not queries:
            found = f"{len(catalogue.products)} products, {len(queries)} queries"
            raise NothingToEvaluate("There is nothing to rank.", found=found, expected="two products and a query")
        self.name = "live catalogue"
        self._catalogue, self._queries, self._seed = catalogue, queries, seed
        self.size = len(catalogue.products)
        asked: Matrix = np.stack([query.vector for query in queries])
        self.starts: Matrix = catalogue.serving.query_heads.adapt("text", asked)
        self._written = catalogue.serving.item_heads.adapt("caption", asked)
        self.targets: Sequence[Ints] = [query.targets for query in queries]
        self._places = np.arange(self.size)
        self._images = _side([product.images for product in catalogue.products])
        self._captions = _side([product.captions for product in catalogue.products])

    def scores(self, queries: Ints, images: Matrix, captions: Matrix) -> Scores:
        """The one score, as it serves, of every product."""
        image = best_cosines(images, self._images, self._places)
        caption = best_cosines(captions, self._captions, self._places)
        for row, query in enumerate(queries):
            for place in self._hidden_in(int(query)):
                visible = self._visible(int(query), place).captions
                caption[row, place] = float(np.max(visible @ captions[row])) if len(visible) else np.nan
        return combine(image, caption, self._catalogue.serving.calibration, "text").astype(np.float32)

    def bias(self, references: Matrix, k: int) -> NDArray[np.float64]:
        """By each product's first picture and caption."""
        dim = references.shape[1]
        images, captions = (
            np.stack([side[0] if len(side) else np.full(dim, np.nan, np.float32) for side in sides])
            for sides in zip(*((one.images, one.captions) for one in self._catalogue.products), strict=True)
        )
        return score_bias(images, captions, references, k, self._catalogue.serving.calibration, "text")

    def items(self, query: int, shown: Ints, now: Query) -> Items:
        """The picture and the caption of each that answer ``now`` best."""
        return items(self._standings(query, shown, now), [np.nan] * len(shown), len(now.image))

    def tokens(self, query: int, shown: Ints, now: Query) -> Tokens | None:
        """Of the same pictures and captions, as the token store keeps them."""
        words = self._queries[query].tokens
        subjects = [one.subjects for one in self._standings(query, shown, now)]
        kept = self._catalogue.read(subjects) if words is not None else {}
        if words is None or not kept:
            return None
        return Tokens(words, tuple(item_tokens(one, kept, {}) for one in subjects))

    def words(self, query: int, turn: int) -> Vector | None:
        """Some of the query's further words."""
        more = self._queries[query].more
        if more is None or not len(more):
            return None
        said = more[np.random.default_rng((self._seed, query, turn)).integers(len(more))]
        adapted: Vector = self._catalogue.serving.query_heads.adapt("text", said[None])[0]
        return adapted

    def said(self, query: int) -> str:
        """The query's words."""
        return self._queries[query].text

    def picture(self, item: int) -> Image.Image | None:
        """The product's first picture."""
        pictures = self._catalogue.products[item].pictures
        if not pictures:
            return None
        path = self._catalogue.blobs.path(pictures[0])
        return decoded(path.read_bytes(), pictures[0]) if path.is_file() else None

    def title(self, item: int) -> str:
        """The product's title."""
        return self._catalogue.titles[item]

    def _standings(self, query: int, shown: Ints, now: Query) -> list[Standing]:
        return [standing(self._visible(query, int(place)), now) for place in shown]

    def _hidden_in(self, query: int) -> Ints:
        """Places of products that have a caption in the very words of ``query``."""
        return np.unique(self._captions.products[self._captions.vectors @ self._written[query] >= SAME])

    def _visible(self, query: int, place: int) -> ProductVectors:
        """The product without captions in the very words of ``query``."""
        product = self._catalogue.products[place]
        if not len(product.captions):
            return product
        kept = np.flatnonzero(product.captions @ self._written[query] < SAME)
        if len(kept) == len(product.captions):
            return product
        sentences = [product.sentences[row] for row in kept.tolist()]
        return replace(product, captions=product.captions[kept], sentences=sentences)


def read_catalogue(sessions: sessionmaker[Session], blobs: BlobStore, most: int) -> Catalogue:
    """Up to ``most`` products of the live build, always the same ones.

    Raises:
        NothingServes: no generation is live.
    """
    with session_scope(sessions) as session:
        serving, build = load_serving(session), live_build(session)
        if serving is None or build is None:
            raise NothingServes("No generation is live: the stack has not been started on this catalogue.")
        source = session.scalar(select(EncoderRecord.source).where(EncoderRecord.id == serving.encoder_id))
        numbers = np.sort(np.array(sample_products(session, build, most), dtype=np.int64))
        named = select(Product.number, Product.id, Product.title).where(Product.deleted_at.is_(None))
        known = {
            row.number: (row.id, row.title or row.id)
            for start in range(0, len(numbers), AT_ONCE)
            for row in session.execute(named.where(Product.number.in_(numbers[start : start + AT_ONCE].tolist())))
        }
    vectors: dict[int, ProductVectors] = {}
    engine: Engine = sessions.kw["bind"]
    for start in range(0, len(numbers), AT_ONCE):
        vectors |= ItemVectors(engine).by_number(serving, numbers[start : start + AT_ONCE])
    kept = [number for number in numbers.tolist() if number in known and number in vectors]

    def read(shown: Sequence[Subjects]) -> dict[tuple[str, str], Matrix]:
        with session_scope(sessions) as session:
            return read_tokens(session, serving.encoder_id, shown)

    ids = [known[number][0] for number in kept]
    return Catalogue(
        serving,
        [vectors[number] for number in kept],
        ids,
        [known[number][1] for number in kept],
        read,
        blobs,
        source,
        {name: place for place, name in enumerate(ids)},
    )


def _side(parts: Sequence[Matrix]) -> Side:
    """All rows of a side with the place of the product that each belongs to."""
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return Side(np.concatenate(list(parts)), owners)
