"""Train the demo encoder: `python -m backend.demo.train_encoder --out DIR --minutes 60 --seed 1 [--resume]`.

A small CLIP learns from drawings of combinations that the shop does not sell. Every step takes drawings of a few
kinds, so that the others in the batch are hard to tell apart, and writes two fresh captions for each: image against
caption and caption against caption are both trained, since the shop scores a query against the picture and the stored
caption.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray

from backend.demo.attributes import KINDS, Item, belongs_to_catalogue, random_item
from backend.demo.captions import held_out_query, training_caption, visual_caption
from backend.demo.drawing import draw
from backend.demo.retrieval import Tokenizer, TwoTowers, encode_drawings, encode_words, recall
from backend.demo.training_run import ARCHITECTURE, Run, TrainingConfig, export
from backend.demo.training_set import SIDE, TrainingSet, training_set
from backend.ml.encoder import build_tokenizer

DRAWINGS = Path(tempfile.gettempdir()) / "morelike-demo-drawings"
SAVE_S = 120.0
"""Seconds of training between two checkpoints."""

Rows = NDArray[np.int64]


def pick_rows(kinds: Sequence[Rows], config: TrainingConfig, rng: np.random.Generator) -> Rows:
    """Rows (batch,) of a few kinds, none twice."""
    chosen = rng.choice(len(kinds), config.kinds_per_batch, replace=False)
    share = config.batch // config.kinds_per_batch
    return np.concatenate([rng.choice(kinds[kind], share, replace=False) for kind in chosen])


def augment(drawings: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """Drawings uint8 (n, s, s, 3) moved by up to 4 pixels, a little brighter or darker, flatter or starker."""
    padded = np.pad(drawings, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="edge")
    shifts = rng.integers(0, 9, (len(drawings), 2))
    moved = np.stack([image[y : y + SIDE, x : x + SIDE] for image, (y, x) in zip(padded, shifts, strict=True)]).astype(
        np.float32
    )
    gain = rng.uniform(0.92, 1.08, (len(drawings), 1, 1, 1)).astype(np.float32)
    lift = rng.uniform(-10, 10, (len(drawings), 1, 1, 1)).astype(np.float32)
    varied: NDArray[np.float32] = np.clip((moved - 128) * gain + 128 + lift, 0, 255)
    return varied


def captions_for(items: list[Item], random: Random) -> list[str]:
    """Two captions an item, first ones before second ones; half of the second ones are as the shop stores them."""
    first = [training_caption(item, random) for item in items]
    second = [
        visual_caption(item, full=random.random() < 0.7) if random.random() < 0.5 else training_caption(item, random)
        for item in items
    ]
    return first + second


class Watch:
    """A small held-out set that tells how the run is doing; it is not the shop's catalogue and decides nothing."""

    def __init__(self, count: int, seed: int) -> None:
        """Draw `count` held-out items and a query for each."""
        random = Random(f"watch {seed}")
        self.items = list(
            islice((item for item in iter(lambda: random_item(random), None) if belongs_to_catalogue(item)), count)
        )
        self.queries = [held_out_query(item, random).text for item in self.items]
        self.drawings = np.stack([np.asarray(draw(item, seed, 2 * SIDE).reduce(2)) for item in self.items])

    def measure(self, model: TwoTowers, tokenizer: Tokenizer) -> str:
        """Recall of the item itself by picture, by stored caption and by both."""
        pictures = encode_drawings(model, self.drawings)
        captions = encode_words(model, tokenizer, [visual_caption(item) for item in self.items])
        queries = encode_words(model, tokenizer, self.queries)
        targets = [frozenset((row,)) for row in range(len(self.items))]
        by_picture, by_caption = queries @ pictures.T, queries @ captions.T
        parts = (("image", by_picture), ("caption", by_caption), ("both", by_picture + by_caption))
        return "  ".join(
            f"{name} {found.at_1:.3f}/{found.at_10:.3f}"
            for name, scores in parts
            for found in [recall(scores, targets)]
        )


def say(line: str) -> None:
    """Tell whoever watches the run."""
    print(line, flush=True)  # noqa: T201  # a command's output


def train(run: Run, examples: TrainingSet, tokenizer: Tokenizer, out: Path, export_minutes: float) -> None:
    """Train until the time is used up, saving every two minutes and exporting every `export_minutes`."""
    config, watch = run.config, Watch(600, run.config.seed)
    names = np.array([item.kind for item in examples.items])
    kinds = [np.flatnonzero(names == kind) for kind in KINDS]
    saved = exported = run.elapsed_s
    while run.elapsed_s < 60 * config.minutes:
        started = time.monotonic()
        rng = np.random.default_rng((config.seed, run.step))
        rows = pick_rows(kinds, config, rng)
        captions = captions_for([examples.items[row] for row in rows], Random(f"{config.seed} {run.step}"))
        loss = run.train_step(augment(examples.drawings[rows], rng), tokenizer(captions))
        took_s = time.monotonic() - started
        run.elapsed_s += took_s
        if run.step % 20 == 0:
            minutes = f"{run.elapsed_s / 60:.1f} of {config.minutes:g} min"
            say(f"step {run.step}  {minutes}  loss {loss:.3f}  {config.batch / took_s:.0f} pairs/s")
        if run.step % 150 == 0:
            say(f"  recall@1/@10 of {len(watch.items)} held-out items: {watch.measure(run.average, tokenizer)}")
        if run.elapsed_s - saved > SAVE_S:
            saved = run.elapsed_s
            run.save(out / "checkpoint.pt")
        if run.elapsed_s - exported > 60 * export_minutes:
            exported = run.elapsed_s
            export(run.average, out)
    run.save(out / "checkpoint.pt")
    export(run.average, out)
    say(f"done: {watch.measure(run.average, tokenizer)}")


def main() -> None:
    """Read the command line, draw what is missing and train."""
    parser = argparse.ArgumentParser(description="Train the demo encoder on drawings.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and the encoder")
    parser.add_argument("--minutes", type=float, default=60.0, help="training time, drawing not counted")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=40_000, help="how many drawings to learn from")
    parser.add_argument("--drawings", type=Path, default=DRAWINGS, help="folder for the drawings")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    parser.add_argument("--export-minutes", type=float, default=5.0)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    choice = parser.parse_args()
    choice.out.mkdir(parents=True, exist_ok=True)
    config = TrainingConfig(minutes=choice.minutes, seed=choice.seed, drawings=choice.count)
    (choice.out / "training.json").write_text(json.dumps(asdict(config), indent=2))
    examples = training_set(choice.drawings, choice.count, choice.seed, choice.workers, _say_drawn)
    run = Run(config, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    if choice.resume and (choice.out / "checkpoint.pt").exists():
        run.load(choice.out / "checkpoint.pt")
    train(run, examples, build_tokenizer(ARCHITECTURE), choice.out, choice.export_minutes)


def _say_drawn(done: int, total: int) -> None:
    say(f"drawn {done} of {total}")


if __name__ == "__main__":
    main()
