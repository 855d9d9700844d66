"""The same calls on Milvus Lite and on a Milvus server give the same answers: ids, scores, rows, counts, refusals."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.errors import AppError
from backend.vector_index import VectorFilter, VectorIndex, VectorRow
from tests.test_vector_index import unit_rows

DIM, ROWS = 24, 600
NAME = "engines"
TAGS = (7, -7, 2**62, 2**63 - 1, -(2**63 - 1))
Answers = tuple[Any, Any]


def shop_rows() -> list[VectorRow]:
    """Rows with every kind of scalar, keys far apart, and some vectors twice."""
    random = np.random.default_rng(5)
    vectors = unit_rows(ROWS, DIM)
    vectors[ROWS // 2 :: 50] = vectors[: ROWS // 2 : 50]
    return [
        VectorRow(
            key=place * 2**40,
            product=place // 3,
            vector=vector,
            in_stock=bool(random.integers(2)),
            price=None if place % 7 == 0 else float(np.round(random.uniform(0, 100), 2)),
            tags=tuple(int(tag) for tag in random.permutation(np.array(TAGS))[: place % (len(TAGS) + 1)]),
        )
        for place, vector in enumerate(vectors)
    ]


class Engines:
    """Both engines, asked the same."""

    def __init__(self, lite_uri: str, server_uri: str) -> None:
        self.lite, self.server = VectorIndex(lite_uri), VectorIndex(server_uri)

    def answers(self, call: Callable[[VectorIndex], Any]) -> Answers:
        """What each says to ``call``; a refusal is an answer."""
        found = []
        for index in (self.lite, self.server):
            try:
                found.append(call(index))
            except AppError as refusal:
                found.append(type(refusal))
        return found[0], found[1]


@pytest.fixture(scope="module")
def engines(lite_uri: str, server_uri: str) -> Iterator[Engines]:
    both = Engines(lite_uri, server_uri)
    assert (both.lite.is_lite(), both.server.is_lite()) == (True, False)
    both.answers(lambda index: index.create_collection(NAME, DIM))
    both.answers(lambda index: index.upsert(NAME, shop_rows()))
    yield both
    both.answers(lambda index: index.drop_collection(NAME))


def assert_same_hits(answers: Answers) -> None:
    """Same scores in the same order, and the same keys wherever scores differ by more than 1e-4."""
    lite, server = answers
    assert len(lite) == len(server)
    for one, other in zip(lite, server, strict=True):
        assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other], abs=1e-4)
        assert {hit.key: hit.product for hit in one}.items() ^ {hit.key: hit.product for hit in other}.items() == set()
        for mine, theirs in zip(one, other, strict=True):
            assert mine.key == theirs.key or abs(mine.score - theirs.score) < 1e-4


price = st.none() | st.sampled_from([0.0, 12.5, 50.0, 1e-9, 1e12]) | st.floats(-10, 120)
filters = st.builds(
    VectorFilter,
    in_stock=st.none() | st.booleans(),
    price_gte=price,
    price_gt=price,
    price_lte=price,
    price_lt=price,
    any_tags=st.lists(st.lists(st.sampled_from((*TAGS, 5)), max_size=3).map(tuple), max_size=3).map(tuple),
    products=st.none() | st.lists(st.integers(-1, ROWS // 3), max_size=40).map(tuple),
    without_products=st.lists(st.integers(-1, ROWS // 3), max_size=40).map(tuple),
)


@given(wanted=filters, limit=st.sampled_from([1, 24, ROWS]), seed=st.integers(0, 50))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_search_finds_the_same(engines: Engines, wanted: VectorFilter, limit: int, seed: int) -> None:
    queries = unit_rows(2, DIM, seed)
    everything = engines.answers(lambda index: index.search(NAME, queries, ROWS, wanted, 0.01))
    assert_same_hits(everything)
    cut = engines.answers(lambda index: index.search(NAME, queries, limit, wanted, 0.01))
    for one, other in zip(*cut, strict=True):
        assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other], abs=1e-4)


def test_rows_counts_and_keys_are_the_same(engines: Engines) -> None:
    keys = [row.key for row in shop_rows()][::9]
    lite, server = engines.answers(lambda index: index.fetch(NAME, [*keys, 404]))
    assert set(lite) == set(server) == set(keys)
    for key in keys:
        assert np.array_equal(lite[key].vector, server[key].vector)
        for part in ("product", "in_stock", "price", "tags"):
            assert getattr(lite[key], part) == getattr(server[key], part)
    assert engines.answers(lambda index: index.count(NAME)) == (ROWS, ROWS)
    lite, server = engines.answers(lambda index: index.keys(NAME))
    assert lite == server


def test_upserts_and_deletes_leave_the_same(engines: Engines) -> None:
    name = f"{NAME}_written"
    engines.answers(lambda index: index.create_collection(name, DIM))
    random = np.random.default_rng(9)
    rows = shop_rows()
    for _ in range(12):
        some = [rows[place] for place in random.choice(100, 30, replace=False)]
        gone = [row.key for row in (rows[place] for place in random.choice(100, 10, replace=False))]
        moved = [VectorRow(r.key, r.product + 1, -r.vector, not r.in_stock, 1.5, ()) for r in some[:10]]
        engines.answers(lambda index, some=some: index.upsert(name, some))
        engines.answers(lambda index, moved=moved: index.upsert(name, moved))
        engines.answers(lambda index, gone=gone: index.delete_keys(name, gone))
        lite, server = engines.answers(lambda index: index.keys(name))
        assert lite == server
        assert_same_hits(engines.answers(lambda index: index.search(name, unit_rows(2, DIM), 100, fresh=True)))
    lite, server = engines.answers(lambda index: index.count(name))
    assert lite == server
    engines.answers(lambda index: index.drop_collection(name))


REFUSED: dict[str, Callable[[VectorIndex], Any]] = {
    "search of nothing": lambda index: index.search("no_such_collection", unit_rows(1), 5),
    "fetch of nothing": lambda index: index.fetch("no_such_collection", [1]),
    "keys of nothing": lambda index: index.keys("no_such_collection"),
    "count of nothing": lambda index: index.count("no_such_collection"),
    "delete from nothing": lambda index: index.delete_keys("no_such_collection", [1]),
    "upsert into nothing": lambda index: index.upsert("no_such_collection", shop_rows()[:1]),
    "a query of another length": lambda index: index.search(NAME, unit_rows(1, DIM + 1), 5),
    "a collection of another length": lambda index: index.create_collection(NAME, DIM + 1),
    "an alias of nothing": lambda index: index.point_alias("engines_live", "no_such_collection"),
    "an alias called as a collection": lambda index: index.point_alias(NAME, NAME),
    "target of no alias": lambda index: index.alias_target("no_such_alias"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_same_is_refused(engines: Engines, case: str) -> None:
    lite, server = engines.answers(REFUSED[case])
    assert lite == server


def test_aliases_do_the_same(engines: Engines) -> None:
    alias = "engines_live"
    engines.answers(lambda index: index.point_alias(alias, NAME))
    assert engines.answers(lambda index: index.alias_target(alias)) == (NAME, NAME)
    assert_same_hits(engines.answers(lambda index: index.search(alias, unit_rows(1, DIM), 24)))
    assert engines.answers(lambda index: index.count(alias)) == (ROWS, ROWS)
    lite, server = engines.answers(lambda index: {alias, NAME} & index.collections())
    assert lite == server == {NAME}
    engines.answers(lambda index: index.drop_alias(alias))
    assert engines.answers(lambda index: index.alias_target(alias)) == (None, None)
