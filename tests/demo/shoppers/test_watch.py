"""The view in a terminal shows what was done, and nothing else; the command says which worlds there are."""

import io

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from backend.cli import app
from backend.demo.catalogue import products
from backend.demo.shoppers.asking import Wish
from backend.demo.shoppers.session import ListDone
from backend.demo.shoppers.tally import Tally
from backend.demo.shoppers.watch import view
from backend.ml.clicks.shoppers import Acts
from backend.ml.clicks.worlds import WORLDS

SHOP = products(8, 7)


def places(*true: int) -> np.ndarray:
    return np.isin(np.arange(8), true)[None, :]


def done() -> ListDone:
    """Six of eight products in view, three looked at, two opened, one of them bought."""
    nothing, times = places(), np.zeros((1, 8), dtype=np.int64)
    acts = Acts(
        places(0, 1, 2, 3, 4, 5), times, places(0, 1, 4), places(1, 4), places(4), times, nothing, nothing,
        places(4), nothing, places(4), np.zeros(1, dtype=bool),
    )  # fmt: skip
    wish = Wish("toy with big eyes", frozenset({"kind:plush toy"}), SHOP[0].item)
    ids = tuple(product.id for product in SHOP)
    gains = np.array([[0.0, 0.2, 0, 0, 1, 0, 0, 0]])
    return ListDone("q_1", 1, WORLDS["pastel"].populations[0], wish, ids, gains, acts, 0.5, (), (), {})


def drawn(clicks: bool) -> str:
    tally = Tally(WORLDS["pastel"], 8)
    tally.add(done())
    console = Console(width=150, file=io.StringIO())
    with console.capture() as said:
        console.print(view(done(), tally, {product.id: product for product in SHOP}, clicks=clicks))
    return said.get()


def test_the_view_shows_what_was_looked_at_and_then_what_was_clicked() -> None:
    eyes, popped = drawn(clicks=False), drawn(clicks=True)
    for text in (eyes, popped):
        grid = text.split("by position")[0]
        assert (grid.count("●"), grid.count("○"), grid.count("★")) == (3, 3, 1)
        assert "toy with big eyes" in grid
        assert "shown 8, seen 6, clicked 2" in grid
        assert "NDCG@10 0.500" in grid
    assert "$" not in eyes.split("by position")[0]
    assert popped.split("by position")[0].count("$") == 1
    assert popped.split("by position")[0].count("✗") == 1


def test_the_command_lists_the_worlds_and_refuses_others() -> None:
    said = CliRunner().invoke(app, ["simulate", "--worlds"])
    assert said.exit_code == 0
    assert all(name in said.output for name in WORLDS)
    refused = CliRunner().invoke(app, ["simulate", "--world", "atlantis"])
    assert refused.exit_code == 1
    assert "Found: atlantis" in refused.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--url", "http://127.0.0.1:port"], "This is no address."),
        (["--url", "shop.example"], "This is no address."),
        (["--report", "/no/such/folder/report.json"], "The report cannot be written there."),
    ],
)
def test_what_cannot_work_is_said_before_anybody_shops(arguments: list[str], said: str) -> None:
    refused = CliRunner().invoke(app, ["simulate", "--shoppers", "1", *arguments])
    assert refused.exit_code == 1
    assert said in refused.output
