"""Train the demo's summarizer: `python -m backend.demo.train_summarizer --out DIR --epochs 20 --seed 1`.

It learns from drawings that the demo encoder has not seen, with near twins among them, asked for by captions that name
a random part of what is drawn. The same seed draws and learns the same; a run that was ended goes on where it was.
"""

import argparse
import tempfile
import time
from pathlib import Path
from random import Random

import torch

from backend.demo.attributes import Item
from backend.demo.captions import training_caption
from backend.demo.feedback_set import examples, gallery
from backend.ml.encoder import Encoder, load_encoder
from backend.ml.summarizer import AttentiveSummarizer, SummarizerConfig, dump_summarizer
from backend.ml.summarizer_examples import Examples
from backend.ml.summarizer_training import Epoch, Run, TrainingPlan, begin_by_matching

ENCODER = Path(__file__).parent / "encoder"
FILE = "morelike_summarizer.safetensors"
CACHE = Path(tempfile.gettempdir()) / "morelike-demo-feedback"
QUERIES = 1
"""Phrases of each thing, one of which is asked with an epoch."""

BY_CAPTION = 0.5
"""Share of the queries whose results are those of the shop, by picture and caption; the others go by picture alone."""


PATCH_SHARE = 0.4
"""Of a picture's tokens in each step of training: it halves the time."""


def network(encoder: Encoder, seed: int) -> AttentiveSummarizer:
    """A fresh summarizer of the demo's size: width 256, 4 heads, 1.7 million parameters."""
    torch.manual_seed(seed)
    fresh = AttentiveSummarizer(SummarizerConfig(encoder.word_width, encoder.layout.width, encoder.dim, 256, 4))
    begin_by_matching(fresh)
    return fresh


def training_sets(
    directory: Path, encoder: Encoder, counts: tuple[int, int], seed: int, workers: int
) -> tuple[Examples, Examples]:
    """What is learned from and what tells when to stop: so many drawn things each, none of them the shop's."""
    found = []
    for offset, count in enumerate(counts):
        drawn = gallery(directory, encoder, count, seed + offset, workers, _say_drawn, held_out=False)
        found.append(examples(drawn, encoder, phrase, seed + offset, queries=QUERIES, by_caption=BY_CAPTION))
    return found[0], found[1]


def phrase(item: Item, random: Random) -> str:
    """Words for an item in the phrasings that the encoder learned; of two, those that say more."""
    return max((training_caption(item, random) for _ in range(2)), key=len)


def main() -> None:
    """Read the command line, draw and encode what is missing, train, and write the best weights in fp16."""
    parser = argparse.ArgumentParser(description="Train the demo's summarizer on drawings.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and the weights")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20_000, help="things to learn from")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--contrast", type=float, default=0.05, help="weight of the contrast among pictures")
    parser.add_argument("--drawings", type=Path, default=CACHE, help="folder for what the encoder made of the drawings")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    choice = parser.parse_args()
    choice.out.mkdir(parents=True, exist_ok=True)
    encoder = load_encoder("demo", threads=torch.get_num_threads(), demo_dir=ENCODER)
    counts = choice.count, max(100, choice.count // 10)
    training, validation = training_sets(choice.drawings, encoder, counts, choice.seed, choice.workers)
    plan = TrainingPlan(
        epochs=choice.epochs,
        batch=choice.batch,
        rate=choice.rate,
        contrast=choice.contrast,
        patch_share=PATCH_SHARE,
        seed=choice.seed,
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run, started = Run(network(encoder, choice.seed), plan, device), time.monotonic()

    def tell(epoch: Epoch) -> None:
        say(f"{epoch}  {(time.monotonic() - started) / 60:.1f} min")

    run.train(training, validation, checkpoint=choice.out / "checkpoint.pt", on_epoch=tell)
    weights = dump_summarizer(run.model.cpu(), encoder.id)
    (choice.out / FILE).write_bytes(weights)
    say(f"{choice.out / FILE}: {len(weights) / 2**20:.1f} MB, validation loss {run.best_loss:.4f}")


def _say_drawn(done: int, total: int) -> None:
    if done == total or done % 2000 == 0:
        say(f"drawn and encoded {done} of {total}")


def say(line: str) -> None:
    """Tell whoever watches the run."""
    print(line, flush=True)  # noqa: T201  # a command's output


if __name__ == "__main__":
    main()
