"""What a tall or wide box on a picture is best turned into before it is encoded: `python -m benchmarks.box_crops`.

Each of 600 drawn products is drawn again with another seed, a box is laid over the drawing, and what it holds looks for
the product among the 600 first drawings with the demo encoder. The same box lies on every drawing; products are not
equally wide and tall, so some of them are cut.
"""

import argparse
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from backend.demo.attributes import training_items
from backend.demo.drawing import draw
from backend.ml.encoder import Encoder, load_encoder
from backend.ml.regions import Box, pad_to_frame

ENCODER = Path(__file__).resolve().parents[1] / "backend" / "demo" / "encoder"
SIDE = 192
BOXES: dict[str, Box] = {
    "tall": (0.28, 0.03, 0.72, 0.97),
    "very tall": (0.35, 0.03, 0.65, 0.97),
    "wide": (0.03, 0.28, 0.97, 0.72),
    "wide and low": (0.1, 0.5, 0.9, 0.9),
}


def main() -> None:
    """Print the mean reciprocal rank of the product for each box and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--threads", type=int, default=1)
    choice = parser.parse_args()
    torch.set_num_threads(choice.threads)
    encoder = load_encoder("demo", threads=choice.threads, demo_dir=ENCODER)
    items = list(islice(training_items(4), choice.count))
    first, again = (
        [draw(item, seed + row, SIDE) for row, item in enumerate(track(items, "drawing", transient=True))]
        for seed in (3_100_000_000, 3_200_000_000)
    )
    gallery = encoder.encode_images(first)
    ways: dict[str, Callable[[Image.Image], Image.Image]] = {
        "cut by the encoder": lambda picture: picture,
        "stretched": stretched,
        "padded": lambda picture: pad_to_frame(picture, encoder.framing),
    }
    table = Table("box", *ways, title="MRR of the product")
    for name, box in BOXES.items():
        crops = [picture.crop(tuple(round(edge * SIDE) for edge in box)) for picture in again]  # type: ignore[arg-type]
        table.add_row(
            name, *(f"{mean_reciprocal_rank(encoder, map(way, crops), gallery):.3f}" for way in ways.values())
        )
    table.add_row("the whole picture", f"{mean_reciprocal_rank(encoder, again, gallery):.3f}")
    Console().print(table)


def stretched(picture: Image.Image) -> Image.Image:
    """The picture as a square."""
    side = max(picture.size)
    return picture.resize((side, side), Image.Resampling.BICUBIC)


def mean_reciprocal_rank(encoder: Encoder, pictures: Iterable[Image.Image], gallery: np.ndarray) -> float:
    """Of the drawing (n, d) in the place of each of the n pictures."""
    scores = encoder.encode_images(list(pictures)) @ gallery.T
    ranks = 1 + (scores > scores.diagonal()[:, None]).sum(axis=1)
    return float((1 / ranks).mean())


if __name__ == "__main__":
    main()
