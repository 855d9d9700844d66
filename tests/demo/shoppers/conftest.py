"""A small demo shop behind its real API, where every session explores, and the shoppers' way to it."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import insert, select
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from backend.access.provided import lookup
from backend.blobs import BlobStore
from backend.catalog.images import FetchLimits
from backend.catalog.repository import upsert_products
from backend.catalog.schemas import ProductIn
from backend.db import connect, session_factory, session_scope
from backend.demo.attributes import COLOURS
from backend.demo.catalogue import products, row
from backend.demo.shoppers.traffic import DEMO_SEED
from backend.experiments.models import Experiment
from backend.experiments.registry import Registry
from backend.generations.bootstrap import ensure_live
from backend.generations.ingest import Ingest
from backend.generations.models import Generation, GenerationPin
from backend.generations.serving import ServingHolder
from backend.http import SafeFetcher
from backend.main import create_app
from backend.ml.encoder import Encoder
from backend.settings import Settings
from backend.vector_index import VectorIndex
from tests.fixtures.api import make_keys
from tests.fixtures.database import fresh_database
from tests.fixtures.heads import query_heads

COUNT = 60


@pytest.fixture(scope="module")
def demo_sessions(
    postgres_uri: str,
    milvus_uri: str,
    redis_server: str,
    tiny_encoder: Encoder,
    tiny_encoder_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[sessionmaker[Session], Settings]]:
    """The demo's first products, in the catalogue and the index; and settings under which every session explores."""
    index, blobs = VectorIndex(milvus_uri), BlobStore(tmp_path_factory.mktemp("blobs"))
    with fresh_database(postgres_uri) as url:
        engine = connect(url)
        sessions = session_factory(engine)
        with session_scope(sessions) as session:
            build = ensure_live(session, index, tiny_encoder)
            assert {one.status for one in upsert_products(session, _sold(), blobs=blobs)} == {"created"}
        Ingest(sessions, blobs, SafeFetcher(), tiny_encoder, index, FetchLimits(), "off", 8).run_due()
        yield (
            sessions,
            Settings(
                home=tmp_path_factory.mktemp("home"),
                database_url=url,
                redis_url=redis_server,
                milvus_uri=milvus_uri,
                encoder=f"local-dir:{tiny_encoder_dir}",
                log_level="error",
                rate_limit_per_minute=0,
                exploration_share=1.0,
                holdout_share=0.0,
            ),
        )
        for collection in build.collections:
            index.drop_collection(collection)
        engine.dispose()


@pytest.fixture(scope="module")
def demo_client(demo_sessions: tuple[sessionmaker[Session], Settings], tiny_encoder: Encoder) -> Iterator[TestClient]:
    """A client of that shop's API with its storefront key; who loves pastel is shown two generations in one list."""
    sessions, settings = demo_sessions
    app = create_app(settings)
    with TestClient(app, client=("203.0.113.9", 50000)) as client:
        client.headers.update(make_keys(sessions).storefront)
        with session_scope(sessions) as session:
            interleave(session, tiny_encoder, cohort="pastel")
        lookup(app, Registry).refresh()
        lookup(app, ServingHolder).refresh()
        yield client


def interleave(session: Session, encoder: Encoder, cohort: str) -> None:
    """Show a cohort two generations in one list: the live one and one with random heads for queries."""
    live = session.scalars(select(Generation).filter_by(state="live")).one()
    other = Generation(
        index_build_id=live.index_build_id,
        calibration=live.calibration,
        code_version="test",
        state="ready",
        query_heads=query_heads(encoder.id, encoder.dim, 7),
    )
    session.add(other)
    session.flush()
    session.execute(insert(GenerationPin).values(generation_id=other.id, reason="e1"))
    arms = [{"name": f"g{one}", "weight": 1, "generation_id": one} for one in (live.id, other.id)]
    made = {"name": "heads", "layer": "ranker", "method": "interleave", "metric": "clicks", "status": "running"}
    limits = {"slices": [[0, 10_000]], "coverage": 1.0, "targeting": {"cohort": [cohort]}}
    session.execute(insert(Experiment).values(**made, **limits, arms=arms, entry_salt="in", arm_salt="arm"))


def _sold() -> list[ProductIn]:
    """The first products of the demo, all in stock, with a picture of their colour."""
    found = []
    for product in products(COUNT, DEMO_SEED):
        sold = row(product) | {"images": [{"data": _picture(product.item.colour)}], "availability": "in_stock"}
        found.append(ProductIn.model_validate(sold))
    return found


def _picture(colour: str) -> str:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), COLOURS[colour]).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()
