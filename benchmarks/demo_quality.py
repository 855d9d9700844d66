"""How well the demo encoder finds the demo shop's products: `python benchmarks/demo_quality.py [--count 2400]`.

Every query is a held-out caption that names most but not always all attributes of one product. A result is right if it
has everything the query names. Vectors only: score = best image cosine + weight x caption cosine.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.demo.catalogue import (
    FLAGSHIP,
    Product,
    duplicate_share,
    held_out_queries,
    near_twin_groups,
    picture_items,
    products,
    write,
)
from backend.demo.retrieval import Recall, recall
from backend.ml.encoder import Encoder, load_encoder

Vectors = NDArray[np.float32]
ENCODER = Path(__file__).resolve().parents[1] / "backend" / "demo" / "encoder"
WEIGHTS = (0.25, 0.5, 1.0, 2.0)
PICTURES_AT_ONCE = 256


@dataclass(frozen=True)
class Shop:
    """Cosines (queries, products) of a catalogue: the best picture's and the caption's."""

    by_picture: Vectors
    by_caption: Vectors


def picture_vectors(encoder: Encoder, directory: Path, chosen: Sequence[Product]) -> tuple[Vectors, list[int]]:
    """Vectors of every picture (n, d) and the product each belongs to."""
    files = [
        (row, directory / "images" / name) for row, product in enumerate(chosen) for name in picture_items(product)
    ]
    parts = []
    for start in range(0, len(files), PICTURES_AT_ONCE):
        images = [Image.open(path).convert("RGB") for _, path in files[start : start + PICTURES_AT_ONCE]]
        parts.append(encoder.encode_images(images))
    return np.concatenate(parts), [row for row, _ in files]


def measure(encoder: Encoder, directory: Path, chosen: Sequence[Product], queries: Sequence[str]) -> Shop:
    """Encode the shop and the queries, and compare them."""
    words = encoder.encode_texts(list(queries))
    pictures, owners = picture_vectors(encoder, directory, chosen)
    best = np.full((len(queries), len(chosen)), -1, np.float32)
    for row, cosines in zip(owners, (words @ pictures.T).T, strict=True):
        best[:, row] = np.maximum(best[:, row], cosines)
    return Shop(best, words @ encoder.encode_texts([product.caption for product in chosen]).T)


def line(name: str, found: Recall, unique: Recall) -> str:
    """One row of the table."""
    cells = (found.at_1, found.at_5, found.at_10, unique.at_1, unique.at_5, unique.at_10)
    return f"{name:<22}" + "".join(f"{cell:>8.3f}" for cell in cells)


def report(shop: Shop, relevant: Sequence[frozenset[int]]) -> None:
    """Print recall by picture, by caption and by both, over all queries and over those that name one product."""
    single = [row for row, columns in enumerate(relevant) if len(columns) == 1]
    print(f"{len(relevant)} queries, {len(single)} of them name exactly one product\n")
    print(f"{'':<22}{'R@1':>8}{'R@5':>8}{'R@10':>8}{'R@1':>8}{'R@5':>8}{'R@10':>8}   (last three: one product named)")
    parts = [("image only", shop.by_picture), ("caption only", shop.by_caption)]
    parts += [(f"both, weight {weight:g}", shop.by_picture + weight * shop.by_caption) for weight in WEIGHTS]
    for name, scores in parts:
        print(line(name, recall(scores, relevant), recall(scores[single], [relevant[row] for row in single])))


def main() -> None:
    """Draw the shop where it is not there yet, encode it and print the tables."""
    parser = argparse.ArgumentParser(description="Measure the demo encoder on the demo shop.")
    parser.add_argument("--count", type=int, default=2400, help="products in the shop")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--encoder", type=Path, default=ENCODER)
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "morelike-demo-shop")
    parser.add_argument("--threads", type=int, default=1)
    choice = parser.parse_args()
    write(choice.directory, choice.count, choice.seed)
    chosen = products(choice.count, choice.seed)
    rows = {product.id: row for row, product in enumerate(chosen)}
    queries = list(held_out_queries(choice.count, choice.seed))
    encoder = load_encoder(f"local-dir:{choice.encoder}", device="cpu", threads=choice.threads)
    shop = measure(encoder, choice.directory, chosen, [text for text, _ in queries] + [FLAGSHIP])
    relevant = [frozenset(rows[name] for name in named) for _, named in queries]
    report(Shop(shop.by_picture[:-1], shop.by_caption[:-1]), relevant)
    groups = near_twin_groups(chosen)
    print(f"\nnear-twin groups: {len(groups)}, holding {len({name for group in groups for name in group})} products")
    print(f"duplicate captions: {duplicate_share([product.caption for product in chosen]):.2%}")
    ranks = {
        name: int((scores[-1] > scores[-1, 0]).sum()) + 1
        for name, scores in (("image", shop.by_picture), ("both, weight 1", shop.by_picture + shop.by_caption))
    }
    print(f"rank of the product behind {FLAGSHIP!r}: {ranks}")


if __name__ == "__main__":
    main()
