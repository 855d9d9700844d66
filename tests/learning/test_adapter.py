"""From what a shop has, over a real PostgreSQL, to heads that find more and forget nothing; or that are refused."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from backend.catalog.models import Caption, Product, ProductImage
from backend.db import session_scope
from backend.errors import Conflict, NotFound
from backend.generations.models import EncoderRecord, Generation
from backend.generations.promote import go_live
from backend.learning.adapter import TrainedAdapter, keep, train_on_parts
from backend.learning.adapter_data import Gallery, LoggedPairs, read_gallery, read_pairs
from backend.learning.adapter_parts import Parts, parts_of_catalogue, parts_of_file
from backend.learning.pairs_file import PairsFile, PairsUnreadable
from backend.learning.summarizer_data import TooLittleToLearn
from backend.ml.adapter_plan import AdapterPlan
from backend.ml.encoder import Encoder
from backend.ml.head_files import load_item_heads, load_query_heads
from tests.learning.shop import PlantedShop

SHOP = PlantedShop(400)
PLAN = AdapterPlan(which="text", epochs=10, batch=64, rate=1e-2, hidden=32, patience=10, dropout=0.0, scale=14.0)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def gallery(sessions: sessionmaker[Session], tiny_encoder: Encoder, encoder: EncoderRecord, tmp_path: Path) -> Gallery:
    SHOP.stock(sessions, tiny_encoder)
    return read_gallery(sessions, encoder, tmp_path, 1000, lambda *_: None)


def told(sessions: sessionmaker[Session], gallery: Gallery, path: Path) -> LoggedPairs:
    return read_pairs(sessions, gallery, PairsFile(path), SHOP.encode, path.parent, lambda *_: None)


def pairs_file(path: Path) -> Path:
    """Half of the lines name the id, half the SKU, in other letters."""
    names = [f"p{row}" if row % 2 else f"sku-{row}" for row in range(SHOP.count)]
    path.write_text("query,product\n" + "".join(f"the one called {row},{name}\n" for row, name in enumerate(names)))
    return path


def trained(parts: Parts, tiny_encoder: Encoder, plan: AdapterPlan = PLAN) -> TrainedAdapter:
    return train_on_parts(parts, tiny_encoder.id, [plan], data_range={"source": "test"})


def products_of(parts: Parts, name: str) -> set[int]:
    return set(getattr(parts, name).products.tolist())


def test_what_shoppers_say_is_learned_nothing_is_forgotten_and_a_generation_comes_of_it(
    sessions: sessionmaker[Session], tiny_encoder: Encoder, gallery: Gallery, tmp_path: Path
) -> None:
    logged = told(sessions, gallery, pairs_file(tmp_path / "pairs.csv"))
    assert (len(logged.texts.products), logged.left_out) == (SHOP.count, ())
    parts = parts_of_file(gallery, logged.texts, seed=1)
    assert [len(one) for one in (parts.training, parts.validation, parts.judged)] == [320, 40, 40]
    assert products_of(parts, "training").isdisjoint(products_of(parts, "judged") | products_of(parts, "validation"))
    assert products_of(parts, "judged").isdisjoint(products_of(parts, "validation"))
    assert products_of(parts, "remembered") == products_of(parts, "judged")
    assert parts.replay is not None
    assert products_of(parts, "replay") == products_of(parts, "training")
    result = trained(parts, tiny_encoder)
    assert result.gate.recall_at_10.interval.low > 0.3
    assert result.gate.retention.least >= 0.98
    assert result.gate.reasons == ()
    assert result.item_heads is None
    assert result.drift.remembered < 0.3 * result.drift.learned
    assert result.drift.pictures == 0
    with session_scope(sessions) as session:
        number = keep(session, tiny_encoder.id, result, promote=False, actor="test")
        made = session.get_one(Generation, number)
        assert made.state == "ready"
        assert made.query_heads == result.query_heads
        assert made.gate_report["adapter"]["passed"]
        assert made.data_range["pairs"] == 320
        assert json.loads(json.dumps(made.gate_report))["adapter"]["plan"]["which"] == "text"
    assert load_query_heads(result.query_heads, tiny_encoder.id).image is None


def test_both_towers_are_trained_for_a_build_of_their_own(
    sessions: sessionmaker[Session], tiny_encoder: Encoder, gallery: Gallery, tmp_path: Path
) -> None:
    parts = parts_of_file(gallery, told(sessions, gallery, pairs_file(tmp_path / "pairs.csv")).texts, seed=1)
    result = trained(parts, tiny_encoder, replace(PLAN, which="both", epochs=2))
    assert result.item_heads is not None
    query, item = (
        load_query_heads(result.query_heads, tiny_encoder.id),
        load_item_heads(result.item_heads, tiny_encoder.id),
    )
    vectors = SHOP.pictures[:5]
    assert query.image is not None
    assert item.image is not None
    assert item.caption is not None
    assert query.text is not None
    assert (query.image(vectors) == item.image(vectors)).all()
    assert (query.text(vectors) == item.caption(vectors)).all()


def test_pairs_that_say_nothing_are_refused_and_never_go_live(
    sessions: sessionmaker[Session], tiny_encoder: Encoder, gallery: Gallery, tmp_path: Path
) -> None:
    shuffled = np.random.default_rng(1).permutation(SHOP.count)
    lines = "".join(f"the one called {said},p{row}\n" for row, said in enumerate(shuffled))
    path = tmp_path / "pairs.csv"
    path.write_text("text,product_id\n" + lines)
    parts = parts_of_file(gallery, told(sessions, gallery, path).texts, seed=1)
    result = trained(parts, tiny_encoder)
    assert not result.gate.passed
    assert result.gate.reasons
    with session_scope(sessions) as session:
        number = keep(session, tiny_encoder.id, result, promote=True, actor="test")
        assert session.get_one(Generation, number).state == "rejected"
    with pytest.raises(Conflict), session_scope(sessions) as session:
        go_live(session, number, actor="test")


def test_what_the_encoder_changed_under_is_not_kept(
    sessions: sessionmaker[Session], tiny_encoder: Encoder, gallery: Gallery
) -> None:
    result = trained(parts_of_catalogue(gallery, 1), tiny_encoder, replace(PLAN, epochs=1))
    with pytest.raises(Conflict, match="encoder changed"), session_scope(sessions) as session:
        keep(session, "another@0", result, promote=False, actor="test")


def test_the_same_catalogue_and_seed_give_the_same_heads(tiny_encoder: Encoder, gallery: Gallery) -> None:
    plan = replace(PLAN, epochs=1)
    first, again = (trained(parts_of_catalogue(gallery, 1), tiny_encoder, plan) for _ in range(2))
    assert first.query_heads == again.query_heads


def test_titles_are_held_back_from_a_catalogue_that_has_other_captions(gallery: Gallery) -> None:
    parts = parts_of_catalogue(gallery, 1)
    assert (parts.retention_of, parts.replay) == ("titles", None)
    assert (len(parts.training), len(parts.remembered)) == (320, 40)
    titled = gallery.sources.index("title")
    assert (gallery.texts.mark_of[parts.training.rows] != titled).all()
    assert (gallery.texts.mark_of[parts.remembered.rows] == titled).all()
    assert products_of(parts, "remembered") == products_of(parts, "judged")


def test_a_catalogue_of_titles_alone_remembers_its_own(
    sessions: sessionmaker[Session], gallery: Gallery, encoder: EncoderRecord, tmp_path: Path
) -> None:
    assert gallery
    with session_scope(sessions) as session:
        session.query(Caption).filter_by(source="given").delete()
    alone = read_gallery(sessions, encoder, _new(tmp_path), 1000, lambda *_: None)
    parts = parts_of_catalogue(alone, 1)
    assert parts.retention_of == "own"
    assert (parts.remembered.rows == parts.judged.rows).all()


def test_what_cannot_be_learned_from_is_left_out_of_the_catalogue(
    sessions: sessionmaker[Session], gallery: Gallery, encoder: EncoderRecord, tmp_path: Path
) -> None:
    assert (len(gallery.pictures.products), len(gallery.texts.products), gallery.shared, gallery.bare) == (
        400,
        800,
        0,
        0,
    )
    with session_scope(sessions) as session:
        first, second, third = session.query(Product.number).order_by(Product.number).limit(3)
        session.execute(
            update(Caption).where(Caption.product == second[0], Caption.source == "given").values(text_hash="caption0")
        )
        session.execute(update(ProductImage).where(ProductImage.product == third[0]).values(state="parked"))
    told = list[tuple[str, int, int]]()
    read = read_gallery(sessions, encoder, _new(tmp_path), 1000, lambda *one: told.append(one))
    assert (len(read.pictures.products), len(read.texts.products), read.shared, read.bare) == (399, 796, 2, 2)
    assert {what for what, _, _ in told} == {"Pictures", "Captions"}
    rows = read.pairs(read.texts)
    near = np.einsum("nd,nd->n", rows.texts, rows.images[rows.image_of])
    assert near.min() > 0.5  # each with the picture of its own product
    assert first[0] in set(read.texts.products)
    with pytest.raises(TooLittleToLearn, match="too small"):
        read_gallery(sessions, encoder, _new(tmp_path), 99, lambda *_: None)


def test_lines_that_are_wrong_are_listed_with_their_numbers(
    sessions: sessionmaker[Session], gallery: Gallery, tmp_path: Path
) -> None:
    path = tmp_path / "pairs.jsonl"
    rows: list[object] = [
        {"text": "the one called 3", "product": "p3"},
        {"text": "the one called 4", "sku": "SKU-4"},
        {"text": "", "product": "p3"},
        {"text": "the one called 5"},
        {"text": "the one called 6", "product": "nothing"},
        {"text": 7, "product": "p7"},
        {"text": "x" * 3000 + " 8", "product": "p8"},
        ["no object"],
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n{broken\n")
    logged = told(sessions, gallery, path)
    assert list(logged.texts.marks) == [1, 2]
    assert [one.line for one in logged.left_out] == [3, 4, 5, 6, 7, 8, 9]
    reasons = " / ".join(one.reason for one in logged.left_out)
    for part in ("no text under text or query", "no text under product", "'nothing'", "3,002 letters", "a JSON object"):
        assert part in reasons
    with pytest.raises(TooLittleToLearn):
        parts_of_file(gallery, logged.texts, seed=1)


def test_a_file_without_the_columns_or_no_file_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(PairsUnreadable, match="lacks a column"):
        PairsFile(path)
    with pytest.raises(NotFound):
        PairsFile(tmp_path / "none.csv")


def _new(tmp_path: Path) -> Path:
    """A folder of its own."""
    folder = tmp_path / f"again{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    return folder
