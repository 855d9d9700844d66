"""The contract of a shop that is asked for its catalogue, whatever its platform."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from backend.catalog.shops.client import ShopRefused
from backend.catalog.shops.platform import Delete, NotReadable, Write


@dataclass(frozen=True)
class Listed:
    """An entry of a shop's list.

    Args:
        id: the product's id, as the catalogue keeps it.
        updated_at: when it last changed, where the list says so.
        body: what the list says of it.
        variants: how many it has, where that may change without the product's time.
    """

    id: str
    updated_at: datetime | None
    body: dict[str, Any] = field(default_factory=dict)
    variants: int | None = None


Change = Write | Delete | NotReadable
Entry = Listed | NotReadable


class Listing(Protocol):
    """A shop's list of what it sells.

    ``name`` is how it is read, ``url`` the shop, ``as_of`` its clock before the list is read: what it lists was so then
    or later. Every method asks the shop, and raises ``ShopRefused`` or ``ShopSilent``.
    """

    name: str
    url: str
    as_of: datetime

    def currency(self) -> str | None:
        """Currency of prices that name none."""
        ...

    def count(self) -> int | None:
        """How many products there are, where the shop says so."""
        ...

    def pages(self) -> Iterator[list[Entry]]:
        """Everything on sale; ``NotReadable`` stands for an entry without a readable id."""
        ...

    def changes(self, listed: Sequence[Listed]) -> Iterator[tuple[Listed, Change]]:
        """What each of ``listed`` is now, with what its entry leaves out fetched."""
        ...

    def still_sold(self, ids: Sequence[str]) -> set[str]:
        """Those of ``ids`` that are on sale after all: a list read in pages may skip a product when another goes."""
        ...


def within(value: Any, *path: str) -> Any:
    """What lies at ``path`` in ``value``.

    Raises:
        ShopRefused: nothing does: the answer is not in the platform's format.
    """
    for name in path:
        if not isinstance(value, dict) or name not in value:
            raise ShopRefused(
                "The shop's answer is not in its platform's format.", found=f"no {name}", expected=".".join(path)
            )
        value = value[name]
    return value


def entries(value: Any) -> list[Any]:
    """``value``, which is a list.

    Raises:
        ShopRefused: it is none.
    """
    if not isinstance(value, list):
        raise ShopRefused(
            "The shop's answer is not in its platform's format.", found=type(value).__name__, expected="a list"
        )
    return value
