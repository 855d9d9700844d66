"""A report as plots: how quality moves over the turns, and every gain with its interval."""

import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from backend.evaluation.report import ProtocolReport, Report, Row

COLOURS = ("#1f5fbf", "#c8500a", "#12805c", "#9b2c86", "#7a6a00", "#b3202c", "#0f7c93", "#5a5f66", "#6d4bd1", "#2f6b1f")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
"""A mark for each line beside its colour: nobody has to tell colours apart."""

PNG_DPI = 160


def figures(report: Report) -> Iterator[tuple[str, Figure]]:
    """Every plot with a name for its file."""
    for number, protocol in enumerate(report.protocols, start=1):
        yield f"{number}-gains", gains(f"MRR@5 gained by one round of feedback: {protocol.name}", protocol.turn(2))
        if max(row.turn for row in protocol.rows) > 2:
            yield f"{number}-turns", turns(protocol)
        for study in protocol.studies:
            yield f"{number}-{study.name}", gains(study.title, study.rows)


def write_plots(report: Report, folder: Path) -> None:
    """Write each plot as PNG and SVG."""
    with styled():
        for name, figure in figures(report):
            figure.savefig(folder / f"{name}.png", dpi=PNG_DPI)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def svg(figure: Figure) -> str:
    """The plot as an SVG element that a page can hold."""
    text = io.StringIO()
    with styled():
        figure.savefig(text, format="svg", metadata={"Date": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]


def turns(protocol: ProtocolReport) -> Figure:
    """MRR@5 of every strategy over the turns."""
    with styled():
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        names = list(dict.fromkeys(row.strategy for row in protocol.rows))
        for place, name in enumerate(names):
            rows = [row for row in protocol.rows if row.strategy == name]
            numbers, values = [row.turn for row in rows], [row.mrr_5 for row in rows]
            colour, mark = COLOURS[place % len(COLOURS)], MARKS[place % len(MARKS)]
            axes.plot(numbers, values, color=colour, marker=mark, markersize=5, linewidth=1.6, label=name)
        axes.set_xticks(sorted({row.turn for row in protocol.rows}))
        axes.set_xlabel("turn (1 is plain retrieval)")
        axes.set_ylabel("MRR@5")
        axes.set_title(protocol.name, loc="left")
        axes.grid(axis="y", alpha=0.25)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        return figure


def gains(title: str, rows: Sequence[Row]) -> Figure:
    """The gain of every row over plain retrieval, with its 95 % interval."""
    bars = [Bar(row.strategy, row.gain, row.low, row.high) for row in rows]
    return intervals(title, "gain in MRR@5 over plain retrieval, 95 % interval", bars)


@dataclass(frozen=True)
class Bar:
    """A mean and its interval, with a name."""

    name: str
    mean: float
    low: float
    high: float


def intervals(title: str, label: str, bars: Sequence[Bar]) -> Figure:
    """Means with their intervals, one below the other, beside a line at 0."""
    with styled():
        figure = Figure(figsize=(7.2, 0.9 + 0.28 * len(bars)), layout="constrained")
        axes = figure.subplots()
        for place, bar in enumerate(bars):
            _interval(axes, place, bar)
        axes.set_yticks(range(len(bars)), [bar.name for bar in bars])
        axes.invert_yaxis()
        axes.axvline(0, color="#5a5f66", linewidth=0.9)
        axes.set_xlabel(label)
        axes.set_title(title, loc="left")
        axes.grid(axis="x", alpha=0.25)
        return figure


def styled() -> AbstractContextManager[None]:
    """The look of all plots."""
    return rc_context(
        {"font.size": 9.5, "svg.hashsalt": "morelike", "axes.spines.top": False, "axes.spines.right": False}
    )


def _interval(axes: Axes, place: int, bar: Bar) -> None:
    colour = "#12805c" if bar.low > 0 else "#b3202c" if bar.high < 0 else "#5a5f66"
    axes.plot([bar.low, bar.high], [place, place], color=colour, linewidth=1.8)
    axes.plot(bar.mean, place, marker="o", markersize=5, color=colour)
