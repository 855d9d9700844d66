"""A report on adapters as tables on a terminal, and as Markdown."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from backend.evaluation.adapters.report import Report, Row, Searched, TypeRow
from backend.ml.metrics import Interval

R = TypeVar("R", Row, TypeRow)

HEADS = ("", "R@1", "R@5", "R@10", "MRR", "nDCG@10")
GAIN_HEADS = ("", "R@10 gained, 95 %", "MRR gained, 95 %", "kept")
MOVED_HEADS = ("", "drift of texts", "of pictures", "s a fit")
SPACE_HEADS = ("", "alignment", "uniformity of texts", "of pictures", "gap")
TYPE_HEADS = ("", "queries", "R@10", "after", "gained, 95 %", "MRR gained, 95 %")


def show(report: Report, console: Console) -> None:
    """Print every table of ``report``."""
    console.print(f"{report.data}, {report.encoder}: {described(report)}", highlight=False)
    if report.left_out:
        console.print(f"{report.left_out} pictures could not be read and are left out.", highlight=False)
    console.print(_table("Held-out products", HEADS, report.rows, cells))
    console.print(
        _table("Gained over zero-shot, and kept of what retention queries found", GAIN_HEADS, report.rows, gain_cells)
    )
    console.print(_table("What it costs", MOVED_HEADS, report.rows, moved_cells))
    console.print(_table("Where vectors lie then", SPACE_HEADS, report.rows, space_cells))
    for study in report.studies:
        console.print(_table(study.title, GAIN_HEADS, study.rows, gain_cells))
    for method, rows in report.types.items():
        console.print(_table(f"By type of query: {method}", TYPE_HEADS, rows, type_cells))
    if report.search:
        console.print(search_line(report.search), highlight=False)


def described(report: Report) -> str:
    """How large it is."""
    return f"{report.queries:,} queries, {report.gallery:,} pictures of {report.products:,} products"


def cells(row: Row) -> tuple[str, ...]:
    """Quality as text."""
    return (row.name, *map(share, (row.recall_1, row.recall_5, row.recall_10, row.mrr, row.ndcg_10)))


def gain_cells(row: Row) -> tuple[str, ...]:
    """Gains and retention as text."""
    return row.name, gained(row.gain), gained(row.mrr_gain), "" if row.retention is None else f"{row.retention:.3f}"


def moved_cells(row: Row) -> tuple[str, ...]:
    """Drift and time as text."""
    return row.name, f"{row.drift_text:.3f}", f"{row.drift_image:.3f}", f"{row.seconds:.1f}"


def space_cells(row: Row) -> tuple[str, ...]:
    """Alignment, uniformity and the gap as text."""
    space = row.space
    placed = (space.alignment, space.uniformity_text, space.uniformity_image, space.gap)
    return (row.name, *(f"{number:.2f}" for number in placed))


def type_cells(row: TypeRow) -> tuple[str, ...]:
    """A type of query as text."""
    shares = share(row.before), share(row.after)
    return (row.type, f"{row.queries:,}", *shares, gained(row.gain), gained(row.mrr_gain))


def search_line(found: Searched) -> str:
    """What a search for hyper-parameters came to, in two sentences."""
    drawn = ", ".join(f"{name} {_short(value)}" for name, value in found.chosen.items())
    gains = [gained(row.gain) for row in (found.held_out, found.default)]
    return (
        f"{found.trials} trials; the best drew {drawn}. On products that no trial saw its R@10 is {gains[0]} over "
        f"zero-shot, that of the plan as given {gains[1]}."
    )


def share(value: float) -> str:
    """A share as .123."""
    return f"{value:.3f}".removeprefix("0") if value < 1 else f"{value:.3f}"


def _table(title: str, heads: Sequence[str], rows: Sequence[R], cells_of: Callable[[R], tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for head in heads:
        table.add_column(head, justify="left" if head == "" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*cells_of(row), style=direction(row))
    return table


def direction(row: Row | TypeRow) -> str | None:
    """Green where both gains are above 0 beyond doubt, red where one is below."""
    if row.gain.below or row.mrr_gain.below:
        return "red"
    return "green" if row.gain.above and row.mrr_gain.above else None


def gained(interval: Interval) -> str:
    """A mean difference and its interval, as +.012 +.003…+.021."""
    return f"{_signed(interval.mean)} {_signed(interval.low)}…{_signed(interval.high)}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("0.", ".", 1)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
