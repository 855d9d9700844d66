"""A report on adapters as plots: gains with their intervals, the sweeps, and gain against drift."""

from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure

from backend.evaluation.adapters.report import Report, Row, StudyRows
from backend.evaluation.plots import COLOURS, MARKS, PNG_DPI, Bar, intervals, styled

GAIN = "gain in Recall@10 over zero-shot, 95 % interval"
MRR_GAIN = "gain in MRR over zero-shot, 95 % interval"


def figures(report: Report) -> Iterator[tuple[str, Figure]]:
    """Every plot with a name for its file."""
    yield "recall", recall_gains("Recall@10", report.rows[1:])
    yield "mrr", mrr_gains("MRR", report.rows[1:])
    yield "drift", drifts(report.rows[1:])
    for study in report.studies:
        yield study.name, sweep(study)
    for number, (method, rows) in enumerate(report.types.items(), start=1):
        bars = [Bar(f"{row.type} ({row.queries:,})", row.gain.mean, row.gain.low, row.gain.high) for row in rows]
        yield f"types-{number}", intervals(f"By type of query: {method}", GAIN, bars)


def write_plots(report: Report, folder: Path) -> None:
    """Write each plot as PNG and SVG."""
    with styled():
        for name, figure in figures(report):
            figure.savefig(folder / f"{name}.png", dpi=PNG_DPI)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def recall_gains(title: str, rows: list[Row]) -> Figure:
    """Gain in Recall@10 of every row."""
    return intervals(title, GAIN, [Bar(row.name, row.gain.mean, row.gain.low, row.gain.high) for row in rows])


def mrr_gains(title: str, rows: list[Row]) -> Figure:
    """Gain in MRR of every row."""
    bars = [Bar(row.name, row.mrr_gain.mean, row.mrr_gain.low, row.mrr_gain.high) for row in rows]
    return intervals(title, MRR_GAIN, bars)


def drifts(rows: list[Row]) -> Figure:
    """What each row gains beside how far it moves texts: far is not better."""
    with styled():
        figure = Figure(figsize=(7.2, 3.8), layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(rows):
            colour, mark = COLOURS[place % len(COLOURS)], MARKS[place % len(MARKS)]
            axes.plot(row.drift_text, row.gain.mean, marker=mark, color=colour, linestyle="none", label=row.name)
        axes.axhline(0, color="#5a5f66", linewidth=0.9)
        axes.set_xlabel("drift of texts, mean 1 - cos")
        axes.set_ylabel("gain in Recall@10")
        axes.set_title("Gain and drift", loc="left")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        return figure


def sweep(study: StudyRows) -> Figure:
    """Both gains over what the study varies, with their intervals."""
    with styled():
        figure = Figure(figsize=(7.2, 3.6), layout="constrained")
        axes = figure.subplots()
        places = range(len(study.rows))
        for label, colour, mark, gains in (
            ("Recall@10", COLOURS[0], MARKS[0], [row.gain for row in study.rows]),
            ("MRR", COLOURS[1], MARKS[1], [row.mrr_gain for row in study.rows]),
        ):
            means = [gain.mean for gain in gains]
            below = [gain.mean - gain.low for gain in gains]
            above = [gain.high - gain.mean for gain in gains]
            axes.errorbar(places, means, yerr=[below, above], color=colour, marker=mark, capsize=3, label=label)
        axes.set_xticks(places, [row.name for row in study.rows], rotation=20, ha="right")
        axes.axhline(0, color="#5a5f66", linewidth=0.9)
        axes.set_ylabel("gain over zero-shot, 95 % interval")
        axes.set_title(study.title, loc="left")
        axes.grid(axis="y", alpha=0.25)
        axes.legend(frameon=False)
        return figure
