"""A block of lists put together: what was shown and what was done with it, matched in memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.learning.click_logs.fixed_rows import Records
from backend.learning.click_logs.gallery import Shelf
from backend.learning.click_logs.reading import DEEDS, LISTS, ROWS, Aside
from backend.learning.click_logs.spool import BLOCK
from backend.ml.clicks.deeds import EXPOSURE, Deeds, Outcomes, outcomes

_LIST_TYPE, _ROW_TYPE, _DEED_TYPE = (
    np.dtype([(name, f"={form}") for name, form in columns.items()]) for columns in (LISTS, ROWS, DEEDS)
)


@dataclass(frozen=True)
class Block:
    """Lists in their order with their rows.

    Args:
        lists: (m,) records, oldest first.
        rows: (n,) records, list by list as shown; ``list`` counts from 0 in the block.
        product: (n,) place of each in the gallery.
        columns: (m,) columns that lists were drawn in, as exposures say; 0 where none does.
        done: what came of it.
        gone: rows that were left out since their product is not in the gallery.
    """

    lists: Records
    rows: Records
    product: NDArray[np.int64]
    columns: NDArray[np.int16]
    done: Outcomes
    gone: int


def blocks(aside: Aside, lists: int, shelf: Shelf, *, size: int = BLOCK) -> Iterator[Block]:
    """Each block of ``lists`` lists, in their order."""
    for number, begin in enumerate(range(0, lists, size)):
        yield _block(
            aside.lists.read(number, _LIST_TYPE),
            aside.rows.read(number, _ROW_TYPE),
            aside.deeds.read(number, _DEED_TYPE),
            begin,
            shelf,
        )
        for spool in (aside.lists, aside.rows, aside.deeds):
            spool.drop(number)


def _block(lists: Records, rows: Records, deeds: Records, begin: int, shelf: Shelf) -> Block:
    lists = lists[np.argsort(lists["list"])]
    rows = rows[np.lexsort((rows["position"], rows["list"]))]
    for records in (lists, rows, deeds):
        records["list"] -= begin
    product = shelf.places(rows["product"])
    known = product >= 0
    rows, product = rows[known], product[known]
    done = outcomes(
        Deeds(
            list=deeds["list"],
            row=_row_of(rows, deeds),
            product=deeds["product"],
            kind=deeds["kind"],
            at=deeds["at"],
            amount=deeds["amount"],
            share=deeds["share"],
        ),
        len(rows),
        lists["served"],
        lists["following"],
    )
    columns = np.zeros(len(lists), dtype=np.int16)
    drawn = deeds["kind"] == EXPOSURE
    np.maximum.at(columns, deeds["list"][drawn], deeds["columns"][drawn])
    return Block(lists, rows, product, columns, done, int((~known).sum()))


def _row_of(rows: Records, deeds: Records) -> NDArray[np.int64]:
    """(e,) row that each event is about; -1 where it is about none."""
    if not len(rows):
        return np.full(len(deeds), -1, dtype=np.int64)
    span = int(max(rows["product"].max(), deeds["product"].max(initial=0))) + 2
    shown = rows["list"].astype(np.int64) * span + rows["product"]
    meant = deeds["list"].astype(np.int64) * span + deeds["product"]
    order = np.argsort(shown)
    at = np.minimum(np.searchsorted(shown, meant, sorter=order), len(shown) - 1)
    found = order[at]
    return np.where((shown[found] == meant) & (deeds["product"] >= 0), found, -1)
