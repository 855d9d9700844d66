"""A report as tables on a terminal, and as Markdown."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table

from backend.evaluation.report import Cost, ProtocolReport, Report, Row

HEADS = ("", "H@1", "H@5", "H@10", "MRR@5", "gain", "95 %", "cos")
WIDTHS = (12, 4, 4, 4, 5, 5, 11, 4)
"""Characters that a column keeps on a narrow terminal."""


def show(report: Report, console: Console) -> None:
    """Print every table of ``report``."""
    console.print(f"{report.data}, {report.encoder}", highlight=False)
    if report.unreadable:
        console.print(f"{report.unreadable} pictures could not be read and are left out.", highlight=False)
    for protocol in report.protocols:
        console.print(_protocol(protocol))
    if report.costs:
        console.print(_costs(report.costs))


def markdown(title: str, rows: Sequence[Row]) -> str:
    """Rows as a Markdown table."""
    lines = [f"**{title}**", "", f"| {' | '.join(HEADS)} |", f"|{'---|' * len(HEADS)}"]
    return "\n".join([*lines, *(f"| {' | '.join(cells(row))} |" for row in rows)]) + "\n"


def cells(row: Row) -> tuple[str, ...]:
    """A row as text: shares as .123, the gain with its sign."""
    numbers = (row.hits_1, row.hits_5, row.hits_10, row.mrr_5)
    between = f"{_signed(row.low)}…{_signed(row.high)}"
    return (row.strategy, *map(_share, numbers), _signed(row.gain), between, f"{row.similarity:.2f}")


def _protocol(protocol: ProtocolReport) -> RenderableType:
    title = f"{protocol.name}: {protocol.queries:,} queries, {protocol.items:,} items"
    last = max(row.turn for row in protocol.rows)
    parts: list[RenderableType] = [_rows(f"{title}, after one round of feedback", protocol.turn(2))]
    if last > 2:
        parts.append(_turns(protocol, last))
    parts += [_rows(study.title, study.rows) for study in protocol.studies]
    return Group(*parts)


def _rows(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for head, width in zip(HEADS, WIDTHS, strict=True):
        table.add_column(head, justify="left" if head == "" else "right", no_wrap=True, min_width=width)
    for row in rows:
        style = "green" if row.low > 0 else "red" if row.high < 0 else None
        table.add_row(*cells(row), style=style)
    return table


def _turns(protocol: ProtocolReport, last: int) -> Table:
    turns = (f"turn {turn}" for turn in range(1, last + 1))
    table = Table("", *turns, title="MRR@5 by turn", title_justify="left", box=SIMPLE_HEAD)
    for name in dict.fromkeys(row.strategy for row in protocol.rows):
        table.add_row(name, *(_share(row.mrr_5) for row in protocol.rows if row.strategy == name))
    return table


def _costs(costs: Sequence[Cost]) -> Table:
    heads = ("summarizer", "parameters", "of the encoder's", "ms a summary")
    table = Table(*heads, title="Cost", title_justify="left", box=SIMPLE_HEAD)
    for cost in costs:
        table.add_row(cost.name, f"{cost.parameters:,}", f"{cost.share:.1%}", f"{cost.milliseconds:.1f}")
    return table


def _share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0") if value < 1 else f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("0.", ".", 1)
