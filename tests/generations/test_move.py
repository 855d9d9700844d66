"""From Milvus Lite to a server and back: the index is filled from PostgreSQL, and nothing is embedded again."""

from collections.abc import Callable

from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.db import session_scope
from backend.generations.bootstrap import ensure_live
from backend.generations.ingest import Ingest
from backend.ml.encoder import Encoder
from backend.vector_index import VectorIndex
from tests.generations.test_ingest import agrees, make, upsert

__all__ = ["make"]  # pytest finds a fixture by its name in the module


def test_a_catalogue_moves_without_being_embedded_again(
    make: Callable[..., Ingest],
    sessions: sessionmaker[Session],
    blobs: BlobStore,
    tiny_encoder: Encoder,
    lite_uri: str,
    server_uri: str,
) -> None:
    lite, server = VectorIndex(lite_uri), VectorIndex(server_uri)

    def open_on(index: VectorIndex) -> None:
        nonlocal build
        with session_scope(sessions) as session:
            build = ensure_live(session, index, tiny_encoder)

    build = None
    open_on(lite)
    upsert(sessions, blobs, 30, price=4.5, brand="Fable")
    assert make(lite).run_due().images == 30
    assert build is not None
    assert agrees(sessions, lite, build)
    query = tiny_encoder.encode_texts(["product 7"])
    before = lite.search(build.caption_collection, query, 10, fresh=True)
    for index in (server, lite):
        for name in build.collections:
            index.drop_collection(name)
        open_on(index)
        report = make(index).run_due()
        assert (report.images, report.texts, report.products) == (0, 0, 30)
        assert agrees(sessions, index, build)
        after = index.search(build.caption_collection, query, 10, fresh=True)
        assert [hit.product for hit in after[0]] == [hit.product for hit in before[0]]
    for name in build.collections:
        lite.drop_collection(name)
