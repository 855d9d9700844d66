from pathlib import Path

import numpy as np
import pytest

from backend import demo
from backend.demo.catalogue import FLAGSHIP, held_out_queries, products
from backend.demo.drawing import draw
from backend.demo.retrieval import recall
from backend.ml.encoder import Encoder, load_encoder

DIRECTORY = Path(demo.__file__).parent / "encoder"
COUNT = 300


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    if not (DIRECTORY / "open_clip_model.safetensors").exists():
        pytest.skip("the demo encoder is not in this checkout")
    return load_encoder(f"local-dir:{DIRECTORY}", device="cpu", threads=1)


def test_encoder_directory_is_small() -> None:
    assert sum(path.stat().st_size for path in DIRECTORY.iterdir()) <= 14 * 1000 * 1000


def test_encoder_finds_products_by_queries_it_never_saw(encoder: Encoder) -> None:
    chosen = products(COUNT, seed=7)
    queries = list(held_out_queries(count=COUNT, queries=COUNT))
    rows = {product.id: row for row, product in enumerate(chosen)}
    relevant = [frozenset(rows[name] for name in named) for _, named in queries]
    pictures = encoder.encode_images([draw(product.item, seed=row, side=192) for row, product in enumerate(chosen)])
    captions = encoder.encode_texts([product.caption for product in chosen])
    words = encoder.encode_texts([*(text for text, _ in queries), FLAGSHIP])
    by_picture, by_caption = words @ pictures.T, words @ captions.T
    assert recall(by_picture[:-1], relevant).at_10 >= 0.96
    both = recall((by_picture + by_caption)[:-1], relevant)
    assert both.at_10 >= 0.98
    assert both.at_1 >= 0.9
    assert 0 in np.argsort(-(by_picture + by_caption)[-1])[:3]
