from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from backend.ml.token_table import TokenTable, TokenWriter
from backend.ml.tokens import pack_tokens

LISTS = st.lists(arrays(np.float32, st.tuples(st.integers(0, 5), st.just(4)), elements=st.floats(-8, 8, width=16)))


@settings(max_examples=25, deadline=None)
@given(tokens=LISTS)
def test_a_table_gives_back_what_it_was_made_of_within_its_rounding(tokens: list[NDArray[np.float32]]) -> None:
    table = TokenTable.of(tokens, 4)
    assert len(table) == len(tokens)
    values, present = table.take(np.arange(len(tokens))).dense()
    for row, one in enumerate(tokens):
        assert present[row].tolist() == [place < len(one) for place in range(present.shape[1])]
        scale = np.abs(one).max(axis=1, keepdims=True, initial=0) / 127
        assert (np.abs(values[row, : len(one)].numpy() - one) <= 0.51 * scale + 1e-3 * np.abs(one)).all()
        assert not values[row, len(one) :].any()


def test_a_subject_below_zero_has_no_tokens_and_order_is_the_callers() -> None:
    table = TokenTable.of([np.ones((2, 3)), 2 * np.ones((1, 3))], 3)
    batch = table.take(np.array([1, -1, 0, 1]))
    assert batch.lengths.tolist() == [1, 0, 2, 1]
    assert batch.dense()[0][:, 0, 0].tolist() == pytest.approx([2, 0, 1, 2], rel=1e-2)


def test_a_share_of_the_tokens_is_drawn_at_random_and_none_twice() -> None:
    table = TokenTable.of([np.arange(1, 9)[:, None] * np.ones((8, 2)), 127 * np.ones((1, 2))], 2)
    batch = table.take(np.array([0, 1, 0, -1]), share=0.5, rng=np.random.default_rng(1))
    drawn = batch.dense()[0][:, :, 0]
    assert batch.lengths.tolist() == [4, 1, 4, 0]
    assert all(len({round(value, 2) for value in drawn[row].tolist()}) == 4 for row in (0, 2))
    assert drawn[0].tolist() != drawn[2].tolist()
    assert drawn[1].tolist() == pytest.approx([127, 0, 0, 0], rel=1e-2)


def test_a_table_in_files_is_the_table_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    tokens = [rng.normal(size=(length, 6)).astype(np.float32) for length in (3, 0, 5)]
    with TokenWriter(tmp_path / "patches", 6) as writer:
        for one in tokens:
            writer.append(one)
        writer.append_packed(pack_tokens(tokens[0], "int8"))
        writer.append_packed(pack_tokens(tokens[0], "fp16"))
    written, held = TokenTable.open(tmp_path / "patches"), TokenTable.of([*tokens, tokens[0]], 6)
    assert np.array_equal(written.starts[:5], held.starts)
    assert np.array_equal(written.values[:11], held.values)
    assert np.array_equal(written.scales[:11], held.scales)
    assert np.abs(written.values[11:].astype(int) - held.values[:3]).max() <= 1  # fp16 rounded first
    assert (written.width, written.longest) == (6, 5)


def test_tokens_of_another_width_are_refused(tmp_path: Path) -> None:
    with TokenWriter(tmp_path / "words", 6) as writer, pytest.raises(ValueError, match="reshape"):
        writer.append_packed(pack_tokens(np.ones((1, 5)), "int8"))


def test_an_empty_table_opens(tmp_path: Path) -> None:
    with TokenWriter(tmp_path / "none", 4) as writer:
        writer.append(np.empty((0, 4), np.float32))
    table = TokenTable.open(tmp_path / "none")
    assert (len(table), table.width, table.longest) == (1, 4, 0)
