"""Products keep their newest state, whatever order and number of times they are sent in."""

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore, content_hash
from backend.catalog.models import Caption, Product, ProductImage, Variant
from backend.catalog.reads import get_product
from backend.catalog.repository import delete_product, delete_products, upsert_products
from backend.catalog.schemas import ProductIn, Verdict

DAY = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def product(**changes: Any) -> ProductIn:
    sent = {
        "id": "p1",
        "title": "Toy, Polyester",
        "description": "A soft friend for the sofa.",
        "brand": "Fable",
        "category": "Toys > Plush",
        "price": 12.5,
        "currency": "eur",
        "attributes": {"material": ["cotton"], "washable": True},
        "variants": [{"sku": "FAB-1"}, {"sku": "FAB-2", "attributes": {"size": "L"}}],
        "images": ["https://shop.example/1.jpg", "https://shop.example/2.jpg"],
        "captions": ["a small orange plush toy"],
        "updated_at": DAY.isoformat(),
    }
    return ProductIn.model_validate(sent | changes)


def put(session: Session, blobs: BlobStore, *products: ProductIn) -> list[str]:
    verdicts = upsert_products(session, products, blobs=blobs)
    session.commit()
    return [verdict.status for verdict in verdicts]


def test_upsert_when_new_keeps_everything_that_was_sent(session: Session, blobs: BlobStore) -> None:
    assert put(session, blobs, product()) == ["created"]
    kept = get_product(session, "p1")
    assert kept is not None
    assert (kept.title, kept.brand, kept.category, kept.price, kept.currency) == (
        "Toy, Polyester",
        "Fable",
        ["Toys", "Plush"],
        12.5,
        "EUR",
    )
    assert [variant.sku for variant in kept.variants] == ["FAB-1", "FAB-2"]
    assert [(image.source, image.state) for image in kept.images] == [
        ("https://shop.example/1.jpg", "pending"),
        ("https://shop.example/2.jpg", "pending"),
    ]
    captions = session.execute(select(Caption.source, Caption.text, Caption.text_hash).order_by(Caption.id)).all()
    assert [(c.source, c.text) for c in captions] == [
        ("title", "Toy, Polyester"),
        ("description", "A soft friend for the sofa."),
        ("given", "a small orange plush toy"),
    ]
    assert captions[0].text_hash == content_hash(b"Toy, Polyester")


def test_upsert_when_the_content_is_the_same_changes_no_revision(session: Session, blobs: BlobStore) -> None:
    put(session, blobs, product())
    assert put(session, blobs, product(updated_at=(DAY + timedelta(days=1)).isoformat())) == ["unchanged"]
    kept = session.scalars(select(Product)).one()
    assert kept.revision == 1
    assert kept.updated_at == DAY + timedelta(days=1)  # so that an older write arriving now is stale
    assert put(session, blobs, product(title="Old", updated_at=(DAY + timedelta(hours=1)).isoformat())) == ["stale"]


@pytest.mark.parametrize(
    "change",
    [
        {"price": 9.99},
        {"availability": "out_of_stock"},
        {"variants": [{"sku": "FAB-1", "availability": "out_of_stock"}]},
        {"attributes": {"material": ["cotton"], "washable": 1}},  # 1 is not true
    ],
)
def test_upsert_when_price_or_stock_changes_touches_no_image_and_no_caption(
    session: Session, blobs: BlobStore, change: dict[str, Any]
) -> None:
    put(session, blobs, product())
    session.execute(text("UPDATE product_images SET state = 'ready', content_hash = repeat('a', 64) WHERE position=0"))
    session.commit()
    before = _rows(session)
    assert put(session, blobs, product(**change)) == ["updated"]
    assert _rows(session) == before
    assert session.scalar(select(Product.revision)) == 2


def _rows(session: Session) -> tuple[Sequence[Any], Sequence[Any]]:
    """Every image and caption row, with the transaction that wrote it: an untouched row keeps it."""
    images = session.execute(text("SELECT xmin::text, * FROM product_images ORDER BY id")).all()
    captions = session.execute(text("SELECT xmin::text, * FROM captions ORDER BY id")).all()
    return images, captions


