"""Patch and word tokens in the forms they are kept in: int8 with a scale a row, fp16, or one pooled row."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

StoredForm = Literal["pooled", "int8", "fp16"]

FP16_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class PackedTokens:
    """Tokens of one image or caption as bytes.

    Args:
        form: how `data` is read.
        count: rows.
        width: numbers in a row.
        data: rows after one another, int8 or little-endian float16.
        scales: one little-endian float16 a row where the form is int8, else None.
    """

    form: StoredForm
    count: int
    width: int
    data: bytes
    scales: bytes | None


def pack_tokens(tokens: NDArray[np.floating], form: StoredForm) -> PackedTokens:
    """Tokens (L, D) -> bytes: L·D + 2·L of them in int8, 2·L·D in fp16, 2·D pooled (the mean row).

    Raises:
        ValueError: the tokens are not a table of finite numbers, or empty.
    """
    _require_rows(tokens)
    if form == "int8":
        rows, scales = quantise(tokens)
        return PackedTokens(form, rows.shape[0], rows.shape[1], rows.tobytes(), scales.astype("<f2").tobytes())
    kept = tokens.mean(axis=0, keepdims=True, dtype=np.float32) if form == "pooled" else tokens
    # some large towers carry single values beyond float16's range: they become its largest, not infinity
    halves = np.clip(kept, -FP16_MAX, FP16_MAX).astype("<f2")
    return PackedTokens(form, halves.shape[0], halves.shape[1], halves.tobytes(), None)


def unpack_tokens(packed: PackedTokens) -> NDArray[np.float32]:
    """Bytes -> tokens (count, width), float32: the inverse of `pack_tokens` up to its rounding."""
    shape = (packed.count, packed.width)
    if packed.form != "int8":
        return np.frombuffer(packed.data, dtype="<f2").reshape(shape).astype(np.float32)
    if packed.scales is None:
        raise ValueError("found int8 tokens without scales; expected one scale a row")
    rows = np.frombuffer(packed.data, dtype=np.int8).reshape(shape)
    return dequantise(rows, np.frombuffer(packed.scales, dtype="<f2"))


def quantise(tokens: NDArray[np.floating]) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Tokens (..., D) -> int8 rows of the same shape and float16 scales (...), with |x - scale·row| <= scale / 2.

    scale = max|x| / 127, rounded up to a float16; a row of zeros has scale 0.
    """
    values = np.asarray(tokens, dtype=np.float32)
    # in double precision: a 127th of the least numbers of single precision would be 0
    exact = np.abs(values).max(axis=-1, initial=0.0).astype(np.float64) / 127
    scales = exact.astype(np.float16)
    # rounded down, the largest value would not fit in 127 steps
    scales = np.where(scales < exact, np.nextafter(scales, np.float16(np.inf)), scales)
    steps = np.where(scales > 0, scales.astype(np.float32), 1)[..., None]
    return np.rint(values / steps).astype(np.int8), scales


def dequantise(rows: NDArray[np.int8], scales: NDArray[np.float16]) -> NDArray[np.float32]:
    """Int8 rows (..., D) and their scales (...) -> float32 (..., D)."""
    return rows.astype(np.float32) * scales.astype(np.float32)[..., None]


def _require_rows(tokens: NDArray[np.floating]) -> None:
    if tokens.ndim != 2 or not len(tokens) or not np.isfinite(tokens).all():
        raise ValueError(f"found tokens of shape {tokens.shape}; expected (L, D), L >= 1, finite numbers")
