"""Heads as they are kept, with a generation and with an index build, and as they are used: parsed once."""

from functools import lru_cache

from backend.errors import Unavailable
from backend.ml.head_files import load_item_heads, load_query_heads
from backend.ml.heads import ItemHeads, QueryHeads

HELD = 8
"""Heads in memory of either kind, by their bytes: those that serve, those that are written, and those just before.
At d = 512 a pair is 1 MB."""


class HeadsUnusable(Unavailable):
    """What is kept as a generation's heads is damaged, or belongs to another encoder than its index build."""

    title = "Heads unusable"


@lru_cache(HELD)
def read_query_heads(data: bytes | None, encoder_id: str) -> QueryHeads:
    """A generation's heads; None is the identity.

    Raises:
        ValueError: the bytes are damaged, or of another encoder.
    """
    return QueryHeads() if data is None else load_query_heads(data, encoder_id)


@lru_cache(HELD)
def read_item_heads(data: bytes | None, encoder_id: str) -> ItemHeads:
    """An index build's heads; None is the identity.

    Raises:
        ValueError: the bytes are damaged, or of another encoder.
    """
    return ItemHeads() if data is None else load_item_heads(data, encoder_id)
