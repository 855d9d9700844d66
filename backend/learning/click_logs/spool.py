"""Records set aside by block of lists, so that each block can be read whole and everything else stays on the disk."""

from pathlib import Path

import numpy as np

from backend.learning.click_logs.fixed_rows import Records

BLOCK = 50_000
"""Lists of a block."""


class Spool:
    """Records with a field ``list``, kept by the block of that list; they come in any order.

    Args:
        folder: where; made here.
        block: lists of a block.
    """

    def __init__(self, folder: Path, block: int = BLOCK) -> None:
        self._folder, self._block = folder, block
        folder.mkdir(parents=True)

    def add(self, records: Records) -> None:
        """Set ``records`` aside, in their order."""
        block = records["list"] // self._block
        for one in np.unique(block).tolist():
            with (self._folder / str(one)).open("ab") as out:
                out.write(records[block == one].tobytes())

    def read(self, block: int, dtype: np.dtype[np.void]) -> Records:
        """Those of one block, in the order in which they came."""
        path = self._folder / str(block)
        if not path.exists():
            return np.empty(0, dtype=dtype)
        return np.fromfile(path, dtype=dtype)

    def drop(self, block: int) -> None:
        """Give the room of a block back."""
        (self._folder / str(block)).unlink(missing_ok=True)
