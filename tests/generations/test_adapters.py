"""A trained adapter becomes a generation: at once where its build is there, behind one that is made, or never."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.images import FetchLimits
from backend.catalog.models import Product
from backend.db import session_scope
from backend.errors import Conflict
from backend.generations.adapters import HeadsDoNotFit, keep_adapter
from backend.generations.build import Builder
from backend.generations.build_state import fail
from backend.generations.builds import drop_build
from backend.generations.encoders import OpenEncoders
from backend.generations.index_content import read_contents
from backend.generations.ingest import Ingest
from backend.generations.models import Generation, IndexBuild
from backend.generations.promote import go_live, roll_back
from backend.generations.repository import Build, get_build, live_build, live_generation, writable_builds
from backend.generations.serving import load_serving
from backend.http import SafeFetcher
from backend.ml.encoder import Encoder
from backend.ml.head_files import load_item_heads
from backend.settings import Settings
from backend.vector_index import VectorIndex
from tests.fixtures.heads import item_heads, query_heads
from tests.generations.test_build import WINDOW, agree, begin, never, state, stock, wide_encoder_dir  # noqa: F401
from tests.generations.test_build import builder as switcher  # noqa: F401

PASSED: dict[str, Any] = {"passed": True, "reasons": []}
REFUSED: dict[str, Any] = {"passed": False, "reasons": ["Recall@10 gains -0.012; expected an interval above 0."]}

Keep = Callable[..., int]


def kept(
    sessions: sessionmaker[Session],
    encoder: Encoder,
    *,
    items: int | None = None,
    gate: dict[str, Any] = PASSED,
    promote: bool = True,
) -> int:
    """Number of the generation of an adapter; ``items`` is the seed of its heads for items."""
    with session_scope(sessions) as session:
        return keep_adapter(
            session,
            query_heads=query_heads(encoder.id, encoder.dim, seed=3),
            item_heads=None if items is None else item_heads(encoder.id, encoder.dim, seed=items),
            gate_report=gate,
            data_range={"pairs": 300},
            promote=promote,
            actor="test",
        )


def begin_adapter(sessions: sessionmaker[Session], encoder: Encoder) -> int:
    """Number of the build that an adapter with heads for items waits for."""
    return generation(sessions, kept(sessions, encoder, items=5)).index_build_id


@pytest.fixture
def keep(sessions: sessionmaker[Session], tiny_encoder: Encoder) -> Keep:
    return partial(kept, sessions, tiny_encoder)


@pytest.fixture
def builder(sessions: sessionmaker[Session], index: VectorIndex) -> Builder:
    """One that cannot encode anything."""

    def beside(encoder: Encoder) -> Ingest:
        raise AssertionError(f"{encoder.id} is not needed for what is stored")

    return Builder(sessions, index, OpenEncoders(Settings(encoder="local-dir:/no/such/place")), beside, WINDOW)


@pytest.fixture
def ingest(
    sessions: sessionmaker[Session], blobs: BlobStore, index: VectorIndex, tiny_encoder: Encoder
) -> Callable[[], object]:
    """The live ingest, run until nothing is due."""
    return Ingest(sessions, blobs, SafeFetcher(), tiny_encoder, index, FetchLimits(), "off", 16).run_due


def generation(sessions: sessionmaker[Session], number: int) -> Generation:
    with session_scope(sessions) as session:
        return session.get_one(Generation, number)


@pytest.mark.usefixtures("stock")
def test_heads_of_queries_only_share_the_live_build_and_go_live_in_one_flip(
    keep: Keep, sessions: sessionmaker[Session]
) -> None:
    with session_scope(sessions) as session:
        before = live_generation(session)
    number = keep()
    made = generation(sessions, number)
    assert (made.state, made.index_build_id) == ("live", before.index_build_id)
    assert (made.data_range, made.gate_report) == ({"pairs": 300}, {"adapter": PASSED})
    assert made.calibration["products"] == 30
    with session_scope(sessions) as session:
        assert session.scalar(select(func.count()).select_from(IndexBuild)) == 1
        assert roll_back(session, actor="test") == before.id


@pytest.mark.usefixtures("build")
def test_adapter_that_the_gate_refused_never_serves_and_says_why(keep: Keep, sessions: sessionmaker[Session]) -> None:
    number = keep(items=5, gate=REFUSED)
    assert generation(sessions, number).state == "rejected"
    with session_scope(sessions) as session:
        assert session.scalar(select(func.count()).select_from(IndexBuild)) == 1, "no build is made for it"
        assert session.scalar(select(Generation.query_heads).where(Generation.id == number)) is None
        assert load_serving(session, number) is None
    with (
        pytest.raises(Conflict, match=r"cannot go live\. Recall@10 gains -0\.012") as refused,
        session_scope(sessions) as session,
    ):
        go_live(session, number, actor="test")
    assert refused.value.extensions["reasons"] == REFUSED["reasons"]


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize(
    ("queries", "said"),
    [
        (query_heads("other@1", 32, seed=1), "of encoder other@1"),
        (item_heads("tiny", 32, seed=1), "item heads"),
        (b"\0" * 40, "safetensors"),
    ],
)
def test_heads_of_another_encoder_and_what_is_none_are_refused_at_the_door(
    queries: bytes, said: str, sessions: sessionmaker[Session]
) -> None:
    rest = {"item_heads": None, "gate_report": PASSED, "data_range": {}, "promote": True, "actor": "test"}
    with pytest.raises(HeadsDoNotFit) as refused, session_scope(sessions) as session:
        keep_adapter(session, query_heads=queries, **rest)
    assert said in refused.value.found
    with session_scope(sessions) as session:
        assert session.scalar(select(func.count()).select_from(Generation)) == 1


@pytest.mark.usefixtures("build")
def test_heads_of_another_width_are_refused(sessions: sessionmaker[Session], tiny_encoder: Encoder) -> None:
    with pytest.raises(HeadsDoNotFit) as refused, session_scope(sessions) as session:
        keep_adapter(
            session,
            query_heads=query_heads(tiny_encoder.id, 64, seed=1),
            item_heads=None,
            gate_report=PASSED,
            data_range={},
            promote=True,
            actor="test",
        )
    assert "vectors of [64] numbers" in refused.value.found


@pytest.mark.usefixtures("stock")
def test_heads_of_items_get_a_build_of_stored_features_and_go_live_with_it(
    keep: Keep, builder: Builder, sessions: sessionmaker[Session], index: VectorIndex, tiny_encoder: Encoder
) -> None:
    with session_scope(sessions) as session:
        old = live_build(session)
    number = keep(items=5)
    waiting = generation(sessions, number)
    made = state(sessions, waiting.index_build_id)
    assert (waiting.state, made.state, made.step, made.promote) == ("trained", "building", "create", True)
    with (
        pytest.raises(Conflict, match=f"waits for index build {made.id}, which is at `create`"),
        session_scope(sessions) as session,
    ):
        go_live(session, number, actor="test")
    builder.advance(never)
    ready, made = generation(sessions, number), state(sessions, made.id)
    assert (ready.state, ready.calibration["products"]) == ("live", 30)
    assert ready.gate_report == {"adapter": PASSED, "verification": made.report}
    assert (made.state, made.report["images"], made.report["audited"]) == (
        "ready",
        {"recorded": 30, "counted": 30, "recall": 1.0},
        30,
    )
    assert held_through_heads(sessions, index, old, made.id, tiny_encoder)
    assert agree(sessions, index)
    with session_scope(sessions) as session:
        first = roll_back(session, actor="test")
    assert keep(items=5, promote=False) > number
    with session_scope(sessions) as session:
        assert live_generation(session).id == first
        newest = session.scalars(select(Generation).order_by(Generation.id.desc())).first()
        assert (newest.state, newest.index_build_id) == ("ready", made.id), "the same item heads share a build"


def held_through_heads(
    sessions: sessionmaker[Session], index: VectorIndex, raw: Build, number: int, encoder: Encoder
) -> bool:
    """Whether the build ``number`` holds what the build ``raw`` does, each vector through its head."""
    with session_scope(sessions) as session:
        adapted = get_build(session, number)
        heads = load_item_heads(adapted.item_heads, encoder.id)
        contents = read_contents(session, replace(raw, item_heads=None), range(1, 31))
    for name, rows, head in (
        (adapted.image_collection, [row for one in contents for row in one.images], heads.image),
        (adapted.caption_collection, [row for one in contents for row in one.captions], heads.caption),
    ):
        held = index.fetch(name, [row.key for row in rows])
        vectors = np.stack([row.vector for row in rows])
        found = np.stack([held[row.key].vector for row in rows])
        assert np.abs(head(vectors) - vectors).max() > 0.1, "the head does something"
        np.testing.assert_allclose(found, head(vectors), atol=1e-6)
    return True


def test_both_builds_of_one_encoder_are_written_and_a_picture_is_embedded_once_for_both(
    keep: Keep,
    builder: Builder,
    sessions: sessionmaker[Session],
    index: VectorIndex,
    ingest: Callable[[], Any],
    stock: Callable[[int, int], None],  # noqa: F811
) -> None:
    keep(items=5)
    builder.advance(never)
    stock(30, 33)
    with session_scope(sessions) as session:
        session.execute(update(Product).where(Product.id == "p3").values(revision=Product.revision + 1, price=9))
        embedded = session.execute(select(func.count()).select_from(Product)).scalar()
    report = ingest()
    assert (embedded, report.images, report.products) == (33, 0, 2), "one changed product in two builds"
    assert agree(sessions, index)
    with session_scope(sessions) as session:
        assert len(writable_builds(session)) == 2


def test_live_ingest_leaves_the_backfill_to_whoever_makes_the_build(
    keep: Keep,
    builder: Builder,
    sessions: sessionmaker[Session],
    index: VectorIndex,
    stock: Callable[[int, int], None],  # noqa: F811
) -> None:
    made = generation(sessions, keep(items=5)).index_build_id
    builder._do(builder._running(), never)  # type: ignore[arg-type]
    assert state(sessions, made).step == "backfill"
    stock(30, 32)
    with session_scope(sessions) as session:
        build = get_build(session, made)
    assert index.count(build.image_collection) == 0
    builder.advance(never)
    assert index.count(build.image_collection) == 32
    assert agree(sessions, index)


@pytest.mark.usefixtures("stock")
def test_rows_that_went_in_without_heads_are_found_and_written_again(
    keep: Keep,
    builder: Builder,
    sessions: sessionmaker[Session],
    index: VectorIndex,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = generation(sessions, keep(items=5)).index_build_id
    verify, spoilt = Builder._verify, []

    def spoil(self: Builder, build: IndexBuild, stop: Callable[[], bool]) -> bool:
        if not spoilt:
            with session_scope(sessions) as session:
                raw, adapted = live_build(session), get_build(session, made)
                rows = [row for one in read_contents(session, raw, [1, 2, 3]) for row in one.images]
            index.upsert(adapted.image_collection, rows)
            spoilt.extend(rows)
        return verify(self, build, stop)

    monkeypatch.setattr(Builder, "_verify", spoil)
    builder.advance(never)
    report = state(sessions, made).report
    assert (len(spoilt), report["attempts"], report["complaints"]) == (3, 2, [])
    assert agree(sessions, index)


@pytest.mark.slow
@pytest.mark.usefixtures("stock")
def test_adapter_that_waited_for_a_switch_is_made_and_does_not_undo_it(
    keep: Keep,
    switcher: Builder,  # noqa: F811
    sessions: sessionmaker[Session],
    index: VectorIndex,
    wide_encoder_dir: Path,  # noqa: F811
) -> None:
    switched = begin(sessions, wide_encoder_dir)
    number = keep(items=5)
    switcher.advance(never)
    made = state(sessions, generation(sessions, number).index_build_id)
    with session_scope(sessions) as session:
        live = live_build(session)
    assert (live.id, generation(sessions, number).state) == (switched, "ready")
    assert (made.state, made.promote) == ("ready", False)
    assert made.error == f"It is ready and did not go live: {live.encoder_id} is live by now."
    assert agree(sessions, index)


@pytest.mark.usefixtures("stock")
@pytest.mark.parametrize(("end", "left"), [("given up", "rejected"), ("failed", "failed")])
def test_generation_whose_build_comes_to_nothing_says_so(
    keep: Keep, builder: Builder, sessions: sessionmaker[Session], index: VectorIndex, end: str, left: str
) -> None:
    number = keep(items=5)
    made = state(sessions, generation(sessions, number).index_build_id)
    builder._do(made, never)
    if end == "failed":
        fail(sessions, state(sessions, made.id), "recall of images is 0.5.")
    else:
        with session_scope(sessions) as session:
            drop_build(session, made.id, window=WINDOW, actor="test")
    with pytest.raises(Conflict) as refused, session_scope(sessions) as session:
        go_live(session, number, actor="test")
    said = "failed: recall of images is 0.5." if end == "failed" else "dropped: given up by test."
    assert (refused.value.found, refused.value.extensions["reasons"]) == (
        left,
        [f"Its index build {made.id} is {said}"],
    )
    builder.advance(never)
    assert not {made.image_collection, made.caption_collection} & index.collections()
    assert agree(sessions, index)


@pytest.mark.slow
@pytest.mark.usefixtures("stock")
def test_encoder_in_use_can_be_switched_to_where_its_items_go_through_heads(
    keep: Keep,
    switcher: Builder,  # noqa: F811
    sessions: sessionmaker[Session],
    index: VectorIndex,
    tiny_encoder: Encoder,
    tiny_encoder_dir: Path,
) -> None:
    with pytest.raises(Conflict, match="live already"):
        begin(sessions, tiny_encoder_dir)
    keep(items=5)
    switcher.advance(never)
    with session_scope(sessions) as session:
        drop_build(session, 1, window=WINDOW, actor="test", forget=True)
    number = begin(sessions, tiny_encoder_dir)
    switcher.advance(never)
    with session_scope(sessions) as session:
        live = live_build(session)
        heads = session.scalar(select(Generation.query_heads).where(Generation.state == "live"))
    assert (live.id, live.encoder_id, live.item_heads, heads) == (number, tiny_encoder.id, None, None)
    assert agree(sessions, index)
