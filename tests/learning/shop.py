"""A catalogue in PostgreSQL whose shoppers speak in other directions of space than its pictures and captions."""

from datetime import UTC, datetime

import numpy as np
from sqlalchemy.orm import Session, sessionmaker

from backend.catalog.models import Caption, Product, ProductImage, Variant
from backend.db import session_scope
from backend.generations.encoders import register_encoder
from backend.generations.feature_store import SubjectFeatures, store_features
from backend.generations.models import Generation, IndexBuild
from backend.generations.promote import go_live
from backend.ml.encoder import Encoder

HALF = 16
"""Half of the tiny encoder's 32 numbers: pictures and captions lie in the first, what shoppers say in the other."""


def make_live(sessions: sessionmaker[Session], encoder: Encoder) -> None:
    """Go live with ``encoder``; its collections are none that anything reads."""
    with session_scope(sessions) as session:
        register_encoder(session, encoder)
        names = {"image_collection": "i", "caption_collection": "c"}
        build = IndexBuild(encoder_id=encoder.id, state="ready", step="done", **names)
        session.add(build)
        session.flush()
        generation = Generation(index_build_id=build.id, calibration={"x": 1}, code_version="1", state="ready")
        session.add(generation)
        session.flush()
        go_live(session, generation.id, actor="test")


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class PlantedShop:
    """Products p0, p1, … of which a picture, a caption and a title are embedded; `encode` reads what shoppers say."""

    def __init__(self, count: int, *, titles: bool = True) -> None:
        rng = np.random.default_rng(5)
        kinds = rng.normal(size=(count, HALF))
        self.count, self.titles = count, titles
        self.pictures = unit(np.hstack([kinds, 0.05 * rng.normal(size=kinds.shape)]))
        self.captions = unit(self.pictures + 0.08 * rng.normal(size=self.pictures.shape))
        self.named = unit(self.pictures + 0.12 * rng.normal(size=self.pictures.shape))
        self.said = unit(np.hstack([0.3 * rng.normal(size=kinds.shape), kinds + 0.1 * rng.normal(size=kinds.shape)]))

    def stock(self, sessions: sessionmaker[Session], encoder: Encoder) -> None:
        """Write the products and their features."""
        with session_scope(sessions) as session:
            products = [Product(id=f"p{row}", title="t", updated_at=datetime.now(UTC)) for row in range(self.count)]
            session.add_all(products)
            session.flush()
            for row, product in enumerate(products):
                number = product.number
                image = {"source": f"s{row}", "state": "ready", "content_hash": f"image{row}"}
                session.add(ProductImage(product=number, position=0, **image))
                session.add(Variant(product=number, sku=f"SKU-{row}", position=0))
                session.add(Caption(product=number, source="given", text="c", text_hash=f"caption{row}"))
                if self.titles:
                    session.add(Caption(product=number, source="title", text="t", text_hash=f"title{row}"))
        texts = [SubjectFeatures(f"caption{row}", vector, None) for row, vector in enumerate(self.captions)]
        texts += [SubjectFeatures(f"title{row}", vector, None) for row, vector in enumerate(self.named) if self.titles]
        store_features(sessions, encoder.id, "text", texts)
        pictures = [SubjectFeatures(f"image{row}", vector, None) for row, vector in enumerate(self.pictures)]
        store_features(sessions, encoder.id, "image", pictures)

    def encode(self, texts: list[str]) -> np.ndarray:
        """What is said of product n ends with n: "the one they call 17"."""
        return self.said[[int(text.split()[-1]) for text in texts]]
