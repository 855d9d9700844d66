"""A live view of simulated shoppers in a terminal: the list that is looked at, what was looked at, what was clicked."""

import threading
import time

from rich.align import Align
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from backend.demo.catalogue import Product
from backend.demo.shoppers.session import ListDone
from backend.demo.shoppers.tally import Tally

ROWS = 6
"""Rows of a grid that fit a terminal."""

_BAR = 24
_INKS = {
    "orange": "dark_orange",
    "pink": "hot_pink",
    "purple": "medium_purple",
    "brown": "orange4",
    "grey": "grey62",
    "black": "grey30",
    "turquoise": "turquoise2",
    "green": "green3",
    "blue": "dodger_blue1",
}
"""Colours of the demo by the terminal's name for them, where it has another one."""

_MEANT = 7 / 15
"""Gain of grade 3."""


class Watch:
    """Shows one list at a time, each for a moment; shoppers wait for their turn to be seen.

    Args:
        live: where it is drawn.
        products: of the demo, by id.
        pause_s: how long each list stays.
    """

    def __init__(self, live: Live, products: dict[str, Product], pause_s: float) -> None:
        self._live = live
        self._products = products
        self._pause_s = pause_s
        self._turn = threading.Lock()

    def show(self, done: ListDone, tally: Tally) -> None:
        """Draw a list that was done: first what was looked at, then what was clicked."""
        with self._turn:
            for clicks in (False, True):
                self._live.update(view(done, tally, self._products, clicks=clicks), refresh=True)
                time.sleep(self._pause_s / 2)


def view(done: ListDone, tally: Tally, products: dict[str, Product], *, clicks: bool = True) -> RenderableType:
    """The grid of one list above the counts of all lists so far."""
    context = done.population.context
    who = f"{done.population.name} · {context.columns} column{'s' if context.columns > 1 else ''}"
    cohort = f" · loves {context.cohort}" if context.cohort else ""
    asked = Text.assemble(("“", "dim"), (done.wish.text, "bold"), ("”", "dim"), (f"   {who}{cohort}", "dim"))
    grid = _grid(done, tally, products, clicks=clicks)
    return Group(Panel(grid, title=asked, subtitle=_counts(tally), padding=(0, 1)), _curve(tally))


def _counts(tally: Tally) -> str:
    seen, clicked = tally.total("viewed"), tally.total("clicked")
    quality = tally.quality / max(tally.lists, 1)
    return (
        f"[b]{tally.lists:,}[/b] lists   shown [b]{tally.shown:,}[/b], seen [b]{seen:,}[/b], "
        f"clicked [b]{clicked:,}[/b]   true NDCG@10 {quality:.3f}"
    )


def _grid(done: ListDone, tally: Tally, products: dict[str, Product], *, clicks: bool) -> RenderableType:
    columns = done.population.context.columns
    table = Table.grid(padding=(0, 2), expand=True)
    for _ in range(columns):
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    count = min(len(done.product_ids), columns * ROWS)
    cells = [_card(done, place, _eye(done, place, tally), products, clicks=clicks) for place in range(count)]
    for begin in range(0, len(cells), columns):
        row = cells[begin : begin + columns]
        table.add_row(*row, *[Text("")] * (columns - len(row)))
    return table if cells else Align.center(Text("nothing was found", "dim"))


def _eye(done: ListDone, place: int, tally: Tally) -> tuple[str, str]:
    """Whether a place was looked at; eyes fade with how seldom that place has been, so far."""
    if done.acts.examined[0, place]:
        share = tally.done_at["examined"][place] / max(tally.shown_at[place], 1)
        bright = round(90 + 165 * share)
        return "● ", f"rgb({bright // 3},{bright},{bright})"
    return ("○ ", "dim") if done.acts.viewed[0, place] else ("· ", "grey23")


def _card(done: ListDone, place: int, eye: tuple[str, str], products: dict[str, Product], *, clicks: bool) -> Text:
    """What is done with one product: whether it was looked at, what came of it, and what it is."""
    acts, product = done.acts, products.get(done.product_ids[place])
    sign = _sign(done, place) if clicks else ("  ", "")
    if product is None:
        return Text.assemble(eye, sign, (done.product_ids[place], "dim"))
    item = product.item
    faded = "" if acts.viewed[0, place] else "dim "
    shade = faded + _INKS.get(item.colour, item.colour)
    pleasing = ("★ ", "yellow") if done.gains[0, place] >= _MEANT else ("  ", "")
    return Text.assemble(eye, sign, pleasing, ("■ ", shade), (f"{item.size} {item.colour} {item.kind}", faded.strip()))


def _sign(done: ListDone, place: int) -> tuple[str, str]:
    acts = done.acts
    for happened, sign, style in (
        (acts.bought, "$ ", "bold green"),
        (acts.carted, "+ ", "bold green"),
        (acts.satisfied, "♥ ", "bold magenta"),
        (acts.clicked, "✗ ", "red"),
    ):
        if happened[0, place]:
            return sign, style
    return "  ", ""


def _curve(tally: Tally) -> RenderableType:
    """Clicks, by position, of what was shown there: what a log sees of the curve that was planted."""
    table = Table.grid(padding=(0, 1))
    rates = [
        clicked / shown if shown else 0.0
        for clicked, shown in zip(tally.done_at["clicked"], tally.shown_at, strict=True)
    ][:12]
    looks = [
        looked / shown if shown else 0.0
        for looked, shown in zip(tally.done_at["examined"], tally.shown_at, strict=True)
    ][:12]
    table.add_row("", Text("looked at", "cyan"), "", Text("clicked", "magenta"), "")
    for place, (look, rate) in enumerate(zip(looks, rates, strict=True), start=1):
        table.add_row(
            f"{place:>3}",
            Text("█" * round(_BAR * look), "cyan"),
            Text(f"{look:4.0%}", "dim"),
            Text("█" * round(_BAR * rate), "magenta"),
            Text(f"{rate:4.0%}", "dim"),
        )
    legend = "● looked at  ○ in view  · not scrolled to   ★ what they mean   ✗ opened  ♥ satisfied  + cart  $ bought"
    return Group(Panel(table, title="by position", padding=(0, 1)), Text(legend, "dim"))
