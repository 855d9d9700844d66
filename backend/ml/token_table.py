"""Tokens of many images or texts in one table: int8 rows, in memory or in a file that is read as it is needed."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.ml.tokens import PackedTokens, quantise, unpack_tokens


@dataclass(frozen=True)
class TokenRows:
    """Tokens of b subjects, padded to the longest.

    Args:
        values: (b, L, D) int8; zeros are padding.
        scales: (b, L) float16.
        lengths: (b,) tokens of each.
    """

    values: Tensor
    scales: Tensor
    lengths: Tensor

    def dense(self) -> tuple[Tensor, Tensor]:
        """(b, L, D) float32, padding being zero, and (b, L), True where there is a token."""
        present = torch.arange(self.values.shape[1]) < self.lengths.unsqueeze(1)
        return self.values.float() * self.scales.float().unsqueeze(2), present


@dataclass(frozen=True)
class TokenTable:
    """Tokens of n subjects, one behind the other.

    Args:
        values: (R, D) int8 rows, an array or a map of a file.
        scales: (R,) float16, one a row.
        starts: (n + 1,) first row of each subject; the last is R.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float16]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def width(self) -> int:
        """Numbers in a token, D."""
        return int(self.values.shape[1])

    @property
    def longest(self) -> int:
        """Tokens of the longest subject."""
        return int(np.diff(self.starts).max(initial=0))

    def take(
        self, subjects: NDArray[np.int64], *, share: float = 1.0, rng: np.random.Generator | None = None
    ) -> TokenRows:
        """Tokens of ``subjects`` (b,), or with ``rng`` a random ``share`` of each; a negative number has none."""
        known = np.maximum(subjects, 0)
        lengths = np.where(subjects < 0, 0, self.starts[known + 1] - self.starts[known])
        places = np.broadcast_to(np.arange(lengths.max(initial=0)), (len(subjects), lengths.max(initial=0)))
        if rng is not None and share < 1:
            drawn = np.where(places < lengths[:, None], rng.random(places.shape, np.float32), 2)
            lengths = np.ceil(share * lengths).astype(np.int64)
            places = np.argsort(drawn, axis=1)[:, : lengths.max(initial=0)]  # those that are there come first
        present = np.arange(places.shape[1]) < lengths[:, None]
        rows = (self.starts[known][:, None] + places)[present]
        values = np.zeros((*present.shape, self.width), np.int8)
        scales = np.zeros(present.shape, np.float16)
        values[present], scales[present] = self.values[rows], self.scales[rows]
        return TokenRows(torch.from_numpy(values), torch.from_numpy(scales), torch.from_numpy(lengths))

    @classmethod
    def of(cls, tokens: Iterable[NDArray[np.floating]], width: int) -> "TokenTable":
        """A table in memory of the tokens (L, D) of each subject; L may be 0."""
        parts = [quantise(rows.reshape(-1, width)) for rows in tokens]
        lengths = [len(scales) for _, scales in parts]
        starts = np.cumsum([0, *lengths], dtype=np.int64)
        values = np.concatenate([np.empty((0, width), np.int8), *(values for values, _ in parts)])
        return cls(values, np.concatenate([np.empty(0, np.float16), *(scales for _, scales in parts)]), starts)

    @classmethod
    def open(cls, stem: Path) -> "TokenTable":
        """The table that `TokenWriter` wrote: its starts are read, its rows are mapped."""
        starts = np.load(stem.with_suffix(".starts.npy"))
        rows, width = int(starts[-1]), int(np.load(stem.with_suffix(".width.npy")))
        if not rows:  # an empty file cannot be mapped
            return cls(np.empty((0, width), np.int8), np.empty(0, np.float16), starts)
        values = np.memmap(stem.with_suffix(".values"), np.int8, "r", shape=(rows, width))
        return cls(values, np.memmap(stem.with_suffix(".scales"), np.float16, "r", shape=(rows,)), starts)


class TokenWriter:
    """Writes a table to files beside ``stem``, subject by subject, in memory that does not grow with it.

    Use as a context manager; the table is there when the block has ended without an error.
    """

    def __init__(self, stem: Path, width: int) -> None:
        self._stem, self._width = stem, width
        self._lengths = [0]
        self._values = stem.with_suffix(".values").open("wb")
        self._scales = stem.with_suffix(".scales").open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._values.close()
        self._scales.close()
        if error is None:
            np.save(self._stem.with_suffix(".width.npy"), np.int64(self._width))
            np.save(self._stem.with_suffix(".starts.npy"), np.cumsum(self._lengths, dtype=np.int64))

    def append(self, tokens: NDArray[np.floating]) -> None:
        """Add a subject's tokens (L, D)."""
        values, scales = quantise(tokens.reshape(-1, self._width))
        self._write(values.tobytes(), scales.tobytes(), len(scales))

    def append_packed(self, packed: PackedTokens) -> None:
        """Add a subject's tokens as they are stored; those that are int8 already are not converted."""
        if packed.form == "int8" and packed.scales is not None and packed.width == self._width:
            self._write(packed.data, packed.scales, packed.count)
        else:
            self.append(unpack_tokens(packed))

    def _write(self, values: bytes, scales: bytes, count: int) -> None:
        self._values.write(values)
        self._scales.write(scales)
        self._lengths.append(count)
