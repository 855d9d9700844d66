"""What a head costs where it stands: a query, the rows that a refinement reads, and a whole catalogue.

    python -m benchmarks.heads [--dims 512 768] [--rows 1 25 100000] [--rounds 15]

Weights are random: the time does not depend on them. The head in numpy, as it serves, the same head in torch, and the
two matrix products alone run in turn in one process on one thread, so the ratios hold on a busy machine too; times are
CPU seconds of this process, the least of the rounds.
"""

import os

for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[pool] = "1"  # read when numpy is imported

import argparse  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from backend.ml.heads import HeadConfig  # noqa: E402
from backend.ml.residual_head import ResidualHead  # noqa: E402

WORK = 2_000_000
"""Rows times repetitions of one round, at most: some tenths of a second."""


def main() -> None:
    """Print one row per width and number of rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=int, nargs="+", default=[512, 768])
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 25, 100_000])
    parser.add_argument("--rounds", type=int, default=9)
    choice = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("d", "rows", "numpy µs", "a row", "torch µs", "products µs", "ratio", "apart")
    for dim in choice.dims:
        for rows in choice.rows:
            table.add_row(str(dim), f"{rows:,}", *measure(dim, rows, choice.rounds))
    Console().print(table)


def measure(dim: int, rows: int, rounds: int) -> tuple[str, ...]:
    """Times of ``rows`` at once, and the largest difference between numpy and torch."""
    torch.manual_seed(1)
    model = ResidualHead(HeadConfig(dim)).eval()
    torch.nn.init.normal_(model.outward.weight, std=0.02)
    head = model.frozen()
    vectors = np.random.default_rng(1).standard_normal((rows, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    tensor = torch.from_numpy(vectors)

    def in_torch() -> torch.Tensor:
        with torch.inference_mode():
            adapted: torch.Tensor = model(tensor)
        return adapted

    ways: list[Callable[[], object]] = [
        lambda: head(vectors),
        in_torch,
        lambda: (vectors @ head.inward.T) @ head.outward.T,
    ]
    repeats = max(1, min(2000, WORK // (rows * 100)))
    best = [float("inf")] * len(ways)
    for _ in range(rounds if rows < WORK // 100 else 3):
        for place, way in enumerate(ways):
            started = time.process_time()
            for _ in range(repeats):
                way()
            best[place] = min(best[place], (time.process_time() - started) / repeats)
    numpy_s, torch_s, products_s = best
    difference = float(np.abs(head(vectors) - in_torch().numpy()).max())
    return (
        f"{numpy_s * 1e6:,.0f}",
        f"{numpy_s / rows * 1e6:.1f}",
        f"{torch_s * 1e6:,.0f}",
        f"{products_s * 1e6:,.0f}",
        f"{numpy_s / products_s:.2f}",
        f"{difference:.1e}",
    )


if __name__ == "__main__":
    main()
