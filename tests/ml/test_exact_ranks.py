"""Exact ranks: against brute force, with ties held against the right product, and in memory bounded by a block."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.ml import exact_ranks
from backend.ml.exact_ranks import ranks_of
from backend.ml.pairs import PairsUnfit


def unit(count: int, width: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def brute(queries: np.ndarray, right: np.ndarray, gallery: np.ndarray, product_of: np.ndarray) -> list[int]:
    scores = queries.astype(np.float64) @ gallery.T.astype(np.float64)
    best = {product: scores[:, product_of == product].max(axis=1) for product in np.unique(product_of)}
    return [
        1 + sum(best[other][row] >= best[own][row] - 1e-6 for other in best if other != own)
        for row, own in enumerate(right)
    ]


@settings(max_examples=60, deadline=None)
@given(
    queries=st.integers(1, 12),
    pictures=st.integers(1, 30),
    products=st.integers(1, 30),
    block=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_ranks_are_those_of_brute_force_whatever_the_blocks(
    queries: int, pictures: int, products: int, block: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    product_of = rng.integers(0, products, pictures) * 3 - 20
    right = rng.choice(product_of, queries)
    asked, gallery = unit(queries, 5, seed), unit(pictures, 5, seed + 1)
    gallery[rng.integers(0, pictures, pictures // 2)] = gallery[0]  # ties
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_ranks, "_PICTURES", block)
        patch.setattr(exact_ranks, "_QUERIES", block)
        assert ranks_of(asked, right, gallery, product_of).tolist() == brute(asked, right, gallery, product_of)


def test_what_cannot_tell_products_apart_ranks_every_right_one_last() -> None:
    same = np.tile(unit(1, 4, 0), (7, 1))
    assert ranks_of(unit(7, 4, 1), np.arange(7), same, np.arange(7)).tolist() == [7] * 7


def test_a_head_that_gives_no_numbers_ranks_every_right_one_last() -> None:
    def nothing(vectors: np.ndarray) -> np.ndarray:
        return vectors * np.float32(np.nan)

    ranks = ranks_of(unit(5, 4, 1), np.arange(5), unit(5, 4, 0), np.arange(5), query=nothing)
    assert ranks.tolist() == [5] * 5


def test_queries_and_gallery_go_through_their_heads() -> None:
    queries, gallery = unit(9, 4, 0), unit(9, 4, 1)
    turned = np.linalg.qr(np.random.default_rng(2).normal(size=(4, 4)))[0].astype(np.float32)
    both = ranks_of(
        queries, np.arange(9), gallery, np.arange(9), query=lambda rows: rows @ turned, item=lambda rows: -rows
    )
    assert both.tolist() == ranks_of(queries @ turned, np.arange(9), -gallery, np.arange(9)).tolist()


def test_only_the_rows_asked_for_are_ranked() -> None:
    queries, gallery, rows = unit(9, 4, 0), unit(9, 4, 1), np.array([7, 2])
    every = ranks_of(queries, np.arange(9), gallery, np.arange(9))
    assert ranks_of(queries, rows, gallery, np.arange(9), rows).tolist() == every[rows].tolist()


def test_a_right_product_without_a_picture_is_refused() -> None:
    with pytest.raises(PairsUnfit, match="no picture") as refused:
        ranks_of(unit(2, 4, 0), np.array([1, 8]), unit(3, 4, 1), np.arange(3))
    assert refused.value.found == [8]


def test_memory_is_that_of_a_block_not_of_the_gallery() -> None:
    queries, rows = unit(64, 16, 0), np.arange(64)
    peaks = []
    for pictures in (4_000, 40_000):
        gallery = unit(pictures, 16, 1)
        tracemalloc.start()
        ranks_of(queries, rows, gallery, np.arange(pictures))
        peaks.append(tracemalloc.get_traced_memory()[1] - 5 * 8 * pictures)  # the row numbers themselves grow
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 500_000 < 40_000 * 64 * 4
