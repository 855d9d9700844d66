"""VectorIndex on a real Milvus: Lite by default, a server where the fixture ``milvus_uri`` points at one."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pymilvus import MilvusClient

from backend.errors import Conflict
from backend.vector_index import (
    CollectionMissing,
    IndexUnavailable,
    VectorFilter,
    VectorHit,
    VectorIndex,
    VectorRejected,
    VectorRow,
)
from tests.fixtures.components import free_port
from tests.fixtures.milvus_server import milvus_at

DIM = 32
RED, BLUE, TOYS, EXTREME = 7, -7, 2**62, -(2**63 - 1)
_numbers = itertools.count(1)


def unit_rows(n: int, dim: int = DIM, seed: int = 0) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def row(key: int, vector: NDArray[np.float32], **changes: object) -> VectorRow:
    plain = VectorRow(key=key, product=key, vector=vector, in_stock=True, price=1.0, tags=())
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.fixture
def index(milvus_uri: str) -> VectorIndex:
    return VectorIndex(milvus_uri)


@pytest.fixture
def name(index: VectorIndex) -> Iterator[str]:
    name = f"vectors_{next(_numbers)}"
    index.create_collection(name, DIM)
    yield name
    index.drop_collection(name)


@pytest.fixture(scope="module")
def shop(milvus_uri: str) -> Iterator[tuple[VectorIndex, str, list[VectorRow]]]:
    """1,500 rows of 500 products; every 5th product is sold out, every 7th has no price, prices are key modulo 50."""
    index = VectorIndex(milvus_uri)
    index.create_collection("shop", DIM)
    rows = [
        VectorRow(
            key=key,
            product=key // 3,
            vector=vector,
            in_stock=(key // 3) % 5 != 0,
            price=None if (key // 3) % 7 == 0 else float(key % 50),
            tags=(RED if key % 2 else BLUE, *([TOYS] if key % 20 == 0 else []), *([EXTREME] if key == 11 else [])),
        )
        for key, vector in enumerate(unit_rows(1_500))
    ]
    index.upsert("shop", rows)
    yield index, "shop", rows
    index.drop_collection("shop")


def exact(rows: list[VectorRow], query: NDArray[np.float32], limit: int) -> list[tuple[int, float]]:
    scored = sorted(((row.key, float(row.vector @ query)) for row in rows), key=lambda pair: -pair[1])
    return scored[:limit]


def assert_exact(hits: list[VectorHit], rows: list[VectorRow], query: NDArray[np.float32], limit: int) -> None:
    expected = exact(rows, query, limit)
    assert [hit.key for hit in hits] == [key for key, _ in expected]
    assert np.allclose([hit.score for hit in hits], [score for _, score in expected], atol=1e-5)
    product_of = {row.key: row.product for row in rows}
    assert all(hit.product == product_of[hit.key] for hit in hits)


def test_a_score_is_the_cosine_and_larger_is_better(index: VectorIndex, name: str) -> None:
    # by hand: e1.e1 = 1, e1.(0.6, 0.8) = 0.6, e1.-e1 = -1
    e1, tilted = np.eye(DIM, dtype=np.float32)[0], np.zeros(DIM, dtype=np.float32)
    tilted[:2] = (0.6, 0.8)
    index.upsert(name, [row(1, -e1), row(2, tilted), row(3, e1)])
    [hits] = index.search(name, e1[None], 10, fresh=True)
    assert [hit.key for hit in hits] == [3, 2, 1]
    assert np.allclose([hit.score for hit in hits], [1.0, 0.6, -1.0], atol=1e-6)


FILTERS = {
    "in stock": (VectorFilter(in_stock=True), lambda r: r.in_stock),
    "sold out": (VectorFilter(in_stock=False), lambda r: not r.in_stock),
    "price from": (VectorFilter(price_gte=10), lambda r: r.price is not None and r.price >= 10),
    "price above": (VectorFilter(price_gt=10), lambda r: r.price is not None and r.price > 10),
    "price to": (VectorFilter(price_lte=3), lambda r: r.price is not None and r.price <= 3),
    "price below": (VectorFilter(price_lt=3), lambda r: r.price is not None and r.price < 3),
    "price tiny and huge": (VectorFilter(price_gt=1e-7, price_lt=1e22), lambda r: r.price is not None and r.price > 0),
    "one tag": (VectorFilter(any_tags=((RED,),)), lambda r: RED in r.tags),
    "a negative tag": (VectorFilter(any_tags=((BLUE,),)), lambda r: BLUE in r.tags),
    "either tag": (VectorFilter(any_tags=((TOYS, EXTREME),)), lambda r: TOYS in r.tags or EXTREME in r.tags),
    "both tags": (VectorFilter(any_tags=((TOYS,), (BLUE,))), lambda r: TOYS in r.tags and BLUE in r.tags),
    "one row in 1,500": (VectorFilter(any_tags=((EXTREME,),)), lambda r: r.key == 11),
    "products": (VectorFilter(products=(1, 2, 400)), lambda r: r.product in (1, 2, 400)),
    "without products": (VectorFilter(without_products=tuple(range(490))), lambda r: r.product >= 490),
    "everything": (
        VectorFilter(True, price_gte=5, price_lte=40, any_tags=((BLUE,), (TOYS,)), without_products=(4,)),
        lambda r: (
            r.in_stock
            and r.price is not None
            and 5 <= r.price <= 40
            and BLUE in r.tags
            and TOYS in r.tags
            and r.product != 4
        ),
    ),
}


@pytest.mark.parametrize("case", FILTERS)
def test_a_filtered_search_is_exact(shop: tuple[VectorIndex, str, list[VectorRow]], case: str) -> None:
    index, name, rows = shop
    wanted, passes = FILTERS[case]
    queries = unit_rows(3, seed=1)
    passing = [r for r in rows if passes(r)]
    assert passing, "a filter that nothing passes proves nothing"
    share = len(passing) / len(rows)
    for query, hits in zip(queries, index.search(name, queries, 24, wanted, share, fresh=True), strict=True):
        assert_exact(hits, passing, query, 24)


@given(
    gte=st.none() | st.floats(-1e9, 1e9),
    lt=st.none() | st.floats(-1e9, 1e9),
    stock=st.none() | st.booleans(),
    tags=st.lists(st.lists(st.sampled_from((RED, BLUE, TOYS, 12345)), min_size=1, max_size=3), max_size=3),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_filter_gives_what_python_gives(
    shop: tuple[VectorIndex, str, list[VectorRow]],
    gte: float | None,
    lt: float | None,
    stock: bool | None,
    tags: list[list[int]],
) -> None:
    index, name, rows = shop
    any_tags = tuple(tuple(group) for group in tags)
    [hits] = index.search(
        name, unit_rows(1), 2_000, VectorFilter(stock, price_gte=gte, price_lt=lt, any_tags=any_tags), fresh=True
    )
    priced = gte is not None or lt is not None
    expected = {
        r.key
        for r in rows
        if (stock is None or r.in_stock == stock)
        and not (priced and r.price is None)
        and (gte is None or r.price is None or r.price >= gte)
        and (lt is None or r.price is None or r.price < lt)
        and all(set(group) & set(r.tags) for group in tags)
    }
    assert {hit.key for hit in hits} == expected


def test_a_filter_that_nothing_can_satisfy_finds_nothing(shop: tuple[VectorIndex, str, list[VectorRow]]) -> None:
    index, name, _ = shop
    for wanted in (VectorFilter(products=()), VectorFilter(any_tags=((RED,), ())), VectorFilter(price_lt=-5)):
        assert index.search(name, unit_rows(2), 10, wanted, fresh=True) == [[], []]


def test_a_limit_beyond_the_rows_gives_all_rows(shop: tuple[VectorIndex, str, list[VectorRow]]) -> None:
    index, name, rows = shop
    for limit in (1_501, 50_000):
        [hits] = index.search(name, unit_rows(1), limit, fresh=True)
        assert sorted(hit.key for hit in hits) == [r.key for r in rows]
    assert index.search(name, unit_rows(1), 0, fresh=True) == [[]]
    assert index.search(name, unit_rows(0), 10, fresh=True) == []


def test_an_empty_collection_answers(index: VectorIndex, name: str) -> None:
    assert index.search(name, unit_rows(1), 10, fresh=True) == [[]]
    assert index.count(name) == 0
    assert index.keys(name) == set()
    assert index.fetch(name, [1]) == {}
    index.upsert(name, [])
    index.delete_keys(name, [])
    index.delete_keys(name, [404])
    index.flush(name)


def test_rows_come_back_as_they_went_in(index: VectorIndex, name: str) -> None:
    rows = [
        row(1, unit_rows(1)[0], product=9, in_stock=False, price=None, tags=(RED, BLUE, TOYS, EXTREME, 2**63 - 1, 0)),
        row(2**62, unit_rows(1, seed=3)[0], price=0.0),
    ]
    index.upsert(name, rows)
    found = index.fetch(name, [1, 2**62, 3])
    assert set(found) == {1, 2**62}
    for sent in rows:
        got = found[sent.key]
        assert np.array_equal(got.vector, sent.vector)
        assert replace(got, vector=sent.vector) == sent


def test_of_rows_with_one_key_the_last_counts(index: VectorIndex, name: str) -> None:
    a, b = unit_rows(2)
    index.upsert(name, [row(1, a, price=1.0), row(1, b, price=2.0)])
    index.upsert(name, [row(1, b, price=3.0)])
    assert index.count(name) == 1
    assert index.fetch(name, [1])[1].price == 3.0
    [hits] = index.search(name, b[None], 10, fresh=True)
    assert [hit.key for hit in hits] == [1]
    assert hits[0].score == pytest.approx(1.0, abs=1e-5)


def test_deleted_rows_are_gone_before_and_after_a_flush(index: VectorIndex, name: str) -> None:
    vectors = unit_rows(300)
    index.upsert(name, [row(key, vectors[key]) for key in range(300)])  # more than are kept unflushed
    index.upsert(name, [row(key, vectors[key - 300]) for key in range(300, 310)])
    index.delete_keys(name, [5, 305])
    for _ in range(2):
        assert index.keys(name) == set(range(310)) - {5, 305}
        assert index.count(name) == 308
        [hits] = index.search(name, vectors[5][None], 310, fresh=True)
        assert {5, 305}.isdisjoint(hit.key for hit in hits)
        assert len(hits) == 308
        index.flush(name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"vector": np.full(DIM, np.nan, dtype=np.float32)}, "vector"),
        ({"vector": np.full(DIM, np.inf, dtype=np.float32)}, "vector"),
        ({"vector": np.ones(DIM - 1, dtype=np.float32)}, "vector"),
        ({"vector": np.ones((1, DIM), dtype=np.float32)}, "vector"),
        ({"price": -0.5}, "price"),
        ({"price": float("nan")}, "price"),
        ({"tags": tuple(range(1_025))}, "tags"),
        ({"tags": (-(2**63),)}, "tag"),
    ],
)
def test_a_row_that_would_spoil_the_index_is_refused(
    index: VectorIndex, name: str, change: dict[str, object], said: str
) -> None:
    good = row(1, unit_rows(1)[0])
    with pytest.raises(VectorRejected, match=said):
        index.upsert(name, [good, replace(good, key=2, **change)])  # type: ignore[arg-type]
    assert index.count(name) == 0, "nothing of a refused batch is written"


def test_a_query_that_does_not_fit_is_refused(index: VectorIndex, name: str) -> None:
    for vectors in (unit_rows(1, DIM + 1), unit_rows(1)[0], np.full((1, DIM), np.nan, dtype=np.float32)):
        with pytest.raises(VectorRejected):
            index.search(name, vectors, 5, fresh=True)
    with pytest.raises(VectorRejected):
        index.search(name, unit_rows(1), 5, VectorFilter(price_lte=float("inf")), fresh=True)


def test_the_most_tags_that_are_allowed_fit(index: VectorIndex, name: str) -> None:
    tags = tuple(range(-512, 512))
    index.upsert(name, [row(1, unit_rows(1)[0], tags=tags)])
    [hits] = index.search(name, unit_rows(1), 5, VectorFilter(any_tags=((511,), (-512,))), fresh=True)
    assert [hit.key for hit in hits] == [1]
    assert index.fetch(name, [1])[1].tags == tags


@pytest.mark.parametrize("dim", [2, 40])
def test_inserted_rows_are_what_upserted_ones_would_be(index: VectorIndex, name: str, dim: int) -> None:
    own = f"{name}_inserted"
    index.create_collection(own, dim)
    vectors = unit_rows(1_100, dim)
    rows = [
        VectorRow(
            key=2**62 + place,
            product=place // 2,
            vector=vector,
            in_stock=place % 3 == 0,
            price=None if place % 5 == 0 else place / 8,
            tags=tuple(range(-place % 4, place % 4)),
        )
        for place, vector in enumerate(vectors)
    ]
    index.insert(own, rows)
    index.insert(own, [])
    found = index.fetch(own, [one.key for one in rows])
    assert len(found) == len(rows)
    for one in rows:
        kept = found[one.key]
        assert (kept.product, kept.in_stock, kept.price, kept.tags) == (
            one.product,
            one.in_stock,
            one.price,
            one.tags,
        )
        assert np.allclose(kept.vector, one.vector, atol=1e-6)
    index.drop_collection(own)
    with pytest.raises(CollectionMissing):
        index.insert(own, rows[:1])


def test_a_database_that_the_address_names_is_apart_from_the_others(index: VectorIndex, milvus_uri: str) -> None:
    name = f"d{uuid4().hex[:12]}"
    client = MilvusClient(milvus_uri)
    client.create_database(name)
    own = VectorIndex(f"{milvus_uri}/{name}")
    vector = unit_rows(1)
    own.create_collection("apart", DIM)
    own.insert("apart", [row(1, vector[0])])
    own.upsert("apart", [row(2, vector[0])])
    [hits] = own.search("apart", vector, 5, fresh=True)
    assert {hit.key for hit in hits} == {1, 2}
    assert not index.has_collection("apart")
    with pytest.raises(CollectionMissing):
        index.search("apart", vector, 5)
    own.drop_collection("apart")
    client.drop_database(name)


def test_collections_are_created_once_and_dropped_quietly(index: VectorIndex, name: str) -> None:
    index.upsert(name, [row(1, unit_rows(1)[0])])
    index.create_collection(name, DIM)
    assert index.count(name) == 1
    with pytest.raises(Conflict):
        index.create_collection(name, DIM + 1)
    assert name in index.collections()
    index.drop_collection(name)
    index.drop_collection(name)
    assert not index.has_collection(name)
    with pytest.raises(CollectionMissing):
        index.search(name, unit_rows(1), 1, fresh=True)
    index.create_collection(name, DIM + 1)
    assert index.count(name) == 0


def test_an_alias_is_another_name_until_it_is_pointed_elsewhere(index: VectorIndex, name: str) -> None:
    other, alias = f"{name}_next", f"{name}_live"
    e1 = np.eye(DIM, dtype=np.float32)[:1]
    index.create_collection(other, DIM)
    index.upsert(name, [row(1, e1[0])])
    index.upsert(other, [row(2, e1[0])])
    assert index.alias_target(alias) is None
    for collection, key in ((name, 1), (name, 1), (other, 2), (name, 1)):
        index.point_alias(alias, collection)
        assert index.alias_target(alias) == collection
        [[hit]] = index.search(alias, e1, 5, fresh=True)
        assert hit.key == key
    index.drop_collection(alias)
    assert index.count(name) == 1, "dropping a name that is an alias drops no rows"
    index.drop_alias(alias)
    index.drop_alias(alias)
    assert index.alias_target(alias) is None
    with pytest.raises(CollectionMissing):
        index.search(alias, e1, 5, fresh=True)
    assert (index.count(name), index.count(other)) == (1, 1)
    index.drop_collection(other)


def test_an_alias_may_move_to_vectors_of_another_length(index: VectorIndex, name: str) -> None:
    other, alias = f"{name}_wide", f"{name}_live"
    index.create_collection(other, DIM + 8)
    index.point_alias(alias, name)
    assert index.search(alias, unit_rows(1), 5) == [[]]
    index.point_alias(alias, other)
    assert index.search(alias, unit_rows(1, DIM + 8), 5) == [[]]
    with pytest.raises(VectorRejected):
        index.search(alias, unit_rows(1), 5)
    index.drop_alias(alias)
    index.drop_collection(other)


def test_an_alias_that_cannot_be_is_refused(index: VectorIndex, name: str) -> None:
    with pytest.raises(Conflict):
        index.point_alias(name, name)
    with pytest.raises(CollectionMissing):
        index.point_alias(f"{name}_live", "nowhere")
    assert index.alias_target(f"{name}_live") is None


def test_a_collection_that_was_left_without_its_index_gets_it(index: VectorIndex, name: str) -> None:
    # a maker that is killed between Milvus's two steps leaves a collection that cannot be searched
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    for part in index._milvus.ask("describe_collection", name)["fields"]:
        described = {
            key: value for key, value in part["params"].items() if key in {"dim", "max_length", "max_capacity"}
        }
        if "element_type" in part:
            described["element_type"] = part["element_type"]
        schema.add_field(part["name"], part["type"], is_primary=part["name"] == "key", **described)
    half = f"{name}_half"
    index._milvus.ask("create_collection", half, schema=schema)
    index.create_collection(half, DIM)
    index.upsert(half, [row(1, unit_rows(1)[0])])
    [[hit]] = index.search(half, unit_rows(1), 5, fresh=True)
    assert hit.key == 1
    index.drop_collection(half)


def test_a_server_that_is_not_there_is_said_to_be_unavailable() -> None:
    index = VectorIndex(f"http://127.0.0.1:{free_port()}")
    assert not index.healthy()
    with pytest.raises(IndexUnavailable, match="does not answer"):
        index.search("any", unit_rows(1), 1, fresh=True)


def when_loaded(search: Callable[[], list[list[VectorHit]]], patience_s: float = 180) -> list[list[VectorHit]]:
    """What ``search`` finds once it is no longer refused."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            return search()
        except IndexUnavailable:
            time.sleep(0.2)
    return search()


