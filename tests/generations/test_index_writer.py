from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from backend.catalog.models import Caption, Product, ProductImage
from backend.catalog.repository import delete_product
from backend.db import session_scope
from backend.generations import index_writer
from backend.generations.audit import compare
from backend.generations.features import EmbedStage
from backend.generations.index_writer import Written, write_due
from backend.generations.models import IndexRow
from backend.generations.repository import Build
from backend.ml.encoder import Encoder
from backend.vector_index import IndexUnavailable, VectorIndex
from tests.generations.conftest import Shop, picture


class Crash(Exception):
    """Stands for the death of the process at this point."""


@pytest.fixture
def embed(sessions: sessionmaker[Session], shop: Shop, tiny_encoder: Encoder, build: Build) -> Callable[[], None]:
    def run() -> None:
        stage = EmbedStage(sessions, shop.blobs, tiny_encoder, tokens="off", batch=8, max_pixels=10**6)
        stage.run([build], more=lambda: False, stop=lambda: False, on_stored=lambda _: None)

    return run


@pytest.fixture
def write(sessions: sessionmaker[Session], index: VectorIndex, build: Build) -> Callable[[], Written]:
    return lambda: write_due(sessions, index, build, 100)


@pytest.fixture
def agree(sessions: sessionmaker[Session], index: VectorIndex, build: Build) -> Callable[[], None]:
    def check() -> None:
        with session_scope(sessions) as session:
            report = compare(session, index, build)
        assert report.agrees, report

    return check


def test_write_puts_a_row_an_image_and_caption_with_the_products_scalars(
    shop: Shop,
    index: VectorIndex,
    build: Build,
    embed: Callable[[], None],
    write: Callable[[], Written],
    session: Session,
) -> None:
    number = shop.put("p", pictures=(picture(1), picture(2)), price=12.5, brand="Fable", availability="preorder")
    embed()
    assert write() == Written(products=1, rows=3)
    keys = list(session.scalars(select(ProductImage.id).where(ProductImage.product == number)))
    rows = index.fetch(build.image_collection, keys)
    assert set(rows) == set(keys)
    product = session.get_one(Product, number)
    for row in rows.values():
        assert (row.product, row.in_stock, row.price, row.tags) == (number, True, 12.5, tuple(sorted(product.tags)))
    held = session.get_one(IndexRow, (build.id, number))
    assert (held.revision, sorted(held.image_keys)) == (product.revision, sorted(keys))


def test_write_twice_writes_nothing_the_second_time(
    shop: Shop, embed: Callable[[], None], write: Callable[[], Written]
) -> None:
    shop.put("p", pictures=(picture(1),))
    embed()
    assert write().products == 1
    assert write() == Written()


def test_product_waits_while_the_encoder_has_not_seen_its_picture(
    shop: Shop, embed: Callable[[], None], write: Callable[[], Written]
) -> None:
    shop.put("p", pictures=(picture(1),))
    assert write() == Written()
    embed()
    assert write().rows == 2


def test_product_with_a_pending_picture_is_found_by_its_caption_first(
    shop: Shop, embed: Callable[[], None], write: Callable[[], Written], sessions: sessionmaker[Session]
) -> None:
    number = shop.put("p", pictures=(picture(1),))
    with session_scope(sessions) as session:
        session.execute(update(ProductImage).values(state="pending"))
    embed()
    assert write().rows == 1
    with session_scope(sessions) as session:
        session.execute(update(ProductImage).values(state="ready"))
        session.execute(update(Product).where(Product.number == number).values(revision=Product.revision + 1))
    embed()
    assert write().rows == 2


def test_sold_out_and_repriced_product_changes_its_scalars_and_keeps_its_vectors(
    shop: Shop,
    index: VectorIndex,
    build: Build,
    embed: Callable[[], None],
    write: Callable[[], Written],
    session: Session,
) -> None:
    shop.put("p", pictures=(picture(1),), price=10, availability="in_stock")
    embed()
    write()
    (key,) = session.scalars(select(ProductImage.id))
    before = index.fetch(build.image_collection, [key])[key]
    shop.put("p", pictures=(picture(1),), price=9, availability="out_of_stock")
    write()
    after = index.fetch(build.image_collection, [key])[key]
    assert (after.in_stock, after.price) == (False, 9.0)
    assert (after.vector == before.vector).all()


def test_removed_picture_leaves_the_index(
    shop: Shop,
    index: VectorIndex,
    build: Build,
    embed: Callable[[], None],
    write: Callable[[], Written],
    agree: Callable[[], None],
) -> None:
    shop.put("p", pictures=(picture(1), picture(2)))
    embed()
    write()
    shop.put("p", pictures=(picture(2),))
    write()
    assert index.count(build.image_collection) == 1
    agree()


def test_deleted_product_leaves_both_collections(
    shop: Shop,
    index: VectorIndex,
    build: Build,
    embed: Callable[[], None],
    write: Callable[[], Written],
    sessions: sessionmaker[Session],
) -> None:
    shop.put("p", pictures=(picture(1),))
    embed()
    write()
    with session_scope(sessions) as session:
        delete_product(session, "p")
    assert write() == Written(products=1, removed=1)
    assert index.keys(build.image_collection) | index.keys(build.caption_collection) == set()
    assert write() == Written()


def test_freshest_product_is_written_first(
    shop: Shop, embed: Callable[[], None], sessions: sessionmaker[Session], index: VectorIndex, build: Build
) -> None:
    for name in ("a", "b", "c"):
        shop.put(name)
    shop.put("a", price=3)  # touched last
    embed()
    write_due(sessions, index, build, 1)
    with session_scope(sessions) as session:
        written = session.scalars(select(Product.id).join(IndexRow, IndexRow.product == Product.number)).all()
    assert written == ["a"]


