"""Tokens survive being kept: each form within the error it states, on awkward numbers too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backend.ml.tokens import FP16_MAX, StoredForm, dequantise, pack_tokens, quantise, unpack_tokens

rows_of_numbers = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=True),
)


@given(rows_of_numbers)
def test_int8_is_off_by_half_a_step_at_most_and_a_step_is_a_127th_of_the_largest(tokens: np.ndarray) -> None:
    rows, scales = quantise(tokens)
    step = scales.astype(np.float64)
    error = np.abs(dequantise(rows, scales).astype(np.float64) - tokens).max(axis=1)
    # the quotient and the product are each rounded to single precision: 127 · 2⁻²⁴ of a step at most
    assert (error <= step / 2 * (1 + 4 * 127 * 2**-24)).all()
    largest = np.abs(tokens).max(axis=1).astype(np.float64)
    # float16 keeps 11 bits, and below 6.1e-5 steps of 6e-8
    assert (step <= largest / 127 * (1 + 2**-10) + 6e-8).all()


def test_int8_of_a_row_worked_out_by_hand() -> None:
    """max 12.7 -> scale 0.1, in float16 0.1 rounded up: 0.10003662; 12.7 / 0.10003662 = 126.95 -> 127."""
    rows, scales = quantise(np.array([[12.7, -12.7, 1.0, 0.0]], dtype=np.float32))
    assert scales.tolist() == [0.10003662109375]
    assert rows.tolist() == [[127, -127, 10, 0]]


def test_a_row_of_zeros_stays_zero() -> None:
    packed = pack_tokens(np.zeros((2, 3), dtype=np.float32), "int8")
    assert np.array_equal(unpack_tokens(packed), np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("form", "size", "scales"), [("int8", 50 * 768, 100), ("fp16", 50 * 768 * 2, 0), ("pooled", 1536, 0)]
)
def test_an_image_of_vit_b_32_takes_the_bytes_that_the_docs_state(form: StoredForm, size: int, scales: int) -> None:
    packed = pack_tokens(np.ones((50, 768), dtype=np.float32), form)
    assert (len(packed.data), len(packed.scales or b"")) == (size, scales)
    assert (packed.count, packed.width) == unpack_tokens(packed).shape


def test_pooled_is_the_mean_row() -> None:
    packed = pack_tokens(np.array([[1, 2], [3, 6]], dtype=np.float32), "pooled")
    assert unpack_tokens(packed).tolist() == [[2, 4]]


def test_fp16_limits_what_it_cannot_hold() -> None:
    packed = pack_tokens(np.array([[1e6, -1e6, 0.5]], dtype=np.float32), "fp16")
    assert unpack_tokens(packed).tolist() == [[FP16_MAX, -FP16_MAX, 0.5]]


@pytest.mark.parametrize("tokens", [np.zeros((0, 4)), np.zeros(4), np.array([[np.nan]]), np.array([[np.inf]])])
def test_what_is_no_table_of_numbers_is_refused(tokens: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        pack_tokens(tokens, "int8")
