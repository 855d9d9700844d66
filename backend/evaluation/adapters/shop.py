"""The live catalogue as pairs: what is said of its products, and their pictures, as the encoder left them."""

from contextlib import suppress
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.feeds.pictures import PictureMissing
from backend.db import session_scope
from backend.evaluation.adapters.paired import PairedTexts
from backend.evaluation.benchmark import NothingToEvaluate
from backend.evaluation.datasets import decoded
from backend.generations.repository import live_encoder
from backend.ml.pairs import Pairs, Vectors


def read_shop(sessions: sessionmaker[Session], blobs: BlobStore, most: int) -> PairedTexts:
    """Pairs of up to ``most`` products, always the same ones: each text that is said of one product only.

    Vectors are the stored ones, before any head. Memory holds them all: 4 bytes a number.

    Raises:
        NothingToEvaluate: nothing is live, or no product has a picture and a text of its own.
    """
    with session_scope(sessions) as session:
        encoder = live_encoder(session)
        if encoder is None:
            raise NothingToEvaluate("Nothing is live.", expected="a catalogue: `morelike import`")
        values = {"encoder": encoder.id, "most": most}
        pictures = session.execute(_PICTURES, values).all()
        known = {row.product for row in pictures}
        texts = [row for row in session.execute(_TEXTS, values) if row.product in known]
    if not texts:
        found = f"{len(pictures)} pictures, no text of their own"
        raise NothingToEvaluate("There is nothing to learn from.", found=found, expected="products with texts")
    product_of = np.array([row.product for row in pictures], np.int64)
    image_of = np.searchsorted(product_of, [row.product for row in texts])  # pictures are in the order of products

    def picture(row: int) -> Image.Image | None:
        content = pictures[row].content_hash
        with suppress(PictureMissing, OSError):
            return decoded(blobs.path(content).read_bytes(), content)
        return None

    return PairedTexts(
        name="the live catalogue",
        pairs=Pairs(_vectors(texts), _vectors(pictures), image_of, product_of),
        said=[row.text for row in texts],
        titles=[row.title for row in pictures],
        picture=picture,
        encoder=encoder.id,
    )


def _vectors(rows: Any) -> Vectors:
    return np.stack([np.frombuffer(row.vector, dtype="<f4") for row in rows]).astype(np.float32)


_SAMPLE = "SELECT number FROM products WHERE deleted_at IS NULL ORDER BY md5(concat('adapter/', number)) LIMIT :most"

_PICTURES = text(f"""
    SELECT i.product, i.content_hash, p.title, f.vector FROM product_images i
    JOIN products p ON p.number = i.product
    JOIN features f ON f.encoder_id = :encoder AND f.kind = 'image' AND f.subject = i.content_hash
    WHERE i.state = 'ready' AND i.product IN ({_SAMPLE})
    ORDER BY i.product, i.position, i.id
""")  # noqa: S608

_TEXTS = text(f"""
    SELECT c.product, c.text, f.vector FROM (
        SELECT id, product, text, text_hash,
            min(product) OVER (PARTITION BY text_hash) <> max(product) OVER (PARTITION BY text_hash) AS shared
        FROM captions WHERE error IS NULL AND product IN ({_SAMPLE})
    ) AS c
    JOIN features f ON f.encoder_id = :encoder AND f.kind = 'text' AND f.subject = c.text_hash
    WHERE NOT c.shared
    ORDER BY c.product, c.id
""")  # noqa: S608
