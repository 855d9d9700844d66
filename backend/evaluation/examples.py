"""Sessions to look at: what was asked, what came first before and after feedback, and where the right item was."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from backend.catalog.feeds.pictures import PictureMissing
from backend.evaluation.benchmark import Benchmark
from backend.evaluation.features import Ints
from backend.evaluation.turns import Run

SHOWN = 5
SIDE = 144
QUALITY = 72


@dataclass(frozen=True)
class Shown:
    """An item in a list: its title, whether it is right, and its picture as a data URI, empty where it has none."""

    title: str
    right: bool
    picture: str


@dataclass(frozen=True)
class Example:
    """One session.

    Args:
        strategy: what refined it.
        kind: why it is shown: ``best`` or ``worst`` of its strategy, or ``any`` drawn at random.
        said: the query.
        rank_before: of the right item.
        rank_after: in turn 2.
        before: the first items of turn 1.
        after: those of turn 2.
        target: the right item.
    """

    strategy: str
    kind: str
    said: str
    rank_before: int
    rank_after: int
    before: list[Shown]
    after: list[Shown]
    target: Shown


def examples(benchmark: Benchmark, plain: Run, run: Run, count: int) -> list[Example]:
    """``count`` sessions each that gained most, that lost most, and that were drawn at random among all."""
    if not count:
        return []
    before, after = plain.ranks[0], run.ranks[1]
    change = 1 / after - 1 / before
    order = np.argsort(-change, kind="stable")
    drawn = np.random.default_rng(0).permutation(len(change))[:count]
    chosen = [("best", row) for row in order[:count] if change[row] > 0]
    chosen += [("worst", row) for row in order[::-1][:count] if change[row] < 0]
    chosen += [("any", row) for row in drawn]
    return [_example(benchmark, run, int(row), kind) for kind, row in chosen]


def _example(benchmark: Benchmark, run: Run, query: int, kind: str) -> Example:
    right = benchmark.targets[query]
    return Example(
        strategy=run.strategy.name,
        kind=kind,
        said=benchmark.said(query),
        rank_before=int(run.ranks[0][query]),
        rank_after=int(run.ranks[1][query]),
        before=_list(benchmark, run.shown[0][query], right),
        after=_list(benchmark, run.shown[1][query], right),
        target=_shown(benchmark, int(right[0]), right),
    )


def _list(benchmark: Benchmark, items: Ints, right: Ints) -> list[Shown]:
    return [_shown(benchmark, int(item), right) for item in items[:SHOWN] if item >= 0]


def _shown(benchmark: Benchmark, item: int, right: Ints) -> Shown:
    return Shown(benchmark.title(item), bool(np.isin(item, right)), _picture(benchmark, item))


def _picture(benchmark: Benchmark, item: int) -> str:
    try:
        picture = benchmark.picture(item)
    except PictureMissing:
        return ""
    return "" if picture is None else thumbnail(picture)


def thumbnail(picture: Image.Image) -> str:
    """The picture as a small JPEG in a data URI."""
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    data = io.BytesIO()
    small.save(data, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
