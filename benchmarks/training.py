"""How fast heads are trained, against the bare matrix products of the same steps, and how much memory that takes.

    python -m benchmarks.training [--pairs 100000] [--dim 512] [--batch 1024] [--which both] [--threads 1] [--steps 90]

The pairs are random vectors in files that are mapped into memory, as a training on a catalogue has them. After each
step of the training, the matrix products that it cannot do without are computed alone, on buffers that lie ready: those
of the heads, forward and backward, the logits T I^T, and their gradients. What a training does besides (reading rows,
looking for false negatives, softmax, dropout, norms, AdamW) is in its time alone. Both take turns in one run, and on a
processor CPU seconds are counted, so the ratio holds on a busy machine too.

Memory is what the process has for itself (resident less shared pages: those of mapped files are the system's to take
back), above what it had before the run; a second run over a tenth of the pairs shows what depends on their number.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from backend.ml.adapter_plan import AdapterPlan, Which
from backend.ml.pairs import Pairs
from backend.ml.training import train_adapter

MB = 1 << 20
WARM = 5
"""Steps that are not counted."""


def main() -> None:
    """Print one row a mode, and the memory of two sizes."""
    options = parse()
    if options.memory_of:
        print(measure_memory(options.memory_of, options))
        return
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder, options.pairs, options.dim)
        console.print(
            f"{options.pairs:,} pairs of {options.dim} numbers, batches of {options.batch:,}, {options.device}, "
            f"{options.threads} thread(s)"
        )
        table = Table("heads", "pairs/s", "bare products, pairs/s", "ratio", "quartiles over steps")
        for which in options.which:
            table.add_row(which, *measure_speed(folder, which, options))
        console.print(table)
        table = Table("pairs", "vectors MB", "peak above start MB")
        for count in (options.pairs // 10, options.pairs):
            table.add_row(f"{count:,}", f"{8 * count * options.dim / MB:.0f}", memory_apart(folder, count, options))
        console.print(table)


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--which", nargs="+", default=["text", "both", "shared"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=90, help="steps that are timed")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return options


def write_pairs(folder: Path, count: int, dim: int) -> None:
    """Random unit vectors, a file for each side, written in blocks."""
    rng = np.random.default_rng(0)
    for name in ("texts", "images"):
        file = np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=(count, dim))
        for start in track(range(0, count, 4096), f"Writing {name}"):
            block = rng.normal(size=(min(4096, count - start), dim)).astype(np.float32)
            file[start : start + len(block)] = block / np.linalg.norm(block, axis=1, keepdims=True)
        file.flush()


def open_pairs(folder: Path, count: int) -> Pairs:
    """The first ``count`` of those written."""
    texts, images = (np.load(folder / f"{name}.npy", mmap_mode="r")[:count] for name in ("texts", "images"))
    return Pairs(texts, images, np.arange(count), np.arange(count))


def measure_speed(folder: Path, which: Which, options: argparse.Namespace) -> tuple[str, ...]:
    """Pairs a second of both, their ratio, and how that of single steps spreads."""
    pairs = open_pairs(folder, options.pairs)
    rows = np.random.default_rng(1).permutation(options.pairs)[: options.steps * options.batch]
    plan = AdapterPlan(which=which, epochs=1, batch=options.batch)
    bare = BareProducts(options.batch, options.dim, which, torch.device(options.device))
    trained, alone = list[float](), list[float]()
    began = 0.0

    def after(_step: int, _steps: int) -> None:
        nonlocal began
        now = seconds(options.device)
        trained.append(now - began)
        bare.step()
        began = seconds(options.device)
        alone.append(began - now)

    train_adapter(pairs.only(rows), pairs.only(rows[:64]), plan, device=options.device, on_step=after)
    trained, alone = trained[WARM:], alone[WARM:]
    ratios = [products / step for step, products in zip(trained, alone, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    speeds = [options.batch * len(times) / sum(times) for times in (trained, alone)]
    return (*(f"{speed:,.0f}" for speed in speeds), f"{speeds[0] / speeds[1]:.2f}", f"{low:.2f} to {high:.2f}")


class BareProducts:
    """The matrix products of one step, on buffers that lie ready."""

    def __init__(self, batch: int, dim: int, which: Which, device: torch.device) -> None:
        hidden = dim // 4
        self.heads = 1 if which == "text" else 2
        self.rows, self.hiddens = (torch.randn(batch, width, device=device) for width in (dim, hidden))
        self.inward, self.outward = (torch.randn(*shape, device=device) for shape in ((hidden, dim), (dim, hidden)))
        self.logits = torch.randn(batch, batch, device=device)
        self.into_rows, self.into_hiddens = torch.empty_like(self.rows), torch.empty_like(self.hiddens)
        self.into_inward, self.into_outward = torch.empty_like(self.inward), torch.empty_like(self.outward)
        self.into_logits = torch.empty_like(self.logits)

    def step(self) -> None:
        """Forward and backward; no gradient goes on to the vectors of the encoder."""
        for _ in range(self.heads):
            torch.mm(self.rows, self.inward.T, out=self.into_hiddens)
            torch.mm(self.hiddens, self.outward.T, out=self.into_rows)
            torch.mm(self.rows, self.outward, out=self.into_hiddens)  # gradient of the hidden layer
            torch.mm(self.rows.T, self.hiddens, out=self.into_outward)
            torch.mm(self.hiddens.T, self.rows, out=self.into_inward)
        torch.mm(self.rows, self.rows.T, out=self.into_logits)
        for _ in range(self.heads):
            torch.mm(self.logits, self.rows, out=self.into_rows)  # gradient of the texts, and of the pictures


def seconds(device: str) -> float:
    """CPU seconds of this process so far; on a GPU the time, with nothing left under way there."""
    if not device.startswith("cuda"):
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def memory_apart(folder: Path, count: int, options: argparse.Namespace) -> str:
    """Peak in MB of a training on ``count`` pairs in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training", "--memory-of", str(folder), "--pairs", str(count)]
    command += ["--batch", str(options.batch), "--threads", str(options.threads), "--device", options.device]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def measure_memory(folder: Path, options: argparse.Namespace) -> str:
    """Peak in MB of one epoch, with its ranks over all pictures, above what the process had before."""
    plan = AdapterPlan(epochs=1, batch=options.batch)
    small = open_pairs(folder, 4 * options.batch)
    train_adapter(small, small, plan, device=options.device)  # libraries, threads and buffers of a step are there
    pairs = open_pairs(folder, options.pairs)
    validation = pairs.only(np.arange(0, options.pairs, max(1, options.pairs // 2000)))
    with peak_of_own_memory() as peak:
        train_adapter(pairs, validation, plan, device=options.device)
    return f"{(peak[-1] - peak[0]) / MB:.0f}"


@contextmanager
def peak_of_own_memory() -> Iterator[list[int]]:
    """[before, peak] in bytes, once it is left; looked at every 2 ms."""
    process, over, seen = psutil.Process(), threading.Event(), list[int]()

    def look() -> None:
        while not over.wait(0.002):
            memory = process.memory_info()
            seen.append(max(seen[-1], memory.rss - memory.shared))

    memory = process.memory_info()
    seen.append(memory.rss - memory.shared)
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


if __name__ == "__main__":
    main()
