"""``morelike generation compare``: two generations side by side."""

from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands.builds import generations, number_of
from backend.commands.stores import opened

if TYPE_CHECKING:
    from backend.generations.models import EncoderRecord
    from backend.learning.adapter_data import Encode
    from backend.learning.compare import Comparison

Name = Annotated[str, typer.Argument(help="A generation, as `morelike generation list` shows it: g7.")]


def register(_app: typer.Typer) -> None:
    """Add ``compare`` to ``generation``, which is there already."""
    generations.command("compare")(compare)


def compare(
    one: Name,
    other: Name,
    queries: Annotated[int, typer.Option(min=1, max=5000, help="Texts compared, those that were asked most.")] = 200,
    show: Annotated[int, typer.Option(min=0, help="Queries shown, those whose lists have least in common.")] = 5,
) -> None:
    """Compare what two generations put first, and what they find by captions that no night learns from."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from backend.commands.bars import bars
    from backend.learning.compare import compare_generations

    numbers = (number_of(one), number_of(other))
    with opened() as stores:

        def encoder(record: "EncoderRecord") -> "Encode":
            from backend.generations.encoders import open_recorded

            return open_recorded(stores.settings, record.id, record.source).encode_texts

        home = stores.settings.home
        home.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=home, prefix="compare-") as scratch, bars() as told:
            found = compare_generations(stores.sessions, numbers, encoder, Path(scratch), told, queries=queries)
    _say(found, (f"g{numbers[0]}", f"g{numbers[1]}"), show)


def _say(found: "Comparison", names: tuple[str, str], show: int) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from backend.learning.compare import most_apart

    typer.echo(f"{found.overlap.mean():.1%} of the first ten are the same, over {len(found.queries)} queries.")
    table = Table("", *names, box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for measure in ("recall", "mrr"):
        values = (f"{getattr(one, measure):.3f}" for one in found.findings)
        label = {"recall": "Recall@10", "mrr": "MRR"}[measure]
        table.add_row(f"{label} of {found.golden} captions", *values)
    Console().print(table)
    for place in most_apart(found, show):
        beside = Table(
            "", *names, title=f"{found.queries[place]}: {found.overlap[place]:.0%} the same", box=SIMPLE_HEAD
        )
        for rank, pair in enumerate(zip(*(of[place] for of in found.first), strict=True), 1):
            beside.add_row(str(rank), *pair)
        Console().print(beside)
