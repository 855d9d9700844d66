"""A build is made beside the live one, verified and gone live with; what interrupts it is taken up again."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.images import FetchLimits
from backend.catalog.models import Product
from backend.catalog.repository import delete_product, upsert_products
from backend.catalog.schemas import ProductIn
from backend.db import session_scope
from backend.generations.audit import compare
from backend.generations.bootstrap import ensure_live
from backend.generations.build import Builder
from backend.generations.builds import drop_build, start_build
from backend.generations.due import anything_due
from backend.generations.encoders import OpenEncoders
from backend.generations.index_writer import write_due
from backend.generations.ingest import Ingest
from backend.generations.models import Generation, IndexBuild, IndexRow, Refusal
from backend.generations.promote import roll_back
from backend.generations.repository import Build, get_build, live_build, writable_builds
from backend.generations.retire import ALIASES, expire_builds
from backend.http import SafeFetcher
from backend.ml.encoder import Encoder
from backend.settings import Settings
from backend.vector_index import VectorIndex
from tests.fixtures.encoders import TINY_CLIP, write_encoder
from tests.generations.conftest import picture

WINDOW = timedelta(hours=1)


def never() -> bool:
    return False


@pytest.fixture(scope="session")
def wide_encoder_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another CLIP, of another width: nothing of the one fits the other."""
    return write_encoder(tmp_path_factory.mktemp("encoders") / "wide", TINY_CLIP | {"embed_dim": 48}, seed=3)


@pytest.fixture
def stock(
    sessions: sessionmaker[Session], blobs: BlobStore, index: VectorIndex, tiny_encoder: Encoder
) -> Iterator[Callable[[int, int], None]]:
    """Puts products into the live build of the tiny encoder; at the end all collections are dropped."""
    with session_scope(sessions) as session:
        ensure_live(session, index, tiny_encoder)

    def put(first: int, last: int) -> None:
        products = [
            ProductIn.model_validate(
                {"id": f"p{n}", "title": f"product {n}", "images": [f"blob:{blobs.put(picture(n))}"]}
            )
            for n in range(first, last)
        ]
        with session_scope(sessions) as session:
            upsert_products(session, products, blobs=blobs)
        Ingest(sessions, blobs, SafeFetcher(), tiny_encoder, index, FetchLimits(), "off", 16).run_due()

    put(0, 30)
    yield put
    for alias in ALIASES:
        index.drop_alias(alias)
    with session_scope(sessions) as session:
        for build in session.scalars(select(IndexBuild)):
            index.drop_collection(build.image_collection)
            index.drop_collection(build.caption_collection)


@pytest.fixture
def builder(sessions: sessionmaker[Session], blobs: BlobStore, index: VectorIndex, wide_encoder_dir: Path) -> Builder:
    settings = Settings(encoder=f"local-dir:{wide_encoder_dir}", device="cpu", torch_threads=1)

    def beside(encoder: Encoder) -> Ingest:
        return Ingest(sessions, blobs, SafeFetcher(), encoder, index, FetchLimits(), "off", 8, fetches=False)

    return Builder(sessions, index, OpenEncoders(settings), beside, WINDOW)


def begin(sessions: sessionmaker[Session], directory: Path, *, promote: bool = True) -> int:
    with session_scope(sessions) as session:
        return start_build(session, f"local-dir:{directory}", promote=promote, actor="test").id


def state(sessions: sessionmaker[Session], number: int) -> IndexBuild:
    with session_scope(sessions) as session:
        return session.get_one(IndexBuild, number)


def agree(sessions: sessionmaker[Session], index: VectorIndex) -> bool:
    with session_scope(sessions) as session:
        reports = [compare(session, index, build) for build in writable_builds(session)]
        assert all(report.agrees for report in reports), reports
        return not anything_due(session)