@pytest.mark.parametrize("step", ["_upsert", "_delete_gone", "_record", "_forget"])
def test_crash_at_a_step_is_repaired_by_the_next_write(
    step: str,
    shop: Shop,
    embed: Callable[[], None],
    write: Callable[[], Written],
    agree: Callable[[], None],
    sessions: sessionmaker[Session],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the upsert, after it, after the deletion, before the commit: the same end."""
    shop.put("kept", pictures=(picture(1), picture(2)))
    shop.put("gone", pictures=(picture(3),))
    embed()
    write()
    shop.put("kept", pictures=(picture(2), picture(4)), price=5)
    with session_scope(sessions) as session:
        delete_product(session, "gone")
    embed()
    _crash_at(step, monkeypatch)
    with pytest.raises(Crash):
        write()
    monkeypatch.undo()
    assert write().products == 2
    agree()


@pytest.mark.parametrize("after", ["_upsert", "_delete_gone"])
def test_rows_written_before_a_crash_are_removed_when_their_picture_goes_before_the_retry(
    after: str,
    shop: Shop,
    embed: Callable[[], None],
    write: Callable[[], Written],
    agree: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The key was in Milvus and in no committed record of a finished write: only the intent knows it."""
    shop.put("p", pictures=(picture(1),))
    embed()
    steps = {"_upsert": "_delete_gone", "_delete_gone": "_forget"}
    _crash_at(steps[after], monkeypatch)
    with pytest.raises(Crash):
        write()
    monkeypatch.undo()
    shop.put("p", pictures=(picture(2),))
    embed()
    write()
    agree()


def test_milvus_down_leaves_the_product_due(
    shop: Shop, embed: Callable[[], None], sessions: sessionmaker[Session], index: VectorIndex, build: Build
) -> None:
    shop.put("p", pictures=(picture(1),))
    embed()
    with pytest.raises(IndexUnavailable):
        write_due(sessions, VectorIndex("http://127.0.0.1:9"), build, 10)
    assert write_due(sessions, index, build, 10).products == 1


def test_writer_whose_lock_was_lost_leaves_its_products_due(
    shop: Shop,
    embed: Callable[[], None],
    write: Callable[[], Written],
    agree: Callable[[], None],
    sessions: sessionmaker[Session],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its connection breaks behind the upsert; what it wrote may be older than what another recorded meanwhile."""
    shop.put("p", pictures=(picture(1),))
    embed()
    upsert = index_writer._upsert

    def break_connection(*arguments: object) -> int:
        rows = upsert(*arguments)  # type: ignore[arg-type]
        with session_scope(sessions) as session:
            session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND state = 'idle in transaction'"
                )
            )
        return rows

    monkeypatch.setattr(index_writer, "_upsert", break_connection)
    with pytest.raises(Exception, match=r"terminat|closed"):
        write()
    monkeypatch.undo()
    assert write().products == 1
    agree()


def test_audit_names_what_disagrees(
    shop: Shop,
    embed: Callable[[], None],
    write: Callable[[], Written],
    sessions: sessionmaker[Session],
    index: VectorIndex,
    build: Build,
) -> None:
    for name in ("a", "b", "c", "d", "e"):
        shop.put(name, pictures=(picture(ord(name)),), price=4)
    embed()
    write()
    with session_scope(sessions) as session:
        image = {product: key for key, product in session.execute(select(ProductImage.id, ProductImage.product))}
        numbers: Sequence[int] = session.scalars(select(Product.number).order_by(Product.number)).all()
        a, b, c, d, e = numbers
        rows = index.fetch(build.image_collection, list(image.values()))
        index.delete_keys(build.image_collection, [image[a]])
        index.upsert(build.image_collection, [_changed(rows[image[b]], price=1.0)])
        index.upsert(build.image_collection, [_changed(rows[image[c]], vector=-rows[image[c]].vector)])
        index.upsert(build.image_collection, [_changed(rows[image[d]], key=10**6)])
        session.execute(update(Product).where(Product.number == e).values(revision=99))
    with session_scope(sessions) as session:
        report = compare(session, index, build)
    assert not report.agrees
    assert report.products == 5
    assert report.missing_rows == [image[a]]
    assert report.extra_rows == [10**6]
    assert report.wrong_scalars == [image[b]]
    assert report.wrong_vectors == [image[c]]
    assert report.stale == [e]


def test_audit_of_captions_and_records(
    shop: Shop,
    embed: Callable[[], None],
    write: Callable[[], Written],
    sessions: sessionmaker[Session],
    index: VectorIndex,
    build: Build,
) -> None:
    a, b, c = (shop.put(name) for name in ("a", "b", "c"))
    embed()
    write()
    with session_scope(sessions) as session:
        session.execute(delete(IndexRow).where(IndexRow.product == a))
        session.execute(update(IndexRow).where(IndexRow.product == b).values(caption_keys=[]))
        session.execute(delete(Caption).where(Caption.product == c))
    with session_scope(sessions) as session:
        report = compare(session, index, build)
    assert report.unwritten == [a]
    assert report.wrong_keys == [b, c]


def _changed(row: object, **fields: object) -> object:
    from dataclasses import replace

    return replace(row, **fields)  # type: ignore[type-var]


def _crash_at(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = getattr(index_writer, step)
    calls = []

    def crash(*arguments: object) -> object:
        calls.append(step)
        # _record runs for the intent first; the crash meant is the one before the commit
        if step == "_record" and len(calls) == 1:
            return real(*arguments)
        raise Crash

    monkeypatch.setattr(index_writer, step, crash)
