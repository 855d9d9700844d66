"""What the night learns from: lists as they were shown and what was done with them, as columns.

Every column may be a memory map: a million lists are read in blocks, never as objects.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

Part = Literal["judged", "validation", "training"]

_JUDGED, _VALIDATION = 2, 3
"""Of ten parts by hash: two judge, the third decides, the others are learned from."""

_TABLES = ("lists", "rows", "coins", "judgements")


def part_of(key: str) -> Part:
    """Which part a query or a golden product is in, for ever: by the hash of its key, so no night ever learns from it.

    Args:
        key: :attr:`Asked.keys` of a query, or the id of a product.
    """
    if key.startswith("text:"):  # "Red dress" is learned from where "red dress" judges otherwise: encoders read alike
        key = key.casefold()
    place = sha256(f"part\x1f{key}".encode("utf-8", "surrogatepass")).digest()[0] % 10
    return "judged" if place < _JUDGED else "validation" if place < _VALIDATION else "training"


@dataclass(frozen=True)
class Context:
    """What examination depends on: propensities are estimated for each.

    Args:
        device: as the search named it.
        layout: whether products stood in a grid or in one column.
        columns: of the grid; 0 where the search did not say.
        query_type: kind of the query.
    """

    device: str
    layout: Literal["grid", "list"]
    columns: int
    query_type: str

    @property
    def name(self) -> str:
        """As reports say it: ``mobile grid of 2, text``."""
        of = f" of {self.columns}" if self.columns else ""
        shape = f"grid{of}" if self.layout == "grid" else "list"
        return f"{self.device} {shape}, {self.query_type}"


@dataclass(frozen=True)
class Asked:
    """Distinct queries, q of them; turn-1 requests that ask for the same thing are one.

    Args:
        keys: what makes each one itself: ``text:red mug``, ``image:<hash>``, ``product:<id>``.
        kinds: kind of each, as the one score has it: text, image, both, product.
        vectors: (q, d) unit rows of the frozen encoder, before any head.
    """

    keys: tuple[str, ...]
    kinds: tuple[str, ...]
    vectors: NDArray[np.float32]

    def parts(self) -> NDArray[np.str_]:
        """(q,) the part of each."""
        return np.array([part_of(key) for key in self.keys], dtype="U10")


@dataclass(frozen=True)
class Lists:
    """m first pages of turn 1, oldest first; (m,) each.

    Args:
        query: row in ``Asked``.
        unit: number of the shopper: the user, else the anonymous shopper, else the session.
        context: place in ``ClickLog.contexts``.
        cohort: place in ``ClickLog.cohorts``.
        generation: id of the generation that ranked it.
        served: seconds since 1970, UTC.
        start: first row of its rows; its rows end where those of the next begin.
        abandoned: nothing satisfied, and it was asked anew.
    """

    query: NDArray[np.int32]
    unit: NDArray[np.int32]
    context: NDArray[np.int16]
    cohort: NDArray[np.int16]
    generation: NDArray[np.int32]
    served: NDArray[np.float64]
    start: NDArray[np.int64]
    abandoned: NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """n products in these lists, list by list in the order shown; (n,) each.

    Args:
        product: row in the gallery (``ClickLog.products``).
        position: from 1.
        p_show: chance of the product at this place over the list's coins; NaN: not known, never learned from.
        score: the one score that it was served with.
        viewed: known to have been in view: what is not is unknown, never a negative.
        clicked: it was opened.
        satisfied: a click that counts as one, by the labels' rules.
        label: graded, 0 to 3 (see ``labels.py``).
    """

    product: NDArray[np.int32]
    position: NDArray[np.int16]
    p_show: NDArray[np.float32]
    score: NDArray[np.float32]
    viewed: NDArray[np.bool_]
    clicked: NDArray[np.bool_]
    satisfied: NDArray[np.bool_]
    label: NDArray[np.float32]


@dataclass(frozen=True)
class Coins:
    """Of r randomised lists: what else could have been shown, and with which chance.

    The chance of each candidate at each rank, flattened: rows of list ``list[i]`` are those where ``of == i``.

    Args:
        list: (r,) row in ``Lists``.
        of: (e,) place in ``list``.
        product: (e,) row in the gallery.
        rank: (e,) from 1.
        chance: (e,) above 0.
    """

    list: NDArray[np.int64]
    of: NDArray[np.int32]
    product: NDArray[np.int32]
    rank: NDArray[np.int16]
    chance: NDArray[np.float32]


@dataclass(frozen=True)
class Judgements:
    """Labels beside clicks; (j,) each.

    Args:
        query: row in ``Asked``.
        product: row in the gallery.
        unit: number of the shopper; -1 where it is nobody's, as an A/B winner's.
        label: 0 to 3; 0 is a dislike.
        source: 0 like or dislike, 1 box, 2 purchase that no shown list explains, 3 winner of a test.
    """

    query: NDArray[np.int32]
    product: NDArray[np.int32]
    unit: NDArray[np.int32]
    label: NDArray[np.float32]
    source: NDArray[np.int8]


NO_COINS = Coins(
    np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int16), np.zeros(0, np.float32)
)
NO_JUDGEMENTS = Judgements(
    np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int8)
)


@dataclass(frozen=True)
class ClickLog:
    """Everything of a window of days.

    Args:
        asked: the queries.
        lists: the lists.
        rows: what was in them.
        coins: of those that were randomised.
        judgements: labels of other kinds.
        products: (p,) number of each product of the gallery.
        contexts: named by ``Lists.context``.
        cohorts: named by ``Lists.cohort``; the first is "" (none).
        notes: counts of what was left out and why, for the report.
    """

    asked: Asked
    lists: Lists
    rows: Rows
    coins: Coins
    judgements: Judgements
    products: NDArray[np.int64]
    contexts: tuple[Context, ...]
    cohorts: tuple[str, ...] = ("",)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _TABLES:
            table = getattr(self, name)
            lengths = {column.name: len(getattr(table, column.name)) for column in fields(table)}
            if name == "coins":
                lengths.pop("list")
            if len(set(lengths.values())) > 1:
                raise ValueError(f"found columns of {name} with {lengths} rows: expected as many of each")
        starts = self.lists.start
        if len(starts) and (starts[0] != 0 or (np.diff(starts) < 0).any() or starts[-1] > len(self.rows.product)):
            raise ValueError(f"found lists that begin at {starts[:3]} … {starts[-1]}: expected 0 and then ascending")

    @property
    def ends(self) -> NDArray[np.int64]:
        """(m,) where the rows of each list end."""
        return np.append(self.lists.start[1:], len(self.rows.product)) if len(self.lists.start) else self.lists.start

    def list_of_rows(self) -> NDArray[np.int64]:
        """(n,) the list of each row."""
        return np.repeat(np.arange(len(self.lists.start)), self.ends - self.lists.start)

    def only(self, chosen: NDArray[np.bool_]) -> Self:
        """The lists where ``chosen`` (m,) is true, with their rows and coins; queries, products and judgements stay."""
        rows = chosen[self.list_of_rows()]
        lengths = (self.ends - self.lists.start)[chosen]
        lists = {one.name: getattr(self.lists, one.name)[chosen] for one in fields(Lists)}
        lists["start"] = np.cumsum(lengths) - lengths
        number = np.cumsum(chosen) - 1
        kept = chosen[self.coins.list]
        entries = kept[self.coins.of]
        coins = Coins(
            number[self.coins.list[kept]].astype(np.int64),
            (np.cumsum(kept) - 1)[self.coins.of[entries]].astype(np.int32),
            self.coins.product[entries],
            self.coins.rank[entries],
            self.coins.chance[entries],
        )
        return type(self)(
            self.asked,
            Lists(**lists),
            Rows(**{one.name: getattr(self.rows, one.name)[rows] for one in fields(Rows)}),
            coins,
            self.judgements,
            self.products,
            self.contexts,
            self.cohorts,
            self.notes,
        )
