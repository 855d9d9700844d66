"""The live catalogue as a benchmark: its products, the one score, and queries whose products are known."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.models import Caption, Product
from backend.db import session_scope
from backend.errors import NotFound
from backend.evaluation.benchmark import NothingToEvaluate, Scores
from backend.evaluation.datasets import DatasetUnreadable, decoded
from backend.evaluation.features import Ints
from backend.generations.calibrate import sample_products
from backend.generations.models import EncoderRecord
from backend.generations.repository import live_build
from backend.generations.serving import NothingServes, Serving, load_serving
from backend.ml.encoder import Encoder
from backend.ml.feedback.inputs import Items, Matrix, Query, Tokens, Vector
from backend.ml.feedback.nnn import score_bias
from backend.ml.scoring import Side, best_cosines, combine
from backend.search.refinement.features import ItemVectors, ProductVectors, Standing, items, standing
from backend.search.refinement.tokens import Subjects, item_tokens, read_tokens

AT_ONCE = 1000
SAME = 1 - 1e-5
"""Cosine from which on a caption says the very words of the query."""

MERCHANTS = ("title", "description")
"""Sources of captions that are names rather than descriptions: they ask only where there is nothing else."""

TokenReader = Callable[[Sequence[Subjects]], dict[tuple[str, str], Matrix]]


@dataclass(frozen=True)
class CatalogueQuery:
    """A query with known products.

    Args:
        text: what is asked.
        vector: (d,) of it.
        targets: places of the right products.
        tokens: of its words, or None.
        more: (m, d) further words for the same products, given as explicit feedback.
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
        self.starts: Matrix = np.stack([query.vector for query in queries])
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
        return np.asarray(more[np.random.default_rng((self._seed, query, turn)).integers(len(more))])

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
        return np.unique(self._captions.products[self._captions.vectors @ self.starts[query] >= SAME])

    def _visible(self, query: int, place: int) -> ProductVectors:
        """The product without captions in the very words of ``query``."""
        product = self._catalogue.products[place]
        if not len(product.captions):
            return product
        kept = np.flatnonzero(product.captions @ self.starts[query] < SAME)
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


def caption_queries(
    catalogue: Catalogue, sessions: sessionmaker[Session], most: int, *, seed: int
) -> list[CatalogueQuery]:
    """Stored captions that ask for their own product: a description of it where it has one, else a merchant's text."""
    order = np.random.default_rng(seed).permutation(len(catalogue.products))
    chosen = sorted([place for place in order.tolist() if catalogue.products[place].sentences][: most or None])
    texts = _texts(sessions, [catalogue.products[place].number for place in chosen])
    found = []
    for place in chosen:
        product = catalogue.products[place]
        said = [one for one in texts.get(product.number, []) if one[1] in product.sentences]
        described = [one for one in said if one[0] not in MERCHANTS] or said
        if described:
            _, subject, text = described[0]
            row = list(product.sentences).index(subject)
            tokens = catalogue.read([Subjects(None, subject)]).get(("text", subject))
            found.append(CatalogueQuery(text, product.captions[row], np.array([place]), tokens))
    return found


def read_queries(path: Path, catalogue: Catalogue, encoder: Encoder) -> list[CatalogueQuery]:
    """Queries of a file of JSON lines: ``query``, the ids of its ``products``, and ``more`` words for them or none.

    A query none of whose products is in the catalogue is left out.

    Raises:
        NotFound: there is no such file.
        DatasetUnreadable: a line says something else.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        asked = [(str(row["query"]), _targets(row["products"], catalogue), list(row.get("more", []))) for row in rows]
    except OSError as error:
        raise NotFound("The file cannot be read.", found=str(path), expected=error.strerror) from error
    except (ValueError, TypeError, KeyError) as error:
        expected = '{"query": "...", "products": ["id", ...]}'
        raise DatasetUnreadable(f"{path} cannot be read.", found=str(error)[:300], expected=expected) from error
    asked = [one for one in asked if len(one[1])]
    features = encoder.encode_texts_with_tokens([text for text, _, _ in asked])
    return [
        CatalogueQuery(text, vector, targets, tokens, encoder.encode_texts(more) if more else None)
        for (text, targets, more), vector, tokens in zip(asked, features.vectors, features.tokens, strict=True)
    ]


def _targets(products: Iterable[str], catalogue: Catalogue) -> Ints:
    return np.array([catalogue.places[name] for name in products if name in catalogue.places], dtype=np.int64)


def _texts(sessions: sessionmaker[Session], numbers: Sequence[int]) -> dict[int, list[tuple[str, str, str]]]:
    """Source, hash and text of each product's captions, in the order they came."""
    found: dict[int, list[tuple[str, str, str]]] = {}
    with session_scope(sessions) as session:
        for start in range(0, len(numbers), AT_ONCE):
            some = Caption.product.in_(numbers[start : start + AT_ONCE])
            for row in session.scalars(select(Caption).where(some).order_by(Caption.id)):
                found.setdefault(row.product, []).append((row.source, row.text_hash, row.text))
    return found


def _side(parts: Sequence[Matrix]) -> Side:
    """All rows of a side with the place of the product that each belongs to."""
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return Side(np.concatenate(list(parts)), owners)
