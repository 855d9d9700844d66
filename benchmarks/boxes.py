"""What a box on one of two products in a picture does: `python -m benchmarks.boxes`.

Scenes show two drawn products of a gallery side by side, drawn anew before another background. A session begins with
words that name kind and colour of both, or with the scene itself; one box is drawn on a product, or on the empty wall.
Printed is by how much the reciprocal rank of products in the gallery changes, with a paired bootstrap interval of 95 %.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from backend.demo.drawing import draw
from backend.ml.encoder import load_encoder
from backend.ml.feedback.inputs import Summarizer
from backend.ml.feedback.policy import BUILT_IN, Boxes, Policy
from backend.ml.metrics import paired_bootstrap
from backend.ml.summarizer import load_summarizer
from tests.fixtures.scenes import Boxing, compose, unseen_items

ENCODER = Path(__file__).resolve().parents[1] / "backend" / "demo" / "encoder"
SUMMARIZER = ENCODER / "morelike_summarizer.safetensors"


def main() -> None:
    """Print a row for each way to use a box and each way to begin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=600)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--summarizer", type=Path, default=SUMMARIZER, help="weights; none there, no rows for afs")
    parser.add_argument("--threads", type=int, default=1)
    choice = parser.parse_args()
    torch.set_num_threads(choice.threads)
    encoder = load_encoder("demo", threads=choice.threads, demo_dir=ENCODER)
    items = unseen_items(choice.products, choice.seed)
    gallery = [draw(item, seed, choice.side) for seed, item in enumerate(track(items, "drawing", transient=True))]
    boxing = Boxing(encoder, gallery, compose(items, choice.scenes, choice.seed, choice.side))
    table = Table("boxes", "begun by", "boxed product", "other product", "box on the wall")
    for name, policy, summarizer in ways(choice.summarizer):
        for begun in ("words", "picture"):
            shift = boxing.shift(policy, by_picture=begun == "picture", summarizer=summarizer)
            table.add_row(name, begun, *(mean(one) for one in (shift.boxed, shift.other, shift.wall)))
    Console().print(table)


def ways(weights: Path) -> list[tuple[str, Policy, Summarizer | None]]:
    """Name, policy and summarizer of each row; boxes steer a summarizer where there are weights of one."""
    policy = BUILT_IN["auto"]
    found: list[tuple[str, Policy, Summarizer | None]] = [("crop", policy, None)]
    if weights.is_file():
        summarizer = load_summarizer(weights.read_bytes())
        for strength in (5.0, 20.0):
            steered = replace(policy, boxes=Boxes(mode="afs", strength=strength))
            found.append((f"afs, strength {strength:g}", steered, summarizer))
    return found


def mean(changes: NDArray[np.float64]) -> str:
    """Mean and interval of ``changes`` (n,)."""
    interval = paired_bootstrap(changes, np.zeros(len(changes)))
    return f"{changes.mean():+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


if __name__ == "__main__":
    main()
