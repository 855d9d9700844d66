"""How long an attentive summarizer takes for one search, and what keeping the tokens that it reads costs.

    python benchmarks/summarizer.py [--items 5] [--query-words 10] [--caption-words 20] [--threads 1] [--rounds 30]

Weights and tokens are random: no time depends on them. Three ways run in turn in one process, so ratios hold on a
busy machine too; times are CPU seconds of this process per thread, the median of the rounds: the network as it is
trained, with the attention it gave; the form that serves searches; and that form in bf16.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from backend.ml.feedback.inputs import ItemTokens, Tokens
from backend.ml.summarizer import AttentiveSummarizer, SummarizerConfig, TokenBatch, TokenSummarizer
from backend.ml.tokens import StoredForm, pack_tokens

ENCODERS = {
    "CLIP ViT-B/32": (SummarizerConfig(512, 768, 512), 50),
    "CLIP ViT-L/14": (SummarizerConfig(768, 1024, 768), 257),
    "SigLIP so400m/14": (SummarizerConfig.for_encoder(1152, 1152, 1152), 256),
    "demo": (SummarizerConfig(192, 192, 256, 256, 4), 65),
}
"""Sizes of the summarizer and patch tokens of a picture."""

FORMS: tuple[StoredForm, ...] = ("pooled", "int8", "fp16")


def main() -> None:
    """Print one row an encoder, twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=5)
    parser.add_argument("--query-words", type=int, default=10)
    parser.add_argument("--caption-words", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    choice = parser.parse_args()
    torch.set_num_threads(choice.threads)
    times = Table("encoder", "parameters", "tokens", "network ms", "fp32 ms", "bf16 ms", "fp32 times", "bf16 times")
    sizes = Table("KB a product", *FORMS)
    for name, (config, patches) in ENCODERS.items():
        tokens = random_tokens(config, patches, choice.items, choice.query_words, choice.caption_words)
        times.add_row(name, *time_row(config, tokens, choice))
        sizes.add_row(name, *(f"{kilobytes(tokens.items[0], form):.1f}" for form in FORMS))
    console = Console()
    console.print(f"{choice.items} items, captions of {choice.caption_words} tokens, {choice.threads} thread(s)")
    console.print(times)
    console.print("One picture and one caption:")
    console.print(sizes)


def random_tokens(config: SummarizerConfig, patches: int, items: int, query: int, caption: int) -> Tokens:
    """Tokens of one search, as wide as the encoder's."""
    numbers = np.random.default_rng(1)

    def rows(count: int, width: int) -> np.ndarray:
        return numbers.standard_normal((count, width), dtype=np.float32)

    shown = [ItemTokens(rows(patches, config.image_width), rows(caption, config.text_width)) for _ in range(items)]
    return Tokens(rows(query, config.text_width), tuple(shown))


def time_row(config: SummarizerConfig, tokens: Tokens, choice: argparse.Namespace) -> tuple[str, ...]:
    """The row of one encoder, without its name."""
    torch.manual_seed(1)
    network = AttentiveSummarizer(config).eval()
    exact, halved = (TokenSummarizer(network, "", precision=one) for one in ("fp32", "bf16"))
    ways: dict[str, Callable[[], object]] = {
        "network": lambda: as_trained(network, tokens),
        "fp32": lambda: exact.summarize(tokens),
        "bf16": lambda: halved.summarize(tokens),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(choice.rounds):
        for name, way in ways.items():
            started = time.process_time()
            way()
            spent[name].append((time.process_time() - started) / choice.threads * 1000)
    network_ms, *served_ms = (statistics.median(one[1:]) for one in spent.values())
    parameters = sum(weight.numel() for weight in network.parameters())
    count = sum(len(item.image) + len(item.caption) for item in tokens.items)  # type: ignore[arg-type]
    return (
        f"{parameters / 1e6:.1f} M",
        str(count),
        *(f"{one:.1f}" for one in (network_ms, *served_ms)),
        *(f"{network_ms / one:.1f}" for one in served_ms),
    )


@torch.inference_mode()
def as_trained(network: AttentiveSummarizer, tokens: Tokens) -> tuple[torch.Tensor, torch.Tensor]:
    """The batched network with a batch of one search."""
    return network.with_attention(TokenBatch.of([tokens]))


def kilobytes(item: ItemTokens, form: StoredForm) -> float:
    """Kilobytes of a product's tokens in one form."""
    packed = [pack_tokens(rows, form) for rows in (item.image, item.caption) if rows is not None]
    return sum(len(one.data) + len(one.scales or b"") for one in packed) / 1000


if __name__ == "__main__":
    main()