@pytest.mark.usefixtures("stock")
def test_switch_makes_a_build_beside_the_live_one_and_goes_live_with_it(
    builder: Builder, sessions: sessionmaker[Session], index: VectorIndex, wide_encoder_dir: Path
) -> None:
    with session_scope(sessions) as session:
        old = live_build(session)
    number = begin(sessions, wide_encoder_dir)
    builder.advance(never)
    made = state(sessions, number)
    assert (made.state, made.step, made.error, made.promote) == ("ready", "done", None, False)
    assert made.report["images"] == {"recorded": 30, "counted": 30, "recall": 1.0}
    assert (made.report["audited"], made.report["complaints"]) == (30, [])
    with session_scope(sessions) as session:
        live = live_build(session)
        generation = session.scalars(select(Generation).where(Generation.state == "live")).one()
        assert (live.id, live.dim, generation.index_build_id) == (number, 48, number)
        assert generation.calibration["products"] == 30
        assert [build.id for build in writable_builds(session)] == [old.id, number], "the way back is still written"
    assert [index.alias_target(alias) for alias in ALIASES] == list(live.collections)
    assert agree(sessions, index)


def test_both_builds_are_written_until_the_window_is_over_and_then_nothing_is_left_of_the_old_one(
    builder: Builder,
    sessions: sessionmaker[Session],
    index: VectorIndex,
    wide_encoder_dir: Path,
    stock: Callable[[int, int], None],
) -> None:
    with session_scope(sessions) as session:
        old = live_build(session)
    begin(sessions, wide_encoder_dir)
    builder.advance(never)
    stock(28, 33)
    with session_scope(sessions) as session:
        delete_product(session, "p0")
        new = live_build(session)
    builder.ingest_of(builder.encoders.get(new.encoder_id, None)).run_due()
    builder.advance(never)
    assert agree(sessions, index)
    with session_scope(sessions) as session:
        assert roll_back(session, actor="test")
    builder.advance(never)
    assert index.alias_target(ALIASES[0]) == old.image_collection
    with session_scope(sessions) as session:
        assert expire_builds(session, timedelta(0)) == [new.id], "now it is the other one that nothing needs"
    builder.clear()
    assert not {*new.collections} & index.collections()
    assert state(sessions, new.id).emptied_at is not None
    with session_scope(sessions) as session:
        assert session.scalars(select(IndexRow).where(IndexRow.index_build_id == new.id)).all() == []
    assert agree(sessions, index)


@pytest.mark.usefixtures("stock")
def test_build_that_is_not_to_go_live_waits_as_a_ready_generation(
    builder: Builder, sessions: sessionmaker[Session], wide_encoder_dir: Path
) -> None:
    number = begin(sessions, wide_encoder_dir, promote=False)
    builder.advance(never)
    with session_scope(sessions) as session:
        waiting = session.scalars(select(Generation).where(Generation.index_build_id == number)).one()
        assert (waiting.state, live_build(session).id) == ("ready", 1)
    with session_scope(sessions) as session:
        assert expire_builds(session, timedelta(0)) == [], "it may still go live"


@pytest.mark.usefixtures("stock")
@pytest.mark.parametrize("source", ["local-dir:/no/such/place", "local-dir:the live one"])
def test_encoder_that_cannot_be_had_or_is_live_fails_the_build_and_nothing_else(
    builder: Builder,
    sessions: sessionmaker[Session],
    index: VectorIndex,
    source: str,
    tiny_encoder_dir: Path,
    tmp_path: Path,
) -> None:
    directory = Path(source.partition(":")[2])
    if not directory.is_absolute():
        directory = tmp_path / "tiny"
        directory.symlink_to(tiny_encoder_dir)  # the same weights under another path are the same encoder
    number = begin(sessions, directory)
    builder.advance(never)
    made = state(sessions, number)
    assert made.state == "failed"
    assert made.error is not None
    assert made.emptied_at is not None
    assert agree(sessions, index)


