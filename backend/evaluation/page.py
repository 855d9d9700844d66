"""A report as one HTML page that needs nothing else: tables, plots and picture grids."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from backend.evaluation.examples import Example, Shown
from backend.evaluation.plots import gains, svg, turns
from backend.evaluation.report import Cost, ProtocolReport, Report, Row
from backend.evaluation.tables import HEADS, cells

KINDS = {"best": "gained most", "worst": "lost most", "any": "drawn at random"}

STYLE = Path(__file__).with_name("page.css")


def write_page(report: Report, path: Path) -> None:
    """Write the page to ``path``."""
    path.write_text("".join(_page(report)), encoding="utf-8")


def _page(report: Report) -> Iterator[str]:
    title = f"Relevance feedback on {report.data}"
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>"
    yield f"<body><h1>{escape(title)}</h1>"
    yield from _setting(report)
    for protocol in report.protocols:
        yield from _protocol(protocol)
    if report.costs:
        yield from _costs(report.costs)
    yield "</body></html>"


def _setting(report: Report) -> Iterator[str]:
    yield "<dl>"
    facts = {"encoder": report.encoder, "pictures left out": report.unreadable} | report.setting
    for name, value in facts.items():
        yield f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>"
    yield "</dl>"


def _protocol(protocol: ProtocolReport) -> Iterator[str]:
    yield f"<h2>{escape(protocol.name)}</h2>"
    yield f"<p>{protocol.queries:,} queries, {protocol.items:,} items, exact scores. Gains are over plain "
    yield "retrieval, with 95 % intervals of a paired bootstrap over the queries.</p>"
    yield "<h3>After one round of feedback</h3>"
    yield from _table(protocol.turn(2))
    yield plot(svg(gains("", protocol.turn(2))))
    if max(row.turn for row in protocol.rows) > 2:
        yield "<h3>Over the turns</h3>"
        yield plot(svg(turns(protocol)))
    for study in protocol.studies:
        yield f"<details><summary>{escape(study.title)}</summary>"
        yield from _table(study.rows)
        yield plot(svg(gains("", study.rows)))
        yield "</details>"
    for strategy in dict.fromkeys(example.strategy for example in protocol.examples):
        yield f"<details><summary>Sessions: {escape(strategy)}</summary>"
        for example in protocol.examples:
            if example.strategy == strategy:
                yield from session(example)
        yield "</details>"


def _table(rows: Sequence[Row]) -> Iterator[str]:
    yield f'<div class="wide"><table><thead><tr>{"".join(f"<th>{head}</th>" for head in HEADS)}</tr></thead><tbody>'
    for row in rows:
        direction = "up" if row.low > 0 else "down" if row.high < 0 else ""
        yield f'<tr class="{direction}">{"".join(f"<td>{escape(cell)}</td>" for cell in cells(row))}</tr>'
    yield "</tbody></table></div>"


def plot(drawing: str) -> str:
    """A drawing in its frame."""
    return f'<div class="plot">{drawing}</div>'


def session(example: Example) -> Iterator[str]:
    """What was asked, what was looked for, and the first items before and after."""
    moved = f"right item: {example.rank_before:,} → {example.rank_after:,}"
    yield f'<div class="session"><p class="said">{escape(example.said)}</p><p>{KINDS[example.kind]}; {moved}</p>'
    yield f'<div class="lists"><span>looked for</span>{_row([example.target])}'
    yield f"<span>before</span>{_row(example.before)}<span>after</span>{_row(example.after)}</div></div>"


def _row(items: Sequence[Shown]) -> str:
    return f'<div class="row">{"".join(map(_item, items))}</div>'


def _item(item: Shown) -> str:
    title = escape(item.title)
    picture = f'<img src="{item.picture}" alt="{title}" loading="lazy">' if item.picture else ""
    kind = "item right" if item.right else "item"
    return f'<figure class="{kind}">{picture}<figcaption title="{title}">{title}</figcaption></figure>'


def _costs(costs: Sequence[Cost]) -> Iterator[str]:
    yield '<h2>Cost of the summarizers</h2><div class="wide"><table><thead><tr><th></th><th>parameters</th>'
    yield "<th>of the encoder's</th><th>ms a summary, one thread</th></tr></thead><tbody>"
    for cost in costs:
        yield f"<tr><td>{escape(cost.name)}</td><td>{cost.parameters:,}</td><td>{cost.share:.1%}</td>"
        yield f"<td>{cost.milliseconds:.1f}</td></tr>"
    yield "</tbody></table></div>"
