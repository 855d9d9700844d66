"""The live catalogue as a benchmark: the one score, and a caption that asks is hidden from its own query."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from backend.blobs import BlobStore
from backend.cli import app
from backend.evaluation.benchmark import NothingToEvaluate
from backend.evaluation.catalogue import Catalogue, CatalogueBenchmark, CatalogueQuery, read_catalogue
from backend.evaluation.catalogue_queries import caption_queries, read_queries
from backend.evaluation.datasets import DatasetUnreadable
from backend.generations.serving import Serving
from backend.ml.encoder import Encoder
from backend.ml.feedback.inputs import Query
from backend.ml.heads import Head, ItemHeads, QueryHeads
from backend.ml.scoring import Calibration
from backend.search.refinement.features import ProductVectors
from backend.settings import Settings

E = np.eye(4, dtype=np.float32)
NONE = np.empty((0, 4), np.float32)


def between(one: int, other: int) -> np.ndarray:
    return np.asarray((E[one] + E[other]) / np.sqrt(2), dtype=np.float32)


@pytest.fixture
def catalogue() -> Catalogue:
    """Three products: two pictures and two captions, one of each, and a picture alone."""
    products = [
        ProductVectors(10, np.stack([E[0], E[1]]), np.stack([E[0], between(0, 2)]), ["i0", "i1"], ["t0", "t1"]),
        ProductVectors(11, E[2][None], between(0, 1)[None], ["i2"], ["t2"]),
        ProductVectors(12, E[3][None], NONE, ["i3"], []),
    ]
    serving = Serving(
        1, 1, "encoder", "0" * 64, 4, "images", "captions", QueryHeads(), ItemHeads(), Calibration(caption_weight=1.0)
    )
    places = {"a": 0, "b": 1, "c": 2}
    return Catalogue(serving, products, list(places), ["A", "B", "C"], lambda _: {}, BlobStore(Path()), None, places)


def test_scores_are_the_one_score_and_the_asking_caption_is_hidden(catalogue: Catalogue) -> None:
    benchmark = CatalogueBenchmark(catalogue, [CatalogueQuery("t0", E[0], np.array([0]))])
    scores = benchmark.scores(np.array([0]), E[0][None], E[0][None])[0]
    half = np.sqrt(0.5)
    # image + caption; the caption that is the query itself counts nowhere, a product without captions has the mean's: 0
    np.testing.assert_allclose(scores, [1 + half, half, 0], atol=1e-6)
    shown = benchmark.items(0, np.array([0, 1, 2]), Query(E[1], E[0]))
    np.testing.assert_array_equal(shown.images, [E[1], E[2], E[3]])
    np.testing.assert_allclose(shown.captions[:2], [between(0, 2), between(0, 1)])
    assert np.isnan(shown.captions[2]).all()


def test_behind_heads_queries_ask_through_theirs_and_the_asking_caption_is_hidden_all_the_same(
    catalogue: Catalogue,
) -> None:
    """Captions lie behind one head and words behind another, so the caption that asks is no cosine of 1 away."""
    words, written = head(1), head(2)
    products = [replace(one, captions=written(one.captions)) for one in catalogue.products]
    serving = replace(catalogue.serving, query_heads=QueryHeads(text=words), item_heads=ItemHeads(caption=written))
    asked = CatalogueQuery("t0", E[0], np.array([0]), more=E[1][None])
    benchmark = CatalogueBenchmark(replace(catalogue, products=products, serving=serving), [asked])
    query = words(E[0][None])
    np.testing.assert_array_equal(benchmark.starts, query)
    scores = benchmark.scores(np.array([0]), query, query)[0]
    # of the first product's captions the second one is left
    expected = [max(query[0, 0], query[0, 1]) + (written(between(0, 2)[None]) @ query[0])[0]]
    expected.append(query[0, 2] + (written(between(0, 1)[None]) @ query[0])[0])
    np.testing.assert_allclose(scores[:2], expected, atol=1e-6)
    assert len(benchmark.items(0, np.array([0]), Query(query[0], query[0])).captions) == 1
    np.testing.assert_array_equal(benchmark.words(0, 0), words(E[1][None])[0])


def head(seed: int) -> Head:
    rng = np.random.default_rng(seed)
    shapes = ((4,), (4,), (3, 4), (3,), (4, 3))
    return Head(*(rng.standard_normal(shape).astype(np.float32) for shape in shapes))


def test_further_words_are_drawn_from_those_given(catalogue: Catalogue) -> None:
    more = np.stack([E[1], E[2]])
    benchmark = CatalogueBenchmark(catalogue, [CatalogueQuery("t0", E[0], np.array([0]), more=more)])
    drawn = np.stack([benchmark.words(0, turn) for turn in range(10)])
    assert {int(row.argmax()) for row in drawn} == {1, 2}
    assert CatalogueBenchmark(catalogue, [CatalogueQuery("t0", E[0], np.array([0]))]).words(0, 0) is None


def test_a_catalogue_without_queries_says_so(catalogue: Catalogue) -> None:
    with pytest.raises(NothingToEvaluate):
        CatalogueBenchmark(catalogue, [])
    with pytest.raises(NothingToEvaluate):
        CatalogueBenchmark(replace(catalogue, products=[]), [CatalogueQuery("t0", E[0], np.array([0]))])


def test_queries_of_a_file_name_products_and_unknown_ones_are_left_out(
    catalogue: Catalogue, tiny_encoder: Encoder, tmp_path: Path
) -> None:
    path = tmp_path / "asked.jsonl"
    path.write_text(
        '{"query": "a red thing", "products": ["b", "gone"], "more": ["round"]}\n{"query": "x", "products": ["gone"]}\n'
    )
    (found,) = read_queries(path, catalogue, tiny_encoder)
    assert found.targets.tolist() == [1]
    assert found.more is not None
    path.write_text('{"query": "x"}')
    with pytest.raises(DatasetUnreadable):
        read_queries(path, catalogue, tiny_encoder)


def test_the_command_measures_the_catalogue_that_is_live(
    stocked: list[str], api_settings: Settings, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    catalogue = read_catalogue(sessions, BlobStore(api_settings.blob_dir), 100)
    assert sorted(catalogue.ids) == stocked
    asked = caption_queries(catalogue, sessions, 0, seed=1)
    assert [query.text.split()[2] for query in asked] == ["red", "green", "blue", "orange"]  # no titles
    environment = {
        "DATABASE_URL": api_settings.database_url,
        "REDIS_URL": api_settings.redis_url,
        "MILVUS_URI": api_settings.milvus_uri,
        "MORELIKE_HOME": str(api_settings.home),
        "MORELIKE_ENCODER": api_settings.encoder,
    }
    arguments = [
        "evaluate",
        "feedback",
        "--study",
        "none",
        "--turns",
        "2",
        "--pictures",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    done = CliRunner(env=environment).invoke(app, arguments)
    assert done.exit_code == 0, done.output
    (report,) = json.loads((tmp_path / "out" / "report.json").read_text())["protocols"]
    assert (report["queries"], report["items"]) == (4, 4)
    assert {row["strategy"] for row in report["rows"]} >= {"none", "prf", "grf, unit", "auto"}
    assert "data:image/jpeg" in (tmp_path / "out" / "page.html").read_text()
