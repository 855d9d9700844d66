"""What an adapter learns of a shop's own words: `python -m benchmarks.shop_words VOCABULARY.csv [--seeds 3]`.

The demo shop, asked for in words that the demo encoder has never seen ("a wee tangerine stuffie"). VOCABULARY.csv names
them: columns `concept` (what the demo calls it: plush toy, orange, striped) and `shop_word`. Pairs to learn from are
phrased as the encoder's training captions are, queries as its held-out queries are, which share no phrasing, and they
are of other products. The same queries in plain words show what is forgotten. Scores are the one score, calibrated as a
generation is.
"""

import argparse
import csv
import re
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from backend.demo.captions import held_out_query, training_caption
from backend.demo.catalogue import Product, products, write
from backend.generations.calibrate import Asked, measure
from backend.ml.adapter_gate import Scaling, scaled_best
from backend.ml.adapter_plan import AdapterPlan, AdapterRun
from backend.ml.encoder import Encoder, load_encoder
from backend.ml.heads import Head, drift
from backend.ml.metrics import Interval, hits, paired_bootstrap, reciprocal_rank
from backend.ml.pairs import Pairs, Rows, Vectors
from backend.ml.scoring import Side, score_matrix
from backend.ml.training import train_adapter
from benchmarks.demo_quality import ENCODER, picture_vectors

SHARES = (0.7, 0.1, 0.2)
"""Of the products: learned from, deciding weights and scale, asked for."""

FORMS: dict[str, tuple[str, ...]] = {
    "striped": ("striped", "stripes"),
    "dotted": ("dotted", "dots"),
    "checked": ("checked", "checks"),
    "floral": ("floral", "flowers"),
    "zigzag": ("zigzag", "zigzags"),
    "starry": ("starry", "stars"),
    "pompom": ("pompom", "pompoms"),
    "handle": ("big handle",),
    "plush toy": ("plush toy", "soft toy"),
    "lamp": ("lamp", "table lamp"),
    "small": ("small", "little", "tiny"),
}
"""How the demo's sentences say a concept, where not by its own name."""


class ShopTalk:
    """Says sentences of the demo in the words of a shop.

    Args:
        path: CSV with columns ``concept`` and ``shop_word``.
    """

    def __init__(self, path: Path) -> None:
        self._words: dict[str, list[str]] = defaultdict(list)
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                self._words[row["concept"]].append(row["shop_word"])
        self._concepts = {form: concept for concept in self._words for form in FORMS.get(concept, (concept,))}
        longest_first = sorted(self._concepts, key=len, reverse=True)
        self._forms = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b")

    def __call__(self, sentence: str, random: Random) -> str:
        """The sentence with a shop's word for every concept that there is one for."""
        return self._forms.sub(lambda found: random.choice(self._words[self._concepts[found[0]]]), sentence)


@dataclass(frozen=True)
class Shop:
    """The demo shop as vectors, and what is said of its products.

    Args:
        images: every picture.
        captions: one a product.
        said: sentences to learn from, with the product of each.
        asked: queries in the shop's words, with the product of each.
        plain: the same queries in plain words.
        relevant: products that have all that each query names.
    """

    images: Side
    captions: Side
    said: Side
    asked: Side
    plain: Side
    relevant: list[list[int]]


@dataclass(frozen=True)
class Ranks:
    """Ranks of the best right product of each query, in the shop's words and in plain ones, by one way to score."""

    shop: Rows
    plain: Rows


def read_shop(encoder: Encoder, directory: Path, talk: ShopTalk, chosen: Sequence[Product], said: int) -> Shop:
    """Draw what is missing, and encode."""
    write(directory, len(chosen))
    cached = directory / f"vectors-{encoder.weights_hash[:12]}-{len(chosen)}.npz"
    if not cached.exists():
        vectors, owners = picture_vectors(encoder, directory, chosen)
        np.savez(cached, vectors=vectors, owners=owners)
    held, random = np.load(cached), Random("what is said")
    numbers = np.arange(len(chosen))
    sentences = [talk(training_caption(one.item, random), random) for one in chosen for _ in range(said)]
    queries = [held_out_query(one.item, random) for one in chosen for _ in range(3)]
    shop_talk = [talk(query.text, random) for query in queries]
    of = np.repeat(numbers, 3)
    return Shop(
        Side(held["vectors"], held["owners"]),
        Side(encoder.encode_texts([one.caption for one in chosen]), numbers),
        Side(encoder.encode_texts(sentences), np.repeat(numbers, said)),
        Side(encoder.encode_texts(shop_talk), of),
        Side(encoder.encode_texts([query.text for query in queries]), of),
        _relevant(chosen, [query.named for query in queries]),
    )


def _relevant(chosen: Sequence[Product], named: Sequence[frozenset[str]]) -> list[list[int]]:
    owners: dict[str, set[int]] = defaultdict(set)
    for number, product in enumerate(chosen):
        for feature in product.item.features:
            owners[feature].add(number)
    return [sorted(set.intersection(*(owners[feature] for feature in features))) for features in named]


def pairs_of(shop: Shop, texts: Side, among: Rows) -> Pairs:
    """Texts of the products ``among``, each with the first picture of its product."""
    first = np.unique(shop.images.products, return_index=True)[1]
    rows = np.flatnonzero(np.isin(texts.products, among))
    return Pairs(texts.vectors, shop.images.vectors, first[texts.products], shop.images.products, rows)


