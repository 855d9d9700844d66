"""What feedback gains on drawings nobody has seen: `python benchmarks/demo_feedback.py [--things 3000 --queries 1000]`.

Things of combinations that neither the encoder nor the summarizer learned from, half of them with near twins that
differ in one attribute. A query leaves out up to two of a thing's attributes, in phrasings of their own; the thing
itself is right, though others may have all that is named. Pictures alone are searched, as in the paper.
"""

import argparse
from pathlib import Path
from random import Random

import numpy as np
import torch

from backend.demo.captions import held_out_query
from backend.demo.feedback_set import Gallery, gallery
from backend.demo.train_summarizer import CACHE, ENCODER, FILE
from backend.ml.encoder import Encoder, load_encoder
from backend.ml.feedback.inputs import Feedback, Items, ItemTokens, Matrix, Query, Tokens
from backend.ml.feedback.policy import BUILT_IN, Mix, Policy
from backend.ml.feedback.update import refine
from backend.ml.metrics import paired_bootstrap, reciprocal_rank, target_ranks
from backend.ml.summarizer import TokenSummarizer, load_summarizer
from backend.ml.summarizer_examples import first_found

SEED = 11
STRONGER = Mix(0.6, 0.2, 0.2)
STRONGEST = Mix(0.6, 0.4, 0.2)
POLICIES = {
    "none": Policy(strategy="none"),
    "prf": Policy(strategy="prf"),
    "grf": Policy(strategy="grf"),
    "grf, unit": Policy(strategy="grf", grf=Mix()),
    "afs": Policy(strategy="afs"),
    "afs, .6/.2/.2": Policy(strategy="afs", afs=STRONGER),
    "afs, .6/.4/.2": Policy(strategy="afs", afs=STRONGEST),
    "afs, .6/.2/.2, similarity": Policy(strategy="afs", afs=STRONGER, negative_weighting="similarity"),
    "afs, .6/.4/.2, similarity": Policy(strategy="afs", afs=STRONGEST, negative_weighting="similarity"),
    "grf, unit, .8/.2/.2": Policy(strategy="grf", grf=Mix(0.8, 0.2, 0.2)),
    "afs_images": Policy(strategy="afs_images"),
    "auto": BUILT_IN["auto"],
    "explicit": Policy(strategy="text"),
}


class Sessions:
    """Sessions over one gallery: the first so many things are asked for, each by a query of its own."""

    def __init__(self, held: Gallery, encoder: Encoder, queries: int, summarizer: TokenSummarizer | None) -> None:
        random = Random(f"feedback queries {SEED}")
        asked = encoder.encode_texts_with_tokens([held_out_query(item, random).text for item in held.items[:queries]])
        self.held, self.starts, self.words, self.summarizer = held, asked.vectors, asked.tokens, summarizer
        said = [[held_out_query(item, random).text for item in held.items[:queries]] for _ in range(4)]
        self.said = [encoder.encode_texts(texts) for texts in said]

    def run(self, policy: Policy, turns: int) -> list[np.ndarray]:
        """Reciprocal rank at 5 of each query, turn by turn; the first is plain retrieval."""
        at, ranks = self.starts, [self._ranked(self.starts)]
        for turn in range(turns - 1):
            shown = first_found(at, self.held.pictures, policy.k)
            at = np.stack([self._turn(policy, row, at[row], shown[row], turn) for row in range(len(at))])
            ranks.append(self._ranked(at))
        return ranks

    def _turn(self, policy: Policy, row: int, now: Matrix, shown: np.ndarray, turn: int) -> Matrix:
        items = Items(self.held.pictures[shown], self.held.captions[shown], np.full(len(shown), np.nan))
        feedback = Feedback(
            items,
            words=self.said[turn][row] if policy.strategy == "text" else None,
            tokens=self._tokens(row, shown) if policy.strategy in ("afs", "afs_images", "auto") else None,
        )
        start, current = Query(self.starts[row], self.starts[row]), Query(now, now)
        moved: Matrix = refine(policy, start, current, feedback, summarizer=self.summarizer).query.image
        return moved

    def _tokens(self, row: int, shown: np.ndarray) -> Tokens:
        patches = self.held.patches.take(shown).dense()[0].numpy()
        items = (ItemTokens(one, self.held.words[item]) for one, item in zip(patches, shown, strict=True))
        return Tokens(self.words[row], tuple(items))

    def _ranked(self, queries: Matrix) -> np.ndarray:
        ranks = target_ranks(queries @ self.held.pictures.T, np.arange(len(queries)))
        return reciprocal_rank(ranks, 5)


def main() -> None:
    """Draw and encode what is missing, and print the table."""
    parser = argparse.ArgumentParser(description="Measure feedback on fresh drawings.")
    parser.add_argument("--things", type=int, default=3000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--drawings", type=Path, default=CACHE)
    parser.add_argument("--summarizer", type=Path, default=ENCODER / FILE)
    parser.add_argument("--workers", type=int, default=2)
    choice = parser.parse_args()
    encoder = load_encoder("demo", device="cpu", threads=1, demo_dir=ENCODER)
    held = gallery(choice.drawings, encoder, choice.things, SEED, choice.workers, lambda *_: None, held_out=True)
    summarizer = load_summarizer(choice.summarizer.read_bytes()) if choice.summarizer.is_file() else None
    sessions = Sessions(held, encoder, choice.queries, summarizer)
    torch.set_num_threads(1)
    print(f"{choice.queries} queries over {choice.things} things, MRR@5; gains over no feedback with 95 % intervals\n")
    print(f"{'':<16}" + "".join(f"{f'turn {turn}':>9}" for turn in range(1, choice.turns + 1)) + f"{'gain at 2':>30}")
    for name, policy in POLICIES.items():
        if summarizer is None and policy.strategy.startswith("afs"):
            continue
        ranks = sessions.run(policy, choice.turns)
        gain = paired_bootstrap(ranks[1], ranks[0])
        last = paired_bootstrap(ranks[-1], ranks[0])
        intervals = "".join(f"{one.mean:>+10.4f} [{one.low:+.4f}, {one.high:+.4f}]" for one in (gain, last))
        print(f"{name:<16}" + "".join(f"{turn.mean():>9.4f}" for turn in ranks) + intervals, flush=True)


if __name__ == "__main__":
    main()