@pytest.mark.faults
def test_a_kill_in_mid_write_loses_no_acknowledged_row(tmp_path: Path) -> None:
    server = milvus_at(tmp_path)
    server.start()
    index = VectorIndex(server.uri)
    index.create_collection("kill", DIM)
    vectors = unit_rows(64)
    acknowledged: list[int] = []

    def write() -> None:
        for start in itertools.count(step=64):
            try:
                index.upsert("kill", [row(start + i, vectors[i]) for i in range(64)])
            except IndexUnavailable:
                return
            acknowledged.extend(range(start, start + 64))

    writer = threading.Thread(target=write)
    writer.start()
    while len(acknowledged) < 1_000:
        time.sleep(0.01)
    server.kill()
    writer.join(20)
    assert not index.healthy()
    with pytest.raises(IndexUnavailable):
        index.search("kill", vectors[:1], 1, fresh=True)
    try:
        server.start()
        # the same object connects again and has the collection loaded, which a restarted Milvus has not (code 101); a
        # server refuses meanwhile, for half a minute
        [hits] = when_loaded(lambda: index.search("kill", vectors[3][None], 1, fresh=True))
        assert hits[0].score == pytest.approx(1.0, abs=1e-5)
        assert set(acknowledged) <= index.keys("kill")
        index.upsert("kill", [row(10**9, vectors[0])])
        assert 10**9 in index.fetch("kill", [10**9])
    finally:
        server.kill()
