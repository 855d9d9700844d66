"""A report on adapters as one HTML page that needs nothing else: tables, plots and picture grids."""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path

from backend.evaluation.adapters.plots import drifts, mrr_gains, recall_gains, sweep
from backend.evaluation.adapters.report import Report
from backend.evaluation.adapters.tables import (
    GAIN_HEADS,
    HEADS,
    MOVED_HEADS,
    SPACE_HEADS,
    TYPE_HEADS,
    R,
    cells,
    described,
    direction,
    gain_cells,
    moved_cells,
    search_line,
    space_cells,
    type_cells,
)
from backend.evaluation.page import STYLE, plot, session
from backend.evaluation.plots import svg

CLASSES = {"green": "better", "red": "worse", None: ""}


def write_page(report: Report, path: Path) -> None:
    """Write the page to ``path``."""
    path.write_text("".join(_page(report)), encoding="utf-8")


def _page(report: Report) -> Iterator[str]:
    title = f"Adapters on {report.data}"
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>"
    yield f"<body><h1>{escape(title)}</h1>"
    yield from _setting(report)
    yield from _main(report)
    for study in report.studies:
        yield f"<details open><summary>{escape(study.title)}</summary>"
        yield from _table(GAIN_HEADS, study.rows, gain_cells)
        yield f"{plot(svg(sweep(study)))}</details>"
    if report.search:
        yield f"<h2>Hyper-parameters</h2><p>{escape(search_line(report.search))}</p>"
    yield from _types(report)
    yield from _examples(report)
    yield "</body></html>"


def _setting(report: Report) -> Iterator[str]:
    facts = {"encoder": report.encoder, "size": described(report), "pictures left out": report.left_out}
    yield "<dl>"
    for name, value in (facts | report.setting).items():
        shown = ", ".join(f"{key} {one}" for key, one in value.items()) if isinstance(value, dict) else str(value)
        yield f"<dt>{escape(name)}</dt><dd>{escape(shown)}</dd>"
    yield "</dl>"


def _main(report: Report) -> Iterator[str]:
    yield "<h2>Held-out products</h2><p>Every query is asked once a seed, over all pictures, by a fit that saw nothing "
    yield "of its product. Gains are over zero-shot, with 95 % intervals of a paired bootstrap over the products.</p>"
    yield from _table(HEADS, report.rows, cells)
    yield from _table(GAIN_HEADS, report.rows, gain_cells)
    yield plot(svg(recall_gains("", report.rows[1:]))) + plot(svg(mrr_gains("", report.rows[1:])))
    yield "<h3>What it costs</h3><p>Drift is mean 1 - cos between before and after. Alignment is the mean squared "
    yield "distance of pairs, lower is nearer; uniformity is 0 where all vectors are one, lower is more even (Wang and "
    yield "Isola 2020); the gap lies between the means of texts and pictures. All on held-out pairs. Kept is "
    yield "the lower of Recall@10 and MRR on the retention queries over those of zero-shot.</p>"
    yield from _table(MOVED_HEADS, report.rows, moved_cells)
    yield from _table(SPACE_HEADS, report.rows, space_cells)
    yield plot(svg(drifts(report.rows[1:])))


def _types(report: Report) -> Iterator[str]:
    yield "<h2>By type of query</h2><p>A query counts in every type that its words put it in.</p>"
    for method, rows in report.types.items():
        yield f"<details><summary>{escape(method)}</summary>"
        yield from _table(TYPE_HEADS, rows, type_cells)
        yield "</details>"


def _examples(report: Report) -> Iterator[str]:
    names = list(dict.fromkeys(example.strategy for example in report.examples))
    if names:
        yield "<h2>Queries to look at</h2>"
    for name in names:
        yield f"<details><summary>{escape(name)}</summary>"
        for example in report.examples:
            if example.strategy == name:
                yield from session(example)
        yield "</details>"


def _table(heads: Sequence[str], rows: Sequence[R], cells_of: Callable[[R], tuple[str, ...]]) -> Iterator[str]:
    yield f'<div class="wide"><table><thead><tr>{"".join(f"<th>{head}</th>" for head in heads)}</tr></thead><tbody>'
    for row in rows:
        content = "".join(f"<td>{escape(cell)}</td>" for cell in cells_of(row))
        yield f'<tr class="{CLASSES[direction(row)]}">{content}</tr>'
    yield "</tbody></table></div>"