def train(shop: Shop, parts: Sequence[Rows], plan: AdapterPlan) -> tuple[AdapterRun, Scaling]:
    """Heads for what is said, and their best scale that forgets no caption."""
    said = [pairs_of(shop, shop.said, part) for part in parts]
    captions = [pairs_of(shop, shop.captions, part) for part in parts]
    run = train_adapter(said[0], said[1], plan, replay=captions[0])
    return run, scaled_best(run.text, run.image, said[1], captions[1])


def ranks(shop: Shop, asked: Rows, text: Head | None, image: Head | None) -> dict[str, Ranks]:
    """Ranks for the queries ``asked``, by the one score and by pictures alone."""
    through = _Through(text, image)
    images = Side(through.image(shop.images.vectors), shop.images.products)
    captions = Side(through.caption(shop.captions.vectors), shop.captions.products)
    heard = Asked(Side(through.text(shop.captions.vectors), shop.captions.products), images)
    calibration = measure(images, captions, 0.5, heard)
    by_picture = replace(calibration, caption_weight=0.0)
    everything, found = np.unique(shop.images.products), {}
    for name, weights in (("the one score", calibration), ("pictures alone", by_picture)):
        both = []
        for side in (shop.asked, shop.plain):
            queries = through.text(side.vectors[asked])
            scores = score_matrix(queries, queries, images, captions, everything, weights, "text")
            best = np.array([scores[row, shop.relevant[query]].max() for row, query in enumerate(asked)])
            both.append(1 + (scores > best[:, None]).sum(axis=1))
        found[name] = Ranks(*both)
    return found


@dataclass(frozen=True)
class _Through:
    """Heads of the two towers, either of which may be none."""

    of_text: Head | None
    of_image: Head | None

    def text(self, vectors: Vectors) -> Vectors:
        return vectors if self.of_text is None else self.of_text(vectors)

    def image(self, vectors: Vectors) -> Vectors:
        return vectors if self.of_image is None else self.of_image(vectors)

    def caption(self, vectors: Vectors) -> Vectors:
        return vectors if self.of_image is None else self.text(vectors)  # the index changes as a whole or not at all


def line(name: str, before: Rows, after: Rows) -> str:
    """One row of the table: recall at 10 and MRR before and after, and the intervals of the differences."""
    cells = f"{name:<34}"
    for of in (lambda one: hits(one, 10), reciprocal_rank):
        change: Interval = paired_bootstrap(of(after), of(before))
        means = f"{of(before).mean():.3f} -> {of(after).mean():.3f}"
        cells += f"{means:>18} {change.mean:>+8.3f} [{change.low:+.3f}, {change.high:+.3f}]"
    return cells


def measure_seed(shop: Shop, plan: AdapterPlan) -> tuple[dict[str, Ranks], dict[str, Ranks]]:
    """Ranks before and after, of the products that this seed neither learns from nor decides by."""
    count = len(shop.captions.products)
    shuffled = np.random.default_rng(plan.seed).permutation(count)
    parts = np.split(shuffled, np.round(np.cumsum(SHARES) * count).astype(int)[:-1])
    run, scaling = train(shop, parts, plan)
    asked = np.flatnonzero(np.isin(shop.asked.products, parts[2]))
    before = ranks(shop, asked, None, None)
    after = ranks(shop, asked, scaling.text, scaling.image)
    moved = drift(shop.captions.vectors, scaling.text(shop.captions.vectors))
    print(
        f"\nseed {plan.seed}: {len(asked)} queries; {run.history[-1].number} epochs in {run.seconds:.0f} s, "
        f"scaled by {scaling.best.gamma:g}; drift of plain captions {moved:.4f}"
    )
    for name in before:
        print(line(f"  shop's words, {name}", before[name].shop, after[name].shop))
        print(line(f"  plain words, {name}", before[name].plain, after[name].plain), flush=True)
    return before, after


def main() -> None:
    """Train for every seed and print the tables."""
    parser = argparse.ArgumentParser(description="Measure what an adapter learns of a shop's own words.")
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("--products", type=int, default=2400)
    parser.add_argument("--said", type=int, default=4, help="sentences to learn from, a product")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--which", choices=("text", "both", "shared"), default="text")
    parser.add_argument("--plan", nargs="*", default=[], help="further fields of the plan, as rate=0.001")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "morelike-demo-shop")
    choice = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_encoder("demo", device="cpu", threads=1, demo_dir=ENCODER)
    chosen = products(choice.products, 7)
    shop = read_shop(encoder, choice.directory, ShopTalk(choice.vocabulary), chosen, choice.said)
    fields = (one.partition("=") for one in choice.plan)
    given: dict[str, Any] = {name: float(value) if "." in value else int(value) for name, _, value in fields}
    plan = AdapterPlan(which=choice.which, **given)
    print(f"{len(chosen)} products, {len(shop.images.vectors)} pictures, {choice.said} sentences a product; {plan}")
    runs = [measure_seed(shop, replace(plan, seed=seed)) for seed in range(1, choice.seeds + 1)]
    print("\nall seeds: Recall@10, then MRR; untouched -> adapted, difference [95 % interval]")
    for name in runs[0][0]:
        for words in ("shop", "plain"):
            before, after = (np.concatenate([getattr(run[at][name], words) for run in runs]) for at in (0, 1))
            print(line(f"  {words} words, {name}", before, after))


if __name__ == "__main__":
    main()
