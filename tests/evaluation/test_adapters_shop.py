"""The live catalogue as pairs, over a real PostgreSQL."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from backend.blobs import BlobStore
from backend.catalog.models import Caption
from backend.cli import app
from backend.db import session_scope
from backend.evaluation.adapters.shop import read_shop
from backend.evaluation.benchmark import NothingToEvaluate
from backend.ml.encoder import Encoder
from tests.learning.shop import PlantedShop, make_live


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path)


def test_nothing_is_read_before_anything_is_live(sessions: sessionmaker[Session], blobs: BlobStore) -> None:
    with pytest.raises(NothingToEvaluate, match="Nothing is live"):
        read_shop(sessions, blobs, 100)


@pytest.fixture
def live(sessions: sessionmaker[Session], tiny_encoder: Encoder) -> PlantedShop:
    """Twelve products with features, and a generation that is live."""
    shop = PlantedShop(12)
    make_live(sessions, tiny_encoder)
    shop.stock(sessions, tiny_encoder)
    return shop


@pytest.mark.usefixtures("live")
def test_without_a_file_the_command_measures_the_catalogue(
    database_url: str, redis_url: str, milvus_uri: str, tmp_path: Path
) -> None:
    stores = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "MILVUS_URI": milvus_uri}
    variables = stores | {"MORELIKE_HOME": str(tmp_path / "home"), "COLUMNS": "80"}
    quick = ["--folds", "2", "--seeds", "1", "--threads", "1", "--study", "none", "--method", "text", "--pictures", "0"]
    command = ["evaluate", "adapters", *quick, "--set", "epochs=1", "--out", str(tmp_path / "out")]
    done = CliRunner(env=variables).invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "24 queries, 12 pictures of 12 products" in " ".join(done.output.split())


@pytest.mark.usefixtures("live")
def test_texts_ask_for_their_own_products_and_shared_ones_for_nothing(
    sessions: sessionmaker[Session], tiny_encoder: Encoder, blobs: BlobStore
) -> None:
    with session_scope(sessions) as session:
        session.execute(update(Caption).where(Caption.text_hash == "title3").values(text_hash="title4"))
    read = read_shop(sessions, blobs, 100)
    assert read.encoder == tiny_encoder.id
    assert (len(read.pairs.images), len(read.pairs), len(read.said)) == (12, 22, 22)
    shown = read.pairs.images[read.pairs.image_of]
    own = np.einsum("nd,nd->n", read.pairs.texts, shown)
    assert (own[:, None] >= read.pairs.texts @ read.pairs.images.T - 1e-6).mean() > 0.9
    few = read_shop(sessions, blobs, 5)
    assert len(np.unique(few.pairs.product_of)) == 5
    np.testing.assert_array_equal(few.pairs.images, read_shop(sessions, blobs, 5).pairs.images)
