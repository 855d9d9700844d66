"""A small shop whose vectors are real: written through the catalogue, embedded by the tiny encoder and indexed."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from backend.blobs import BlobStore, content_hash
from backend.catalog.models import Caption, Feature, Product, ProductImage
from backend.catalog.repository import upsert_products
from backend.catalog.schemas import ProductIn, is_in_stock
from backend.db import connect, session_factory, session_scope
from backend.generations.models import EncoderRecord, Generation, IndexBuild
from backend.main import create_app
from backend.ml.encoder import Encoder
from backend.ml.scoring import Calibration
from backend.settings import Settings
from backend.vector_index import VectorIndex
from backend.vectors import VectorRow
from tests.fixtures.api import Keys, make_keys
from tests.fixtures.database import fresh_database

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 60), "blue": (30, 60, 220), "grey": (128, 128, 128)}


def png(colour: tuple[int, int, int], mark: int = 0) -> bytes:
    """A small picture; ``mark`` makes it a different one."""
    picture = Image.new("RGB", (40, 40), colour)
    picture.putpixel((mark % 40, mark // 40), (0, 0, 0))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


@dataclass(frozen=True)
class Shop:
    """Writes products and makes them searchable."""

    sessions: sessionmaker[Session]
    index: VectorIndex
    encoder: Encoder
    blobs: BlobStore
    images: str
    captions: str

    def add(self, *products: dict[str, Any], pictures: dict[str, list[bytes]] | None = None) -> None:
        """Keep ``products`` with ``pictures`` (by product id), embed and index them."""
        sent = [ProductIn.model_validate({"title": product["id"]} | product) for product in products]
        with session_scope(self.sessions) as session:
            assert {v.status for v in upsert_products(session, sent, blobs=self.blobs)} <= {"created", "updated"}
            for product_id, files in (pictures or {}).items():
                number = session.scalars(select(Product.number).filter_by(id=product_id)).one()
                for position, data in enumerate(files):
                    key = content_hash(data)
                    session.add(
                        ProductImage(
                            product=number, position=position, source=f"blob:{key}", state="ready", content_hash=key
                        )
                    )
            session.flush()
            for product in sent:
                self._index(session, product.id, dict.fromkeys((pictures or {}).get(product.id, ())))

    def _index(self, session: Session, product_id: str, files: dict[bytes, None]) -> None:
        row = session.scalars(select(Product).filter_by(id=product_id)).one()
        shared = {
            "product": row.number,
            "in_stock": is_in_stock(row.availability),
            "price": None if row.price is None else float(row.price),
            "tags": tuple(row.tags),
        }
        captions = session.scalars(select(Caption).filter_by(product=row.number).order_by(Caption.id)).all()
        vectors = self.encoder.encode_texts([caption.text for caption in captions])
        self._keep(session, "text", [caption.text_hash for caption in captions], vectors)
        self.index.upsert(
            self.captions,
            [VectorRow(key=c.id, vector=v, **shared) for c, v in zip(captions, vectors, strict=True)],
        )
        if not files:
            return
        images = session.scalars(
            select(ProductImage).filter_by(product=row.number).order_by(ProductImage.position)
        ).all()
        vectors = self.encoder.encode_images([Image.open(io.BytesIO(data)).convert("RGB") for data in files])
        self._keep(session, "image", [str(image.content_hash) for image in images], vectors)
        self.index.upsert(
            self.images, [VectorRow(key=i.id, vector=v, **shared) for i, v in zip(images, vectors, strict=True)]
        )

    def _keep(self, session: Session, kind: str, subjects: list[str], vectors: np.ndarray[Any, Any]) -> None:
        for subject, vector in zip(subjects, vectors, strict=True):
            values = {"encoder_id": self.encoder.id, "kind": kind, "subject": subject, "vector": vector.tobytes()}
            session.execute(upsert(Feature).values(values).on_conflict_do_nothing())

    def change(self, *product_ids: str, **columns: Any) -> None:
        """Change products in PostgreSQL and leave the index behind."""
        with session_scope(self.sessions) as session:
            session.execute(update(Product).where(Product.id.in_(product_ids)).values(**columns))

    @contextmanager
    def changed(self, product_id: str, **columns: Any) -> Iterator[None]:
        """Change a product for a moment."""
        with session_scope(self.sessions) as session:
            before = {
                name: session.scalars(select(getattr(Product, name)).filter_by(id=product_id)).one() for name in columns
            }
        self.change(product_id, **columns)
        yield
        self.change(product_id, **before)


def make_live(session: Session, index: VectorIndex, encoder: Encoder, calibration: Calibration) -> tuple[str, str]:
    """A live generation with empty collections; their names."""
    session.execute(
        insert(EncoderRecord).values(
            id=encoder.id, name=encoder.name, weights_hash=encoder.weights_hash, dim=encoder.dim
        )
    )
    name = uuid4().hex[:12]
    build = IndexBuild(
        encoder_id=encoder.id, image_collection=f"images_{name}", caption_collection=f"captions_{name}", state="ready"
    )
    session.add(build)
    session.flush()
    session.add(
        Generation(index_build_id=build.id, calibration=calibration.to_json(), code_version="test", state="live")
    )
    index.create_collection(build.image_collection, encoder.dim)
    index.create_collection(build.caption_collection, encoder.dim)
    return build.image_collection, build.caption_collection


@pytest.fixture(scope="module")
def index(milvus_uri: str) -> VectorIndex:
    return VectorIndex(milvus_uri)


@pytest.fixture(scope="module")
def shop_database(postgres_uri: str) -> Iterator[str]:
    """A database that the tests of one module share: an API takes a second to start."""
    with fresh_database(postgres_uri) as url:
        yield url


@pytest.fixture(scope="module")
def shop(
    shop_database: str, index: VectorIndex, tiny_encoder: Encoder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """An empty shop, live with the identity calibration."""
    engine = connect(shop_database)
    sessions = session_factory(engine)
    with session_scope(sessions) as session:
        images, captions = make_live(session, index, tiny_encoder, Calibration.identity())
    yield Shop(sessions, index, tiny_encoder, BlobStore(tmp_path_factory.mktemp("blobs")), images, captions)
    index.drop_collection(images)
    index.drop_collection(captions)
    engine.dispose()


@pytest.fixture(scope="module")
def shop_keys(shop: Shop) -> Keys:
    return make_keys(shop.sessions)


@pytest.fixture(scope="module")
def shop_settings(
    shop_database: str,
    redis_server: str,
    milvus_uri: str,
    tiny_encoder_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Settings:
    return Settings(
        home=tmp_path_factory.mktemp("home"),
        database_url=shop_database,
        redis_url=redis_server,
        milvus_uri=milvus_uri,
        encoder=f"local-dir:{tiny_encoder_dir}",
        log_level="error",
    )


Search = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def client(shop: Shop, shop_settings: Settings, shop_keys: Keys) -> Iterator[TestClient]:  # noqa: ARG001 the shop is live first
    """A shopper's client of the API over ``shop``."""
    with TestClient(create_app(shop_settings), client=("203.0.113.9", 50000)) as client:
        client.headers.update(shop_keys.storefront)
        yield client


@pytest.fixture(scope="module")
def search(client: TestClient) -> Search:
    """Searches and expects an answer."""

    def ask(**request: Any) -> dict[str, Any]:
        answer = client.post("/v1/search", json=request)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    return ask


def ids(answer: dict[str, Any]) -> list[str]:
    """Product ids of an answer, in order."""
    return [hit["product_id"] for hit in answer["hits"]]