def test_upsert_when_images_change_keeps_the_rows_that_stay(session: Session, blobs: BlobStore) -> None:
    put(session, blobs, product())
    before = {i.source: i.id for i in session.scalars(select(ProductImage))}
    new = ["https://shop.example/2.jpg", "https://shop.example/3.jpg", "https://shop.example/2.jpg"]
    assert put(session, blobs, product(images=new)) == ["updated"]
    session.expire_all()
    after = session.scalars(select(ProductImage).order_by(ProductImage.position)).all()
    assert [i.source for i in after] == new[:2]
    assert after[0].id == before["https://shop.example/2.jpg"]


def test_upsert_when_captions_were_generated_leaves_those_alone(session: Session, blobs: BlobStore) -> None:
    put(session, blobs, product())
    number = session.scalars(select(Product.number)).one()
    session.add(Caption(product=number, source="captioner-1", text="machine made", text_hash="f" * 64))
    session.commit()
    put(session, blobs, product(title="Toy, Wool", captions=[]))
    left = session.execute(select(Caption.source, Caption.text).order_by(Caption.source)).all()
    assert [tuple(row) for row in left] == [
        ("captioner-1", "machine made"),
        ("description", "A soft friend for the sofa."),
        ("title", "Toy, Wool"),
    ]


def test_words_hold_the_merchants_words_and_no_caption(session: Session, blobs: BlobStore) -> None:
    put(session, blobs, product(captions=["zebra striped"]))
    words = session.scalars(select(Product.words)).one()
    for expected in ("Toy, Polyester", "Fable", "Plush", "cotton", "FAB-2", "L", "soft friend"):
        assert expected in words
    assert "zebra" not in words
    assert (
        session.scalar(text("SELECT count(*) FROM products WHERE lexemes @@ to_tsquery('english', 'polyester')")) == 1
    )


def test_description_becomes_a_caption_cut_at_a_sentence(session: Session, blobs: BlobStore) -> None:
    put(session, blobs, product(description="First sentence about it. " * 30))
    caption = session.scalars(select(Caption.text).where(Caption.source == "description")).one()
    assert len(caption) <= 300
    assert caption.endswith("about it.")


def test_upsert_when_older_than_kept_is_stale(session: Session, blobs: BlobStore) -> None:
    put(session, blobs, product())
    verdict = upsert_products(session, [product(title="Late", updated_at="2026-02-01T00:00:00Z")], blobs=blobs)[0]
    assert verdict.status == "stale"
    assert "2026-02-01" in str(verdict.detail)
    assert "2026-03-01" in str(verdict.detail)


def test_upsert_when_the_clock_is_far_ahead_is_rejected(session: Session, blobs: BlobStore) -> None:
    """A time years ahead would make every later update stale, for ever."""
    assert put(session, blobs, product(updated_at="2999-01-01T00:00:00Z")) == ["rejected"]
    assert session.scalar(select(func.count()).select_from(Product)) == 0


def test_upsert_when_it_names_too_many_values_is_rejected(session: Session, blobs: BlobStore) -> None:
    wide = {f"a{i}": [f"v{j}" for j in range(250)] for i in range(5)}
    assert put(session, blobs, product(attributes=wide), product(id="p2")) == ["rejected", "created"]


def test_upsert_when_one_batch_repeats_a_product_writes_it_in_turn(session: Session, blobs: BlobStore) -> None:
    later = (DAY + timedelta(days=1)).isoformat()
    statuses = put(session, blobs, product(), product(title="B", updated_at=later), product(), product(id="p2"))
    assert statuses == ["created", "updated", "stale", "created"]


def test_inline_image_is_kept_as_a_blob(session: Session, blobs: BlobStore) -> None:
    put(session, blobs, product(images=[{"data": base64.b64encode(b"bytes").decode()}]))
    assert session.scalars(select(ProductImage.source)).one() == f"blob:{content_hash(b'bytes')}"
    assert blobs.get(content_hash(b"bytes")) == b"bytes"


