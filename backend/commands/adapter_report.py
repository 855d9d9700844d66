"""What ``morelike train adapter`` tells: passes, lines that were left out, the table that the gate judges by."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.learning.adapter import TrainedAdapter
    from backend.learning.adapter_parts import Parts
    from backend.learning.pairs_file import LeftOut
    from backend.ml.adapter_plan import AdapterEpoch

SHOWN = 20
"""Lines of a file that were left out and are printed; `--rejected` takes all of them."""


def say_epoch(epoch: "AdapterEpoch") -> None:
    """A line for an epoch."""
    mark = "  best" if epoch.best else ""
    loss = "" if epoch.loss is None else f"loss {epoch.loss:.4f}, "
    typer.echo(f"epoch {epoch.number}: {loss}held back R@10 {epoch.recall_at_10:.3f}, MRR {epoch.mrr:.3f}{mark}")


def show(trained: "TrainedAdapter", parts: "Parts") -> None:
    """The table that the gate judges by."""
    from rich.console import Console
    from rich.table import Table

    gate, retention = trained.gate, trained.gate.retention
    table = Table("", "untouched", "adapted", "difference", "95 % interval")
    for name, change in (("Recall@10", gate.recall_at_10), ("MRR", gate.mrr)):
        interval = change.interval
        span = f"{interval.low:+.4f} to {interval.high:+.4f}"
        table.add_row(name, f"{change.before:.4f}", f"{change.after:.4f}", f"{interval.mean:+.4f}", span)
    kept = {"captions": "captions of the catalogue", "titles": "titles", "own": "the same texts"}[parts.retention_of]
    for name, share in (("Recall@10", retention.recall_at_10), ("MRR", retention.mrr)):
        table.add_row(f"kept of {name}, {kept}", "1", f"{share:.4f}", f"{share - 1:+.4f}", "")
    console = Console()
    console.print(table)
    moved = trained.drift
    console.print(
        f"{gate.queries:,} texts of products that had no part in training; scaled by {gate.gamma:g}. Drift: "
        f"{moved.learned:.4f} of these texts, {moved.remembered:.4f} of what must be kept, {moved.pictures:.4f} of "
        "pictures.",
        highlight=False,
    )
    for reason in gate.reasons:
        console.print(f"Refused: {reason}", highlight=False)


def say_left_out(left_out: "Sequence[LeftOut]", path: Path | None) -> None:
    """Say which lines were left out, and why."""
    import csv

    if path is not None:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("line", "reason"), *((one.line, one.reason) for one in left_out)])
    if not left_out:
        return
    typer.echo(f"{len(left_out):,} lines were left out:")
    for one in left_out[:SHOWN]:
        typer.echo(f"  line {one.line}: {one.reason}")
    if len(left_out) > SHOWN:
        rest = f"all are in {path}" if path is not None else "`--rejected FILE` takes all"
        typer.echo(f"  and {len(left_out) - SHOWN:,} more; {rest}")


def write(trained: "TrainedAdapter", folder: Path) -> None:
    """Write the heads and what was measured to ``folder``."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "query_heads.safetensors").write_bytes(trained.query_heads)
    if trained.item_heads is not None:
        (folder / "item_heads.safetensors").write_bytes(trained.item_heads)
    report = {"gate": trained.report, "data": trained.data_range}
    (folder / "report.json").write_text(json.dumps(report, indent=2))
    typer.echo(f"Written: {folder}.")
