"""Pairs: what is refused and merged at the door, and parts that share no product."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.ml.pairs import Pairs, PairsUnfit, examine, folds, split


def unit(count: int, width: int = 8, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def pairs_of(texts: int, products: int, pictures_each: int = 1) -> Pairs:
    pictures = products * pictures_each
    image_of = np.arange(texts) % pictures
    return Pairs(unit(texts), unit(pictures, seed=1), image_of, np.arange(pictures) // pictures_each)


@pytest.mark.parametrize("poison", [np.nan, np.inf, 0.0, 3.0])
def test_rows_that_are_not_finite_or_not_of_unit_length_are_refused_by_number(poison: float) -> None:
    pairs = pairs_of(10, 10)
    pairs.texts[[2, 7]] = poison
    with pytest.raises(PairsUnfit, match="2 of 10 text vectors") as refused:
        examine(pairs)
    assert refused.value.found == "rows 2, 7"
    assert refused.value.extensions["rows"] == [2, 7]
    pairs = pairs_of(10, 10)
    pairs.images[4] = poison
    with pytest.raises(PairsUnfit, match="1 of 10 picture vectors"):
        examine(pairs)


def test_vectors_that_fp16_rounded_are_of_unit_length() -> None:
    pairs = pairs_of(10, 10)
    rounded = pairs.texts.astype(np.float16).astype(np.float32)
    examine(Pairs(rounded, pairs.images, pairs.image_of, pairs.product_of))


def test_a_pair_that_is_there_twice_is_learned_from_once_and_an_equal_text_is_known() -> None:
    pairs = pairs_of(6, 6)
    pairs.texts[3] = pairs.texts[1]
    pairs.texts[5] = pairs.texts[1]
    pairs.image_of[3] = pairs.image_of[1]  # 3 is 1 once more; 5 says the same of another picture
    examined = examine(pairs)
    assert examined.merged == 1
    assert examined.pairs.rows.tolist() == [0, 1, 2, 4, 5]
    assert examined.same_text[1] == examined.same_text[5] != examined.same_text[0]


def test_the_fingerprint_is_that_of_every_number() -> None:
    pairs = pairs_of(6, 6)
    known = examine(pairs).fingerprint
    assert examine(pairs_of(6, 6)).fingerprint == known
    pairs.images[5, 0] = np.nextafter(pairs.images[5, 0], np.float32(1))
    assert examine(pairs).fingerprint != known
    assert examine(pairs_of(6, 6).only(np.arange(5))).fingerprint != known


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(PairsUnfit, match="do not fit"):
        Pairs(unit(3), unit(3, 7), np.arange(3), np.arange(3))
    with pytest.raises(PairsUnfit, match="not there"):
        Pairs(unit(3), unit(3), np.array([0, 1, 3]), np.arange(3))
    with pytest.raises(PairsUnfit, match="no pairs"):
        pairs_of(3, 3).only(np.array([], int))
    with pytest.raises(PairsUnfit, match="Too few products"):
        folds(pairs_of(9, 3), 4, seed=0)


@settings(max_examples=40, deadline=None)
@given(products=st.integers(5, 40), texts=st.integers(40, 90), count=st.integers(2, 5), seed=st.integers(0, 9))
def test_each_product_is_held_out_in_exactly_one_fold(products: int, texts: int, count: int, seed: int) -> None:
    pairs = pairs_of(texts, products, pictures_each=2)
    seen = np.zeros(texts, int)
    for learned, held in folds(pairs, count, seed=seed):
        seen[held.rows] += 1
        assert not set(learned.products) & set(held.products)
        assert len(learned) + len(held) == texts
    assert (seen == 1).all()


@settings(max_examples=40, deadline=None)
@given(products=st.integers(3, 40), seed=st.integers(0, 9))
def test_a_split_shares_no_product_and_loses_no_pair(products: int, seed: int) -> None:
    parts = split(pairs_of(80, products), (0.8, 0.1, 0.1), seed=seed)
    sizes = [len(set(part.products)) for part in parts]
    assert sum(sizes) == products
    assert sorted(np.concatenate([part.rows for part in parts])) == list(range(80))
    assert abs(sizes[0] - 0.8 * products) <= 1.5


def test_parts_of_a_file_in_memory_are_views_of_that_file(tmp_path: Path) -> None:
    np.save(tmp_path / "texts.npy", unit(20))
    texts = np.load(tmp_path / "texts.npy", mmap_mode="r")
    pairs = Pairs(texts, unit(20), np.arange(20), np.arange(20))
    assert all(part.texts is texts for part in split(pairs, (0.5, 0.5), seed=1))
