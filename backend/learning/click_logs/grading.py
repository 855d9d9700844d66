"""Labels of everything that was written, once it is known how long a stay satisfies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.learning.click_logs.columns import Table, mapped
from backend.learning.click_logs.writing import FLAGS, UNGRADED
from backend.ml.clicks.labels import SATISFYING, graded
from backend.ml.clicks.satisfaction import DwellCuts

AT_ONCE = 50_000
"""Lists that are graded at a time."""


def grade(folder: Path, cuts: DwellCuts) -> int:
    """Write the labels of the log in ``folder``; how many clicks satisfied. What they are made of is gone then."""
    rows, lists = Table(folder, "rows", ("satisfied", "label")), Table(folder, "lists", ("abandoned",))
    columns = {name: mapped(folder / f"{name}.npy") for name in UNGRADED}
    start = mapped(folder / "lists.start.npy")
    satisfied = 0
    for first, last, begin, end in _spans(start, len(columns["flags"])):
        part = {name: np.asarray(columns[name][begin:end]) for name in ("flags", "dwell_ms", "segment")}
        label = _labels(part, cuts)
        rows.append({"label": label, "satisfied": label >= SATISFYING})
        of_list = np.repeat(np.arange(last - first), np.diff(np.append(start[first:last], end)))
        content = np.bincount(of_list, label >= SATISFYING, minlength=last - first) > 0
        lists.append({"abandoned": ~content & columns["anew"][first:last]})
        satisfied += int((label >= SATISFYING).sum())
    rows.close()
    lists.close()
    for name in UNGRADED:
        (folder / f"{name}.npy").unlink()
    return satisfied


def _labels(part: dict[str, NDArray[Any]], cuts: DwellCuts) -> NDArray[np.float32]:
    flag = {name: (part["flags"] >> bit & 1).astype(np.bool_) for bit, name in enumerate(FLAGS)}
    return graded(
        clicked=flag["clicked"],
        dwell_ms=part["dwell_ms"],
        timed=flag["timed"],
        returned=flag["returned"],
        went_on=flag["went_on"],
        kept=flag["carted"] | flag["wished"],
        bought=flag["bought"],
        satisfied_ms=cuts.cut_ms.ravel()[part["segment"]],
    )


def _spans(start: NDArray[np.int64], rows: int) -> Iterator[tuple[int, int, int, int]]:
    """First list and the one behind the last, first row and the one behind the last, of each part."""
    for first in range(0, len(start), AT_ONCE):
        last = min(first + AT_ONCE, len(start))
        yield first, last, int(start[first]), int(start[last]) if last < len(start) else rows
