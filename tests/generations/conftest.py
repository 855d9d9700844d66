"""A catalogue with blobs on disk, a live build, and an ingest over real components."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import insert, update
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.models import Caption, ImageFile, Product, ProductImage
from backend.catalog.repository import upsert_products
from backend.catalog.schemas import ProductIn
from backend.db import session_scope
from backend.generations.bootstrap import ensure_live
from backend.generations.repository import Build
from backend.ml.encoder import Encoder
from backend.vector_index import VectorIndex


def picture(seed: int, side: int = 40) -> bytes:
    """PNG of noise that no other seed gives."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@dataclass
class Shop:
    """A catalogue whose images are on disk already, as the fetch stage leaves them."""

    sessions: sessionmaker[Session]
    blobs: BlobStore

    def put(self, product_id: str, *, pictures: tuple[bytes, ...] = (), **fields: object) -> int:
        """Upsert one product; its number."""
        sources = []
        for data in pictures:
            key = self.blobs.put(data)
            sources.append(f"blob:{key}")
        product = ProductIn.model_validate({"id": product_id, "title": product_id, "images": sources} | fields)
        with session_scope(self.sessions) as session:
            (verdict,) = upsert_products(session, [product], blobs=self.blobs)
            assert verdict.status != "rejected", verdict
            number = session.query(Product.number).filter_by(id=product_id).scalar()
            self._make_ready(session, number)
        return int(number)

    def captions(self, session: Session) -> list[str]:
        """Text hashes of all captions."""
        return [caption.text_hash for caption in session.query(Caption)]

    def _make_ready(self, session: Session, number: int) -> None:
        for image in session.query(ProductImage).filter_by(product=number, state="pending"):
            image.content_hash = image.source.removeprefix("blob:")
            image.state = "ready"
            if session.get(ImageFile, image.content_hash) is None:
                session.execute(
                    insert(ImageFile).values(content_hash=image.content_hash, format="PNG", width=1, height=1, bytes=1)
                )
        session.execute(update(Product).where(Product.number == number).values(revision=Product.revision + 1))


@pytest.fixture
def index(milvus_uri: str) -> VectorIndex:
    return VectorIndex(milvus_uri)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def shop(sessions: sessionmaker[Session], blobs: BlobStore) -> Shop:
    return Shop(sessions, blobs)


@pytest.fixture
def build(sessions: sessionmaker[Session], index: VectorIndex, tiny_encoder: Encoder) -> Iterator[Build]:
    with session_scope(sessions) as session:
        made = ensure_live(session, index, tiny_encoder)
    yield made
    for name in made.collections:
        index.drop_collection(name)