def test_delete_leaves_a_tombstone_that_only_a_newer_write_revives(session: Session, blobs: BlobStore) -> None:
    put(session, blobs, product())
    rows = _rows(session)
    assert delete_product(session, "p1", DAY + timedelta(days=2)).status == "deleted"
    assert get_product(session, "p1") is None
    assert session.scalar(select(Product.revision)) == 2
    assert put(session, blobs, product(updated_at=(DAY + timedelta(days=1)).isoformat())) == ["stale"]
    assert put(session, blobs, product(updated_at=(DAY + timedelta(days=2)).isoformat())) == ["stale"]
    assert put(session, blobs, product(updated_at=(DAY + timedelta(days=3)).isoformat())) == ["created"]
    assert get_product(session, "p1") is not None
    assert _rows(session) == rows  # images and captions were embedded already


def test_delete_when_older_than_kept_is_stale(session: Session, blobs: BlobStore) -> None:
    put(session, blobs, product())
    assert delete_product(session, "p1", DAY - timedelta(days=1)).status == "stale"
    assert get_product(session, "p1") is not None


def test_delete_of_an_unknown_product(session: Session, blobs: BlobStore) -> None:
    assert delete_product(session, "nobody").status == "missing"
    assert delete_product(session, "p1", DAY + timedelta(days=1)).status == "deleted"
    assert put(session, blobs, product()) == ["stale"]  # its creation arrived after its deletion
    assert get_product(session, "p1") is None


def test_delete_twice_keeps_the_later_time(session: Session, blobs: BlobStore) -> None:
    put(session, blobs, product())
    delete_product(session, "p1", DAY + timedelta(days=1))
    assert delete_product(session, "p1", DAY + timedelta(days=3)).status == "unchanged"
    assert put(session, blobs, product(updated_at=(DAY + timedelta(days=2)).isoformat())) == ["stale"]


def test_writers_of_the_same_products_neither_deadlock_nor_lose(
    sessions: sessionmaker[Session], blobs: BlobStore
) -> None:
    """Four writers send the same hundred products in different orders; the newest one stays."""

    def write(day: int) -> None:
        at = (DAY + timedelta(days=day)).isoformat()
        products = [product(id=f"p{i}", title=f"day {day}", updated_at=at) for i in range(100)]
        with sessions() as session, session.begin():
            upsert_products(session, products if day % 2 else products[::-1], blobs=blobs)

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write, range(4)))
    with sessions() as session:
        assert session.execute(select(Product.title, func.count()).group_by(Product.title)).all() == [("day 3", 100)]


Write = tuple[str, int, str]  # product, hour, title or "" for a deletion
WRITES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 8), st.sampled_from(["", "x", "y", "z"])), max_size=14
)


@given(writes=WRITES, order=st.randoms(use_true_random=False))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_writes_in_any_order_and_repetition_end_in_the_same_state(
    writes: list[Write], order: Any, session: Session, blobs: BlobStore
) -> None:
    """The newest write of a product decides, and a shop's clock names one write a product and hour."""
    expected = {}
    for name, hour, title in writes:
        writes_of_hour = [w for w in writes if w[:2] == (name, hour)]
        if writes_of_hour[0][2] == title:
            expected[name, hour] = title
    once = [(name, hour, title) for (name, hour), title in expected.items()]
    newest = {name: max((w for w in once if w[0] == name), key=lambda w: w[1])[2] for name, _, _ in once}
    sent = [*once, *once]
    order.shuffle(sent)

    session.execute(text("TRUNCATE products CASCADE"))
    for name, hour, title in sent:
        _send(session, blobs, name, hour, title)
    alive = dict(session.execute(select(Product.id, Product.title).where(Product.deleted_at.is_(None))).all())
    assert alive == {name: title for name, title in newest.items() if title}
    assert session.scalar(select(func.count()).select_from(Variant)) <= len(newest) * 2
    session.commit()


def _send(session: Session, blobs: BlobStore, name: str, hour: int, title: str) -> Verdict:
    at = DAY + timedelta(hours=hour)
    if not title:
        return delete_product(session, name, at)
    return upsert_products(session, [product(id=name, title=title, updated_at=at.isoformat())], blobs=blobs)[0]


def test_delete_products_gives_a_verdict_each(session: Session, blobs: BlobStore) -> None:
    put(session, blobs, product(), product(id="p2"))
    verdicts = delete_products(session, ["p2", "p9"])
    assert [(v.id, v.status) for v in verdicts] == [("p2", "deleted"), ("p9", "missing")]
