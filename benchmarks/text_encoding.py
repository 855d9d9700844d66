"""How much faster a batch of short texts is when it is cut to its longest prompt, and what that changes.

    python benchmarks/text_encoding.py [--model ViT-B-32] [--batches 1 16 64] [--threads 1] [--rounds 15]

Weights are random: neither the time nor the causality of a tower depends on them. Both ways run in turn in one
process, so the ratio holds on a busy machine too; times are CPU seconds of this process, the median of the rounds.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import open_clip
import torch
from rich.console import Console
from rich.table import Table

from backend.ml.text_tower import TextTower

PROMPTS = (
    "a small orange plush toy with big eyes",
    "red leather backpack for women with two pockets",
    "round wooden wall clock with black metal hands",
    "warm striped cotton scarf in blue and white",
)
"""Ten tokens each with the start and the end of the text."""


def main() -> None:
    """Print one row per batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32", help="an open_clip model name")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    choice = parser.parse_args()
    torch.set_num_threads(choice.threads)
    model = open_clip.create_model(choice.model, pretrained_text=False).eval()
    # the tower takes its model over, so it gets a copy
    tower = TextTower(copy.deepcopy(model), open_clip.get_tokenizer(choice.model), pad=0, device=torch.device("cpu"))
    console = Console()
    console.print(
        f"{choice.model}, fp32, {choice.threads} thread(s), proved causal: {tower.causal}, packed: {tower.packed}"
    )
    table = Table("texts", "tokens", "uncut ms", "cut ms", "times faster", "largest difference of unit vectors")
    for batch in choice.batches:
        table.add_row(*measure(model, tower, batch, choice.rounds))
    console.print(table)


def measure(model: torch.nn.Module, tower: TextTower, batch: int, rounds: int) -> tuple[str, ...]:
    """The row of one batch size."""
    ids = tower.tokenize([PROMPTS[position % len(PROMPTS)] for position in range(batch)])

    def uncut() -> torch.Tensor:
        with torch.inference_mode():
            rows: torch.Tensor = model.encode_text(ids)
        return rows

    def cut() -> torch.Tensor:
        return tower.encode(ids)

    unit = torch.nn.functional.normalize
    difference = (unit(uncut(), dim=1) - unit(cut(), dim=1)).abs().max().item()
    times: dict[Callable[[], torch.Tensor], list[float]] = {uncut: [], cut: []}
    for _ in range(rounds):
        for way, spent in times.items():
            started = time.process_time()
            way()
            spent.append(time.process_time() - started)
    slow, fast = (statistics.median(spent) * 1000 for spent in times.values())
    return (
        str(batch),
        str(int(tower.lengths(ids).max())),
        f"{slow:.1f}",
        f"{fast:.1f}",
        f"{slow / fast:.2f}",
        f"{difference:.1e}",
    )


if __name__ == "__main__":
    main()
