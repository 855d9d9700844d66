"""A shop's words by stage B: `python -m benchmarks.unfrozen_words VOCABULARY.csv [--said 2] [--rate 3e-4]`.

As benchmarks.shop_words, whose sentences, queries and products these are, with the last blocks of the demo's text tower
trained instead of a head: pictures and their vectors stay. The way back to the untouched weights is walked in steps.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import torch

from backend.demo.captions import held_out_query, training_caption
from backend.demo.catalogue import Product, products
from backend.ml.dual_encoder import Encoder, EncoderParts
from backend.ml.encoder import load_encoder, open_parts, write_encoder
from backend.ml.pairs import Rows
from backend.ml.partial_unfreezing import Unfreezing, UnfreezingPlan
from backend.ml.scoring import Side
from backend.ml.unfrozen_towers import Side as TowerSide
from backend.ml.unfrozen_towers import text_side
from benchmarks.demo_quality import ENCODER
from benchmarks.shop_words import SHARES, Shop, ShopTalk, line, ranks, read_shop

SAID = 4
"""Sentences a product of benchmarks.shop_words: drawn alike, so that queries are the same."""
STEPS = (1.0, 0.5, 0.2)


@dataclass(frozen=True)
class Words:
    """What is said of the demo's products, and asked for.

    Args:
        shop: as vectors of the untouched encoder.
        learned: sentences in the shop's words and captions in plain ones.
        of: product of each.
        shop_talk: queries in the shop's words.
        plain: the same in plain words.
        captions: one a product.
    """

    shop: Shop
    learned: list[str]
    of: Rows
    shop_talk: list[str]
    plain: list[str]
    captions: list[str]


def said_and_asked(choice: argparse.Namespace, chosen: Sequence[Product]) -> Words:
    """The sentences and queries of benchmarks.shop_words, as texts too."""
    talk = ShopTalk(choice.vocabulary)
    encoder = load_encoder("demo", device="cpu", threads=1, demo_dir=ENCODER)
    shop = read_shop(encoder, choice.directory, talk, chosen, SAID)
    random, numbers = Random("what is said"), np.arange(len(chosen))
    sentences = [talk(training_caption(one.item, random), random) for one in chosen for _ in range(SAID)]
    queries = [held_out_query(one.item, random).text for one in chosen for _ in range(3)]
    shop_talk, captions = [talk(query, random) for query in queries], [one.caption for one in chosen]
    learned = [*(text for at, text in enumerate(sentences) if at % SAID < choice.said), *captions]
    of = np.concatenate([np.repeat(numbers, choice.said), numbers])
    return Words(shop, learned, of, shop_talk, queries, captions)


def begun(words: Words, opened: EncoderParts, plan: UnfreezingPlan, folder: Path) -> Unfreezing:
    """The demo's text tower taken apart; pictures stay as they are."""
    images, cpu = words.shop.images, torch.device("cpu")
    texts = text_side(opened, words.learned, plan.text_blocks, folder, cpu, lambda *_: None)
    pictures = TowerSide(None, images.vectors, np.zeros(len(images.vectors), np.int64))
    first = np.unique(images.products, return_index=True)[1]
    return Unfreezing(opened, plan, texts, pictures, first[words.of], images.products, cpu)


def heard(words: Words, encoder: Encoder, asked: Rows) -> Shop:
    """The shop as ``encoder`` hears it; of the queries, ``asked`` alone."""
    shop, captions = words.shop, encoder.encode_texts(words.captions)
    sides = [encoder.encode_texts([texts[at] for at in asked]) for texts in (words.shop_talk, words.plain)]
    of = shop.asked.products[asked]
    return replace(
        shop,
        captions=Side(captions, shop.captions.products),
        asked=Side(sides[0], of),
        plain=Side(sides[1], of),
        relevant=[shop.relevant[at] for at in asked],
    )


def main() -> None:
    """Train, and print what is found at each step of the way."""
    parser = argparse.ArgumentParser(description="Measure what stage B learns of a shop's own words.")
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("--products", type=int, default=2400)
    parser.add_argument("--said", type=int, default=2, help=f"sentences to learn from, a product; at most {SAID}")
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "morelike-demo-shop")
    choice = parser.parse_args()
    torch.set_num_threads(1)
    words = said_and_asked(choice, products(choice.products, 7))
    shuffled = np.random.default_rng(choice.seed).permutation(choice.products)
    parts = np.split(shuffled, np.round(np.cumsum(SHARES) * choice.products).astype(int)[:-1])
    asked = np.flatnonzero(np.isin(words.shop.asked.products, parts[2]))
    before, opened = ranks(words.shop, asked, None, None), open_parts("demo", demo_dir=ENCODER)
    lengths = {"epochs": choice.epochs, "batch": 128, "seed": choice.seed}
    plan = UnfreezingPlan(choice.blocks, rate=choice.rate, projection_factor=3, **lengths)
    with tempfile.TemporaryDirectory() as folder:
        held, began = begun(words, opened, plan, Path(folder)), time.monotonic()
        rows = [np.flatnonzero(np.isin(words.of, part)) for part in parts]
        held.train(rows[0], rows[1], lambda epoch: print(epoch, flush=True))
        print(f"{len(rows[0])} texts learned from in {time.monotonic() - began:.0f} s; {plan}")
        goal = held.trained()
        for step in STEPS:
            held.scale_to(step, goal)
            place = write_encoder(opened, Path(folder) / f"at-{step:g}", name="shop-words", demo_dir=ENCODER)
            now = heard(words, load_encoder(f"local-dir:{place}", device="cpu", threads=1), asked)
            after = ranks(now, np.arange(len(asked)), None, None)
            print(f"\n{step:g} of the way: R@10, then MRR; untouched -> trained, difference [95 % interval]")
            for name in before:
                print(line(f"  shop's words, {name}", before[name].shop, after[name].shop))
                print(line(f"  plain words, {name}", before[name].plain, after[name].plain), flush=True)


if __name__ == "__main__":
    main()
