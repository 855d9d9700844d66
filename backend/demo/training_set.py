"""The drawings the demo encoder learns from: an array on disk that is drawn once, in parallel, and can be resumed."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backend.demo.attributes import Item, training_items
from backend.demo.drawing import draw

SIDE = 96
CHUNK = 500


class Progress(Protocol):
    """Told how many of how many are done."""

    def __call__(self, done: int, total: int) -> None:
        """Take note."""


@dataclass(frozen=True)
class TrainingSet:
    """Items and their drawings, uint8 (n, 96, 96, 3), in the same order."""

    items: list[Item]
    drawings: NDArray[np.uint8]


def _draw_chunk(path: Path, start: int, items: list[Item]) -> None:
    """Draw the items into rows from `start`, drawn larger and scaled down as the shop's pictures are."""
    rows = np.load(path, mmap_mode="r+")
    for offset, item in enumerate(items):
        rows[start + offset] = np.asarray(draw(item, seed=start + offset, side=2 * SIDE).reduce(2))
    rows.flush()
    path.with_suffix(f".{start}.done").touch()


def training_set(directory: Path, count: int, seed: int, workers: int, progress: Progress) -> TrainingSet:
    """Draw `count` training items, or what is missing of them, into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"drawings-{seed}-{count}.npy"
    if not path.exists():
        np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, SIDE, SIDE, 3)).flush()
    items = list(islice(training_items(seed), count))
    starts = range(0, count, CHUNK)
    missing = [start for start in starts if not path.with_suffix(f".{start}.done").exists()]
    with ProcessPoolExecutor(workers) as pool:
        jobs = [pool.submit(_draw_chunk, path, start, items[start : start + CHUNK]) for start in missing]
        for done, job in enumerate(jobs, start=len(starts) - len(missing) + 1):
            job.result()
            progress(min(done * CHUNK, count), count)
    return TrainingSet(items, np.load(path, mmap_mode="r"))
