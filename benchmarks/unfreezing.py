"""Stage B by folds: `python -m benchmarks.unfreezing CAPTIONS --keep OTHERS --encoder local-dir:DIR [--rate 1e-4]`.

Each picture of CAPTIONS is asked for by its first caption, over all pictures, by an encoder whose last blocks were
trained on other folds, chosen by the next one. Captions of OTHERS, which nothing is learned from, show what is
forgotten. The encoder must not know the pictures already: what it was trained on is nearly solved.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from backend.evaluation.datasets import open_dataset
from backend.ml.encoder import open_parts
from backend.ml.exact_ranks import ranks_of
from backend.ml.metrics import hits, paired_bootstrap, reciprocal_rank
from backend.ml.pairs import Pairs, Rows
from backend.ml.partial_unfreezing import Unfreezing, UnfreezingPlan, unfreeze
from backend.ml.unfrozen_towers import Pictures

FOLDS = 5
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Opened:
    """An encoder over two sets of pictures; those of the first are numbered below ``own``."""

    held: Unfreezing
    own: int
    seconds: float

    def ranks(self, made: Pairs, texts: Rows) -> Rows:
        """Ranks of ``texts``, all of one set, over the pictures of that set."""
        first = made.image_of[texts[0]] < self.own
        pictures = slice(0, self.own) if first else slice(self.own, None)
        return ranks_of(made.texts, made.image_of[texts], made.images[pictures], made.product_of[pictures], rows=texts)


def opened(choice: argparse.Namespace, plan: UnfreezingPlan, folder: Path) -> Opened:
    """The frozen part of the encoder over both sets."""
    began = time.monotonic()
    sets = [open_dataset(choice.captions, images=choice.images), open_dataset(choice.keep, images=choice.keep_images)]
    photos = [(data, place) for data in sets for place in range(len(data.photos))][: len(sets[0].photos) + choice.kept]
    texts = [data.photos[place].captions[0] for data, place in photos]
    own = np.arange(len(photos))
    shown = Pictures(len(photos), lambda row: photos[row][0].picture(photos[row][1]))
    held = unfreeze(open_parts(choice.encoder), texts, shown, (own, own), plan, folder, device=CPU)
    return Opened(held, len(sets[0].photos), time.monotonic() - began)


def measure(run: Opened) -> str:
    """One row of the table: every query asked once by weights that were neither trained on nor chosen by it."""
    made, queries = run.held.pairs(), np.arange(run.own)
    others = np.arange(run.own, len(made.texts))
    before, kept_before = run.ranks(made, queries), run.ranks(made, others)
    after, kept_after = before.copy(), []
    fold = np.random.default_rng(0).permutation(run.own) % FOLDS
    began, raw = time.monotonic(), made.texts
    drifts = []
    for number in range(FOLDS):
        asked, deciding = queries[fold == number], queries[fold == (number + 1) % FOLDS]
        run.held.train(np.setdiff1d(queries, np.concatenate([asked, deciding])), deciding)
        made = run.held.pairs()
        after[asked] = run.ranks(made, asked)
        kept_after.append(run.ranks(made, others))
        drifts.append(1 - float((made.texts[asked] * raw[asked]).sum(axis=1).mean()))
    cells = []
    for of in (lambda ranks: hits(ranks, 10), reciprocal_rank):
        change = paired_bootstrap(of(after), of(before))
        kept = np.mean([of(ranks).mean() for ranks in kept_after]) / of(kept_before).mean()
        means = f"{of(before).mean():.3f} -> {of(after).mean():.3f}"
        cells.append(f"{means} {change.mean:+.3f} [{change.low:+.3f}, {change.high:+.3f}], kept {kept:.3f}")
    seconds = (time.monotonic() - began) / FOLDS
    return (
        f"R@10 {cells[0]}; MRR {cells[1]}; drift {np.mean(drifts):.4f}; "
        f"{run.seconds:.0f} s for the frozen part, {seconds:.0f} s a training"
    )


def main() -> None:
    """Train every fold and print the row."""
    parser = argparse.ArgumentParser(description="Measure stage B by folds.")
    parser.add_argument("captions", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--keep-images", type=Path)
    parser.add_argument("--kept", type=int, default=300, help="pictures of --keep to take")
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--text-blocks", type=int, default=1, help="-1 leaves the tower frozen")
    parser.add_argument("--image-blocks", type=int, default=-1, help="-1 leaves the tower frozen")
    parser.add_argument("--rate", type=float, default=1e-5)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=15)
    choice = parser.parse_args()
    torch.set_num_threads(1)
    blocks = (None if count < 0 else count for count in (choice.text_blocks, choice.image_blocks))
    plan = UnfreezingPlan(*blocks, rate=choice.rate, batch=choice.batch, epochs=choice.epochs)
    with tempfile.TemporaryDirectory() as folder:
        run = opened(choice, plan, Path(folder))
        print(f"{run.own} queries; {plan}")
        print(measure(run))


if __name__ == "__main__":
    main()
