"""Blocks of lists written as columns: what is known before it is known how long a stay satisfies."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.learning.click_logs.columns import Column, Table
from backend.learning.click_logs.gallery import Shelf
from backend.learning.click_logs.joining import Block
from backend.ml.clicks.click_log import Context
from backend.ml.clicks.satisfaction import DwellCounts

EPOCH_S = 946_684_800
"""Seconds from 1970 to 2000, from which PostgreSQL counts microseconds."""

FLAGS = ("clicked", "timed", "returned", "went_on", "carted", "wished", "bought")
"""Bits of the rows' ``flags``, from the lowest."""

UNGRADED = {"flags": np.uint8, "dwell_ms": np.int32, "segment": np.int32, "anew": np.bool_}
"""Columns that labels are made of; ``segment`` is device times categories plus category."""


@dataclass
class Counts:
    """Of what is kept, and of what is left out.

    Args:
        lists: kept.
        rows: of these.
        viewed: of the rows.
        clicked: likewise.
        gone: rows left out, since their product is no longer sold.
        unseen: lists left out, since nothing says what was in view although something was done.
        unasked: lists left out, since their query has no vector.
        acted: lists that something was done with, by device.
        lost: of these, those of which nothing says what was in view.
    """

    lists: int = 0
    rows: int = 0
    viewed: int = 0
    clicked: int = 0
    gone: int = 0
    unseen: int = 0
    unasked: int = 0
    acted: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)


class Writer:
    """Writes the lists and rows of a log, block by block.

    Args:
        folder: of the log.
        shelf: the gallery.
        contexts: of ``night_contexts``, in their order; those with other columns are added as they turn up.
        query_number: (a,) place of each query among those with a vector; -1: it has none.
        units: how many shoppers there are.
        lists: how many lists will come.
    """

    def __init__(
        self,
        folder: Path,
        shelf: Shelf,
        contexts: tuple[Context, ...],
        query_number: NDArray[np.int32],
        units: int,
        lists: int,
    ) -> None:
        self._shelf, self._query_number, self._base = shelf, query_number, contexts
        self._lists = Table(folder, "lists", ("query", "unit", "context", "cohort", "generation", "served", "start"))
        self._rows = Table(folder, "rows", ("product", "position", "p_show", "score", "viewed", "clicked"))
        self._ungraded = {name: Column(folder / f"{name}.npy", np.dtype(form)) for name, form in UNGRADED.items()}
        self._contexts = {one: place for place, one in enumerate(contexts)}
        self.devices = tuple(sorted({one.device for one in contexts})) or ("unknown",)
        self._device = np.array([self.devices.index(one.device) for one in contexts], dtype=np.int64)
        self._seen_units = np.zeros(units, dtype=np.bool_)
        self.dwell = DwellCounts(len(self.devices), len(shelf.categories))
        self.kept = np.full(lists, -1, dtype=np.int32)
        """(lists,) number of each list in the log; -1: it is left out."""
        self.counts = Counts()

    @property
    def contexts(self) -> tuple[Context, ...]:
        """In the order in which lists name them."""
        return tuple(self._contexts)

    @property
    def units(self) -> int:
        """How many shoppers' lists are kept."""
        return int(self._seen_units.sum())

    def add(self, block: Block, begin: int) -> None:
        """Write the next block, whose first list has the number ``begin``."""
        lost = block.done.acted & ~block.done.exposed
        query = self._query_number[block.lists["query"]]
        keep = ~lost & (query >= 0)
        self._count_lost(block, lost, query)
        rows = keep[block.rows["list"]]
        lengths = np.bincount(block.rows["list"], minlength=len(keep))[keep]
        self.kept[begin : begin + len(keep)][keep] = self.counts.lists + np.arange(int(keep.sum()))
        self._seen_units[block.lists["unit"][keep]] = True
        self._lists.append(
            {
                "query": query[keep],
                "context": self._context_of(block)[keep],
                "served": block.lists["served"][keep] / 1e6 + EPOCH_S,
                "start": self.counts.rows + np.cumsum(lengths) - lengths,
            }
            | {name: block.lists[name][keep] for name in ("unit", "cohort", "generation")}
        )
        self._ungraded["anew"].append(block.done.anew[keep])
        self._add_rows(block, rows)
        self.counts.lists += int(keep.sum())
        self.counts.rows += int(rows.sum())

    def close(self) -> None:
        """Nothing more is added."""
        self._lists.close()
        self._rows.close()
        for column in self._ungraded.values():
            column.close()

    def _add_rows(self, block: Block, rows: NDArray[np.bool_]) -> None:
        done = block.done
        self._rows.append(
            {"product": block.product[rows], "viewed": done.viewed[rows], "clicked": done.clicked[rows]}
            | {name: block.rows[name][rows] for name in ("position", "p_show", "score")}
        )
        device = self._device[block.lists["context"]][block.rows["list"]]
        category = self._shelf.category[block.product].astype(np.int64)
        flags = sum(getattr(done, name).astype(np.uint8) << bit for bit, name in enumerate(FLAGS))
        self._ungraded["flags"].append(np.asarray(flags, dtype=np.uint8)[rows])
        self._ungraded["dwell_ms"].append(done.dwell_ms[rows])
        self._ungraded["segment"].append((device * len(self._shelf.categories) + category)[rows])
        timed = rows & done.clicked & done.timed
        self.dwell.add(device[timed], category[timed], done.dwell_ms[timed], (done.carted | done.bought)[timed])
        self.counts.viewed += int(done.viewed[rows].sum())
        self.counts.clicked += int(done.clicked[rows].sum())

    def _count_lost(self, block: Block, lost: NDArray[np.bool_], query: NDArray[np.int32]) -> None:
        counts, device = self.counts, self._device[block.lists["context"]]
        counts.unasked += int((query < 0).sum())
        counts.unseen += int((lost & (query >= 0)).sum())
        counts.gone += block.gone
        for number, name in enumerate(self.devices):
            of = (device == number) & block.done.acted
            counts.acted[name] = counts.acted.get(name, 0) + int(of.sum())
            counts.lost[name] = counts.lost.get(name, 0) + int((of & lost).sum())

    def _context_of(self, block: Block) -> NDArray[np.integer[Any]]:
        """(m,) the context of each list; columns that nobody said when asking are those that it was drawn in."""
        found = block.lists["context"].copy()
        unsaid = np.array([one.columns == 0 for one in self._base], dtype=np.bool_)
        for asked in np.flatnonzero(unsaid).tolist():
            of = (block.lists["context"] == asked) & (block.columns > 0)
            base = self._base[asked]
            for columns in np.unique(block.columns[of]).tolist():
                drawn = Context(base.device, "list" if columns == 1 else base.layout, columns, base.query_type)
                found[of & (block.columns == columns)] = self._contexts.setdefault(drawn, len(self._contexts))
        return found
