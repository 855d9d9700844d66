"""What a query is turned into: one unit vector for the image collection and one for the caption collection."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import content_hash
from backend.catalog.pictures import decode
from backend.db import session_scope
from backend.errors import Conflict, NotFound, TooLarge, Unprocessable
from backend.generations.serving import Serving
from backend.http import SafeFetcher
from backend.ml.scoring import Kind
from backend.search.kept_vectors import KeptVectors
from backend.search.query_encoders import QueryEncoders
from backend.search.schemas import QueryImage
from backend.search.vector_cache import VectorCache

Vector = NDArray[np.float32]


class ProductUnknown(NotFound):
    """No product of this id is in the catalogue."""

    title = "No such product"


class NotEmbeddedYet(Conflict):
    """The product is kept, but no picture or caption of it has been embedded yet."""

    title = "Product not embedded yet"


class PictureForgotten(Conflict):
    """A list found by a picture cannot be continued: pictures are not kept, and its vector has expired."""

    title = "Picture no longer known"


@dataclass(frozen=True)
class PictureLimits:
    """Most bytes and pixels of a picture that is searched by."""

    max_bytes: int
    max_pixels: int


@dataclass(frozen=True)
class Question:
    """What is searched for, in the form that is kept with a served list: inputs, not vectors, and no picture.

    Args:
        text: words.
        image_hash: content hash of a picture.
        product_id: a product.
    """

    text: str | None = None
    image_hash: str | None = None
    product_id: str | None = None

    @property
    def kind(self) -> Kind:
        """Which scales of the calibration apply."""
        given = [
            kind
            for kind, value in (("text", self.text), ("image", self.image_hash), ("product", self.product_id))
            if value
        ]
        return given[0] if len(given) == 1 else "both"  # type: ignore[return-value]


@dataclass(frozen=True)
class QueryVectors:
    """What the collections are asked for.

    Args:
        image: (1, d) unit row for images.
        caption: (1, d) unit row for captions.
        without_products: numbers of products that are left out of what is found.
        shift: how much nearer a random image, and a random caption, is to these rows than to those of the question.
    """

    image: Vector
    caption: Vector
    without_products: tuple[int, ...] = ()
    shift: tuple[float, float] = (0.0, 0.0)


class QueryEncoder:
    """Turns questions into vectors; remembers what it encoded.

    Args:
        encoders: those of all generations that may serve here.
        cache: raw vectors of texts and pictures.
        sessions: where features of products are read. No session is held while something is encoded or fetched.
        fetcher: downloads pictures given by address.
        limits: of pictures.
    """

    def __init__(
        self,
        encoders: QueryEncoders,
        cache: VectorCache,
        sessions: sessionmaker[Session],
        fetcher: SafeFetcher,
        limits: PictureLimits,
    ) -> None:
        self._encoders = encoders
        self._cache = cache
        self._kept = KeptVectors(cache, sessions)
        self._sessions = sessions
        self._fetcher = fetcher
        self._limits = limits

    def picture(self, image: QueryImage) -> bytes:
        """Bytes of a picture given by address or in base64."""
        if image.url is not None:
            return self._fetcher.get(image.url).data
        try:
            # an embedded picture often comes as a data URL
            encoded = (image.base64 or "").rpartition(",")[2]
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Unprocessable("the picture is not base64", found=str(error), expected="base64") from error

    def learn_picture(self, serving: Serving, data: bytes, *, keep: bool) -> str:
        """Encode a picture and return its content hash, by which ``vectors`` knows it.

        With ``keep`` its vector is kept among the features, so that a page can be continued when the cache was
        emptied. The picture itself is never kept.
        """
        if len(data) > self._limits.max_bytes:
            raise TooLarge("this picture is too large", found=len(data), expected=f"{self._limits.max_bytes} bytes")
        key = content_hash(data)
        known = self._kept.find(serving, [key])
        if not known:
            picture = decode(data, self._limits.max_pixels)
            known = self._kept.remember(serving, {key: self._encoders.serving(serving).encode_image(picture)})
        if keep:
            self._kept.keep(serving, known)
        return key

    def vectors(self, serving: Serving, question: Question) -> QueryVectors:
        """Unit vectors of ``question`` on each side: the normalised sum of what each part of it says.

        Each part goes through a head of its own: words and a picture through those of queries, and a product is asked
        by as the index holds it.
        """
        parts: list[tuple[Vector, Vector]] = []
        without: tuple[int, ...] = ()
        if question.text is not None:
            words = self.words(serving, question.text)
            parts.append((words, words))
        if question.image_hash is not None:
            seen = self._kept.find(serving, [question.image_hash]).get(question.image_hash)
            if seen is None:
                raise PictureForgotten("the picture of this search is no longer known; search by it again")
            shown = serving.query_heads.adapt("image", seen[None])[0]
            parts.append((shown, shown))
        if question.product_id is not None:
            number, image, caption = self._product(serving, question.product_id)
            without = (number,)
            parts.append((image, caption))
        image, caption = (
            unit(np.sum([part[0] for part in parts], axis=0)),
            unit(np.sum([part[1] for part in parts], axis=0)),
        )
        return QueryVectors(image[None], caption[None], without)

    def words(self, serving: Serving, words: str) -> Vector:
        """(d,) unit vector of ``words``, through the head of queries by words."""
        vector: Vector = serving.query_heads.adapt("text", self._text(serving, words)[None])[0]
        return vector

    def expect_encoder(self, serving: Serving, *, wait: bool = True) -> None:
        """Check that this process can encode for ``serving``; unless ``wait``, one still being loaded cannot.

        Raises:
            EncoderNotLoaded: it has no encoder, or another one.
        """
        self._encoders.serving(serving, wait=wait)

    def _text(self, serving: Serving, words: str) -> Vector:
        cached = self._cache.get(serving.weights_hash, f"text:{words}")
        if cached is not None:
            return cached
        vector = self._encoders.serving(serving).encode_text(words)
        return self._cache.put(serving.weights_hash, f"text:{words}", vector)

    def _product(self, serving: Serving, product_id: str) -> tuple[int, Vector, Vector]:
        """Number of a product and what stands for it on each side: the mean of its pictures, of its captions."""
        with session_scope(self._sessions) as session:
            found = session.execute(
                _PRODUCT_FEATURES, {"product_id": product_id, "encoder_id": serving.encoder_id}
            ).one_or_none()
        if found is None:
            raise ProductUnknown("no product has this id", found=product_id)
        heads = serving.item_heads
        image = unit(heads.adapt("image", _stored(found.images)).mean(axis=0)) if found.images else None
        caption = unit(heads.adapt("caption", _stored(found.captions)).mean(axis=0)) if found.captions else None
        # one space holds both: a product without a picture is compared to pictures by its words, and the other way
        either = image if image is not None else caption
        if either is None:
            raise NotEmbeddedYet("nothing of this product has been embedded yet; try again soon", found=product_id)
        return found.number, either, caption if caption is not None else either


def _stored(vectors: Sequence[bytes]) -> Vector:
    """Raw vectors (n, d) as the features hold them."""
    return np.stack([np.frombuffer(one, dtype="<f4") for one in vectors])


def unit(vector: Vector) -> Vector:
    """``vector`` at length 1; opposites that cancel out have no direction and stay as they are."""
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length > 1e-9 else vector, dtype=np.float32)


_PRODUCT_FEATURES = text(
    """
    SELECT p.number,
      ARRAY(SELECT f.vector FROM product_images i JOIN features f ON f.subject = i.content_hash
            WHERE i.product = p.number AND i.state = 'ready' AND f.kind = 'image' AND f.encoder_id = :encoder_id
            ORDER BY i.position) AS images,
      ARRAY(SELECT f.vector FROM captions c JOIN features f ON f.subject = c.text_hash
            WHERE c.product = p.number AND f.kind = 'text' AND f.encoder_id = :encoder_id
            ORDER BY c.id) AS captions
    FROM products p WHERE p.id = :product_id AND p.deleted_at IS NULL
    """
)
