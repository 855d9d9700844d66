"""Recall and time of filtered searches on a Milvus server, in its open segment and through its finished index.

    python -m benchmarks.recall http://127.0.0.1:19530 --rows 100000 --dim 512

Writes made-up vectors in heaps of 50 into a collection of its own, which it drops again.
"""

import argparse
import time

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from backend.vector_index import VectorFilter, VectorIndex, VectorRow

NAME = "benchmark_recall"
SHARES = (1, 2, 4, 10, 20, 100)
"""Every how manieth row passes."""
LIMITS = (24, 200)
QUERIES = 60
Rows = NDArray[np.float32]


def unit(rows: NDArray[np.float32]) -> Rows:
    """``rows`` (n, d), each at length 1."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def heaps(rows: int, dim: int) -> tuple[Rows, Rows]:
    """Vectors and queries near some of them."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((rows // 50, dim), dtype=np.float32)
    vectors = unit(
        centres[random.integers(0, len(centres), rows)] + 0.7 * random.standard_normal((rows, dim), np.float32)
    )
    near = vectors[random.integers(0, rows, QUERIES)]
    return vectors, unit(near + 0.8 * random.standard_normal(near.shape, dtype=np.float32) / np.float32(np.sqrt(dim)))


def fill(index: VectorIndex, vectors: Rows, *, bulk: bool) -> float:
    """Rows a second."""
    began = time.monotonic()
    with Progress(transient=True) as progress:
        for start in progress.track(range(0, len(vectors), 1_000), description="Writing"):
            rows = [
                VectorRow(key, key, vectors[key], True, None, tuple(share for share in SHARES if key % share == 0))
                for key in range(start, min(start + 1_000, len(vectors)))
            ]
            index.upsert(NAME, rows, bulk=bulk)
    return len(vectors) / (time.monotonic() - began)


def measure(index: VectorIndex, vectors: Rows, queries: Rows, share: int, limit: int) -> tuple[float, float, float]:
    """Recall, and the time of a search at p50 and p95 in milliseconds."""
    passing = np.arange(0, len(vectors), share)
    within = VectorFilter(any_tags=((share,),)) if share > 1 else None
    found, wanted, times = 0, min(limit, len(passing)), []
    for query in queries:
        exact = set(passing[np.argsort(-(vectors[passing] @ query))[:wanted]].tolist())
        began = time.perf_counter()
        [hits] = index.search(NAME, query[None], limit, within, 1 / share)
        times.append(1_000 * (time.perf_counter() - began))
        found += len(exact & {hit.key for hit in hits})
    return found / (wanted * len(queries)), float(np.percentile(times, 50)), float(np.percentile(times, 95))


def table(index: VectorIndex, vectors: Rows, queries: Rows, title: str) -> Table:
    """One row a filter."""
    shown = Table("filter lets through", *(f"recall at {n}, p50 / p95 ms" for n in LIMITS), title=title)
    for share in SHARES:
        cells = [measure(index, vectors, queries, share, limit) for limit in LIMITS]
        shown.add_row(f"1/{share}", *(f"{recall:.3f}, {p50:.1f} / {p95:.1f}" for recall, p50, p95 in cells))
    return shown


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uri")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--open", action="store_true", help="measure the open segment, too, as if nothing sealed it")
    options = parser.parse_args()
    console, index = Console(), VectorIndex(options.uri)
    vectors, queries = heaps(options.rows, options.dim)
    index.drop_collection(NAME)
    index.create_collection(NAME, options.dim)
    try:
        console.print(f"{fill(index, vectors, bulk=True):,.0f} rows/s")
        index.search(NAME, queries[:1], 1, fresh=True)
        if options.open:
            console.print(table(index, vectors, queries, "Open segment"))
        began = time.monotonic()
        index.flush(NAME)
        while not index.is_finished(NAME):
            time.sleep(1)
        console.print(f"index finished after {time.monotonic() - began:.0f} s")
        console.print(table(index, vectors, queries, "Finished index"))
    finally:
        index.drop_collection(NAME)


if __name__ == "__main__":
    main()
