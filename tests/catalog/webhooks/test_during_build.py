"""Deliveries that come while an index build is made, at each of its steps, end in both builds in the right state."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.images import FetchLimits
from backend.catalog.models import Product
from backend.db import session_scope
from backend.generations.build import Builder
from backend.generations.ingest import Ingest
from backend.generations.models import IndexBuild, IndexRow
from backend.generations.repository import live_build, writable_builds
from backend.http import SafeFetcher
from backend.ml.encoder import Encoder
from backend.vector_index import VectorIndex
from tests.catalog.webhooks.conftest import TestShop
from tests.generations.conftest import blobs, index, picture  # noqa: F401  fixtures
from tests.generations.test_adapters import begin_adapter
from tests.generations.test_build import agree, begin, builder, never, stock, wide_encoder_dir  # noqa: F401  fixtures


@pytest.mark.usefixtures("stock")
@pytest.mark.parametrize("made_for", ["another encoder", pytest.param("item heads", marks=pytest.mark.slow)])
def test_deliveries_at_every_step_of_a_build_end_in_both_builds(
    made_for: str,
    shop: TestShop,
    builder: Builder,  # noqa: F811
    sessions: sessionmaker[Session],
    blobs: BlobStore,  # noqa: F811
    index: VectorIndex,  # noqa: F811
    tiny_encoder: Encoder,
    wide_encoder_dir: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[str] = []
    do = Builder._do

    def then_deliver(self: Builder, build: IndexBuild, stop: Callable[[], bool]) -> bool:
        deliver(build.step)
        return do(self, build, stop)

    def deliver(step: str) -> None:
        number = len(steps)
        steps.append(step)
        at = f"2026-11-20T09:00:{number:02}Z"
        shop.generic({"id": "p1", "title": f"renamed at {step}", "updated_at": at})
        shop.generic({"id": "p1", "title": f"too late {number}", "updated_at": "2026-11-19T09:00:00Z"})
        shop.generic({"id": f"p{10 + number}", "deleted": True})
        shop.shopify("products/update", {"id": 100 + number, "title": f"new at {step}", "updated_at": at})
        shown = base64.b64encode(picture(1000 + number)).decode()
        shop.generic({"id": f"pictured-{number}", "title": "T", "images": [{"data": shown}], "updated_at": at})
        assert shop.apply() == {"applied": 4, "stale": 1}
        Ingest(sessions, blobs, SafeFetcher(), tiny_encoder, index, FetchLimits(), "off", 16).run_due()

    monkeypatch.setattr(Builder, "_do", then_deliver)
    with session_scope(sessions) as session:  # as old as a shop's first import, so that deliveries are newer
        for product in session.scalars(select(Product)):
            product.updated_at = product.updated_at.replace(year=2025)
    first = {"open"} if made_for == "another encoder" else set()
    made = begin(sessions, wide_encoder_dir) if first else begin_adapter(sessions, tiny_encoder)
    builder.advance(never)
    monkeypatch.undo()
    builder.advance(never)  # what the last delivery left to do
    assert set(steps) == first | {"create", "backfill", "verify", "calibrate", "promote"}
    with session_scope(sessions) as session:
        assert live_build(session).id == made
        both = [build.id for build in writable_builds(session)]
        assert len(both) == 2
        for build in both:
            held = select(Product.id).join(IndexRow, IndexRow.product == Product.number)
            ids = set(session.scalars(held.where(IndexRow.index_build_id == build, Product.deleted_at.is_(None))))
            assert {f"pictured-{n}" for n in range(len(steps))} | {str(100 + n) for n in range(len(steps))} <= ids
            assert not ids & {f"p{10 + n}" for n in range(len(steps))}
    renamed = shop.product("p1")
    assert renamed is not None
    assert renamed.title == f"renamed at {steps[-1]}"
    assert agree(sessions, index)
