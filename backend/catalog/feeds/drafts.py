"""What every reader gives: a product as far as its format says it, or a line that is wrong."""

from dataclasses import dataclass, field
from typing import Any

from backend.catalog.schemas import Problem, Rejected
from backend.errors import Unprocessable

ROW_MAX_BYTES = 16 * 2**20
"""Largest line, field or XML item read: what is larger is not a product, and must not fill the memory."""


class FeedBroken(Unprocessable):
    """The feed cannot be read on from here; what came before it stands."""

    title = "Feed cannot be read"


@dataclass(frozen=True)
class Row:
    """One row: the number people find it by, and its fields by name."""

    line: int
    fields: dict[str, Any]


@dataclass
class Draft:
    """A product in the words of ``ProductIn``, not yet checked.

    ``images`` in ``values`` are addresses, names of files or bytes. ``problems`` are those a reader found itself.
    ``group`` names the product that this row is one variant of, where the format has such rows.
    """

    line: int
    values: dict[str, Any]
    problems: list[Problem] = field(default_factory=list)
    group: str | None = None


@dataclass(frozen=True)
class Seen:
    """A product that is named, and known to be kept as it is."""

    id: str


Read = Draft | Rejected
Item = Read | Seen