def test_rows_that_went_wrong_are_found_and_written_again_before_anybody_sees_them(
    builder: Builder,
    sessions: sessionmaker[Session],
    index: VectorIndex,
    wide_encoder_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    stock: object,
) -> None:
    assert stock
    number = begin(sessions, wide_encoder_dir)
    verify, spoilt = Builder._verify, []

    def spoil(self: Builder, build: IndexBuild, stop: Callable[[], bool]) -> bool:
        if not spoilt:
            with session_scope(sessions) as session:
                name = get_build(session, number).image_collection
            spoilt.extend(sorted(index.keys(name))[:3])
            index.delete_keys(name, spoilt)
        return verify(self, build, stop)

    monkeypatch.setattr(Builder, "_verify", spoil)
    builder.advance(never)
    made = state(sessions, number)
    assert (len(spoilt), made.report["attempts"], made.report["complaints"]) == (3, 2, [])
    with session_scope(sessions) as session:
        assert live_build(session).id == number
    assert agree(sessions, index)


def test_image_that_only_the_new_encoder_cannot_take_stays_in_the_live_build(
    builder: Builder,
    sessions: sessionmaker[Session],
    blobs: BlobStore,
    index: VectorIndex,
    wide_encoder_dir: Path,
    stock: Callable[[int, int], None],
) -> None:
    stock(30, 120)  # one of so many is bearable
    key = blobs.put(picture(7))
    blobs.path(key).unlink()
    number = begin(sessions, wide_encoder_dir)
    builder.advance(never)
    made = state(sessions, number)
    assert (made.state, made.report["refused"], made.report["images"]["recorded"]) == ("ready", 1, 119)
    with session_scope(sessions) as session:
        assert session.scalars(select(Refusal.subject)).one() == key
        assert [compare(session, index, build).agrees for build in writable_builds(session)] == [True, True]
        old = get_build(session, 1)
    assert index.count(old.image_collection) == 120


@pytest.mark.usefixtures("stock")
def test_encoder_that_refuses_too_much_is_not_gone_live_with(
    builder: Builder, sessions: sessionmaker[Session], blobs: BlobStore, index: VectorIndex, wide_encoder_dir: Path
) -> None:
    for n in range(5):
        blobs.path(blobs.put(picture(n))).unlink()
    number = begin(sessions, wide_encoder_dir)
    builder.advance(never)
    made = state(sessions, number)
    assert made.state == "failed"
    assert "refused 5 of 60" in (made.error or "")
    with session_scope(sessions) as session:
        assert live_build(session).id == 1
    assert agree(sessions, index)


def test_build_given_up_in_the_middle_leaves_nothing(
    builder: Builder, sessions: sessionmaker[Session], index: VectorIndex, wide_encoder_dir: Path, stock: object
) -> None:
    assert stock
    number = begin(sessions, wide_encoder_dir)
    builder._do(builder._running(), never)  # type: ignore[arg-type]
    builder._do(builder._running(), never)  # type: ignore[arg-type]
    assert state(sessions, number).step == "backfill"
    with session_scope(sessions) as session:
        made: Build = get_build(session, number)
        drop_build(session, number, window=WINDOW, actor="test")
    assert write_due(sessions, index, made, 10).products == 0, "a writer that began before finds it gone"
    builder.advance(never)
    assert not {*made.collections} & index.collections()
    assert agree(sessions, index)


def test_flip_waits_for_what_was_written_in_its_last_moment(
    builder: Builder,
    sessions: sessionmaker[Session],
    blobs: BlobStore,
    index: VectorIndex,
    tiny_encoder: Encoder,
    wide_encoder_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    stock: object,
) -> None:
    assert stock
    number = begin(sessions, wide_encoder_dir)
    fill, late = Builder._fill, []

    def then_write(self: Builder, build: IndexBuild, stop: Callable[[], bool]) -> object:
        report = fill(self, build, stop)
        if build.step == "promote" and len(late) < 2:  # a price reaches the live build behind the last look
            late.append(build.id)
            with session_scope(sessions) as session:
                session.execute(update(Product).where(Product.id == "p3").values(revision=Product.revision + 1))
            Ingest(sessions, blobs, SafeFetcher(), tiny_encoder, index, FetchLimits(), "off", 16).run_due()
        return report

    monkeypatch.setattr(Builder, "_fill", then_write)
    builder.advance(never)
    assert len(late) == 2
    with session_scope(sessions) as session:
        assert live_build(session).id == number
    assert agree(sessions, index)
