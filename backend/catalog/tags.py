"""Filterable values as numbers: text never enters an expression of the index, only these do.

A tag is 63 bits of SHA-256 over kind and value, so two different values meet with a chance of 1e-13 in a catalogue
of a thousand values; a search checks its hits against PostgreSQL anyway.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Protocol

MAX_TAGS = 1024
"""Most tags one product carries; a product with more filterable values is rejected."""


class Taggable(Protocol):
    """What tags are made of: a product, as sent or as kept."""

    @property
    def brand(self) -> str | None:
        """Brand."""
        ...

    @property
    def category(self) -> Sequence[str]:
        """Path of the category, the widest first."""
        ...

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes of the product."""
        ...


def tag(kind: str, value: Any) -> int:
    """The number of ``value`` (63 bits, positive) under ``kind``: brand, category or ``attributes.NAME``."""
    digest = sha256(f"{kind.casefold()}\x1f{tag_text(value)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def tag_text(value: Any) -> str:
    """``value`` as compared: case, width and spacing do not matter, and 12 is 12.0."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(unicodedata.normalize("NFKC", str(value)).casefold().split())


def category_values(path: Sequence[str]) -> list[str]:
    """What a category filter may say to find ``path``: any of its names, and any path from the top.

    >>> category_values(["Toys", "Plush"])
    ['Toys', 'Toys > Plush', 'Plush']
    """
    prefixes = [" > ".join(path[: depth + 1]) for depth in range(len(path))]
    return list(dict.fromkeys([*prefixes, *path]))


def product_tags(product: Taggable, variants: Iterable[Mapping[str, Any]] = ()) -> tuple[int, ...]:
    """Tags of a product in ascending order: brand, categories, and attributes of itself and of its variants.

    Args:
        product: the product.
        variants: the ``attributes`` of each variant, so that a filter on a size finds the product that has it.
    """
    tags = {tag("category", value) for value in category_values(product.category)}
    if product.brand:
        tags.add(tag("brand", product.brand))
    for attributes in (product.attributes, *variants):
        for name, value in attributes.items():
            values = value if isinstance(value, list) else [value]
            tags.update(tag(f"attributes.{name}", one) for one in values)
    return tuple(sorted(tags))
