"""Drawings that the demo encoder has not seen, and what it finds among them: what the demo's summarizer learns from.

Half of the designs come with one to three near twins that differ in one attribute only, so that a list of results holds
things that are almost what was asked for. Combinations that the shop may sell are for judging, the others for learning.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.demo.attributes import KINDS, Item, belongs_to_catalogue, random_item
from backend.demo.captions import visual_caption
from backend.demo.drawing import draw
from backend.demo.training_set import SIDE, Progress
from backend.ml.encoder import Encoder
from backend.ml.summarizer_examples import Examples, first_found
from backend.ml.token_table import TokenTable, TokenWriter

CHUNK = 250
FIRST_SEED = 2_000_000_000
"""Seeds of drawings from here on are used neither by the encoder's training nor by the shop."""

SHOWN = 5
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Gallery:
    """Drawn things: what they are, the unit vectors and tokens of their pictures, and of the captions stored for them.

    Args:
        items: n of them, all different.
        pictures: (n, d).
        captions: (n, d).
        patches: tokens of each picture.
        words: (L, Dt) tokens of each caption.
    """

    items: list[Item]
    pictures: Vectors
    captions: Vectors
    patches: TokenTable
    words: list[Vectors]


def designs(seed: int, *, held_out: bool) -> Iterator[Item]:
    """Endless different items whose combinations the catalogue may hold, or may not; half of them have near twins."""
    random, seen = Random(f"feedback {seed}"), set[tuple[str, ...]]()
    while True:
        design = random_item(random)
        twins = [_twin(design, random) for _ in range(random.choice((0, 0, 0, 1, 2, 3)))]
        for item in (design, *twins):
            if item.combination in seen or belongs_to_catalogue(item) != held_out or item.second == item.colour:
                continue
            seen.add(item.combination)
            yield item


def _twin(item: Item, random: Random) -> Item:
    """The item with another background and one attribute drawn again."""
    kind, other = KINDS[item.kind], random_item(random)
    changed = random.choice(
        (
            {"colour": other.colour},
            {"size": random.choice(kind.sizes)},
            {"material": random.choice(kind.materials)},
            {"details": (random.choice(kind.details),)},
            {"pattern": other.pattern, "second": other.second},
        )
    )
    return replace(item, background=other.background, **changed)


def gallery(
    directory: Path, encoder: Encoder, count: int, seed: int, workers: int, progress: Progress, *, held_out: bool
) -> Gallery:
    """Draw and encode ``count`` items, or read what an earlier call made of them in ``directory``."""
    items = list(islice(designs(seed, held_out=held_out), count))
    stem = directory / f"{'held-out' if held_out else 'training'}-{seed}-{count}-{encoder.weights_hash[:12]}"
    captions = encoder.encode_texts_with_tokens(stored_captions(items, seed))
    vectors = stem.with_suffix(".vectors.npy")
    if not vectors.exists():
        directory.mkdir(parents=True, exist_ok=True)
        np.save(vectors, _encode_drawings(stem, encoder, items, seed, workers, progress))
    return Gallery(items, np.load(vectors), captions.vectors, TokenTable.open(stem), captions.tokens)


def stored_captions(items: Sequence[Item], seed: int) -> list[str]:
    """Captions as the shop stores them: three in ten leave out what is hard to see."""
    random = Random(f"stored {seed}")
    return [visual_caption(item, full=random.random() >= 0.3) for item in items]


def _encode_drawings(
    stem: Path, encoder: Encoder, items: list[Item], seed: int, workers: int, progress: Progress
) -> Vectors:
    """Unit vectors of the drawings (n, d); their tokens are written to ``stem``."""
    starts, vectors = range(0, len(items), CHUNK), []
    first = FIRST_SEED + seed * 1_000_000
    with ProcessPoolExecutor(workers) as pool, TokenWriter(stem, encoder.layout.width) as writer:
        for drawn in pool.map(_draw, ((first + start, items[start : start + CHUNK]) for start in starts)):
            features = encoder.encode_images_with_tokens([encoder.preprocess(Image.fromarray(one)) for one in drawn])
            vectors.append(features.vectors)
            for tokens in features.tokens:
                writer.append(tokens)
            progress(sum(map(len, vectors)), len(items))
    return np.concatenate(vectors)


def _draw(chunk: tuple[int, list[Item]]) -> NDArray[np.uint8]:
    """Drawings (n, 96, 96, 3) of items, with seeds from the first."""
    first, items = chunk
    return np.stack([np.asarray(draw(item, first + row, 2 * SIDE).reduce(2)) for row, item in enumerate(items)])


def examples(
    held: Gallery,
    encoder: Encoder,
    phrase: Callable[[Item, Random], str],
    seed: int,
    *,
    queries: int,
    by_caption: float,
) -> Examples:
    """``queries`` phrases for each item, and what is found for each.

    Args:
        held: what is searched, and asked for.
        encoder: of the queries.
        phrase: words for an item.
        seed: of the phrases.
        queries: phrases an item.
        by_caption: share of the queries for which stored captions count as much as pictures, as they do in the shop;
            the others are searched by picture alone.
    """
    random = Random(f"examples {seed}")
    targets = np.repeat(np.arange(len(held.items)), queries)
    asked = encoder.encode_texts_with_tokens([phrase(held.items[row], random) for row in targets])
    weights = np.array([random.random() < by_caption for _ in targets], np.float32)
    # q·v + w·q·c is one product of longer vectors
    both = np.hstack([asked.vectors, weights[:, None] * asked.vectors])
    shown = first_found(both, np.hstack([held.pictures, held.captions]), SHOWN)
    words = TokenTable.of([*held.words, *asked.tokens], encoder.word_width)
    rows = len(held.items) + np.arange(len(targets))
    return Examples(words, rows, targets, shown, shown, held.patches, held.pictures)
