"""A Shopify shop's public list, ``/products.json``: no credentials, stock as yes or no, no alternative texts."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from backend.catalog.shops.client import NotThere, ShopClient, ShopRefused
from backend.catalog.shops.listing import Change, Entry, Listed, entries, within
from backend.catalog.shops.platform import NotReadable, Shop
from backend.catalog.shops.reading import instant_of, line, number_of
from backend.catalog.shops.shopify import product_of

PAGE = 250
PUBLIC_MAX = 25_000
"""Shopify answers no page behind this many products."""


class ShopifyPublic:
    """What anybody may read of a Shopify shop.

    Args:
        client: of the shop.
        currency: of its prices; what ``/meta.json`` says when none.
    """

    name = "shopify"

    def __init__(self, client: ShopClient, currency: str | None = None) -> None:
        self._client = client
        self._meta = meta_of(client)
        self.url = client.base
        self.as_of = client.as_of or datetime.now(UTC)
        self._currency = currency or line(self._meta.get("currency"), 3) or None
        self._shop = Shop(client.base, self._currency)

    def currency(self) -> str | None:
        """Currency of the shop."""
        return self._currency

    def count(self) -> int | None:
        """Published products, as ``/meta.json`` says."""
        found = self._meta.get("published_products_count")
        return found if isinstance(found, int) else None

    def pages(self) -> Iterator[list[Entry]]:
        """Pages of 250.

        Raises:
            ShopRefused: the shop has more products than its public list shows.
        """
        for number in range(1, PUBLIC_MAX // PAGE + 1):
            answer = self._client.get("/products.json", limit=PAGE, page=number)
            bodies = entries(within(answer.data, "products"))
            yield [listed_of(body, "updated_at") for body in bodies]
            if not bodies:
                return
        raise ShopRefused(
            "The public list ends at 25,000 products. Read the shop with its app's credentials: "
            "MORELIKE_SHOP_CLIENT_ID and MORELIKE_SHOP_CLIENT_SECRET.",
            found=f"{PUBLIC_MAX:,} products and more",
            expected=f"fewer than {PUBLIC_MAX:,}",
        )

    def changes(self, listed: Sequence[Listed]) -> Iterator[tuple[Listed, Change]]:
        """What the list says."""
        for one in listed:
            try:
                yield one, product_of(one.body, self._shop)
            except NotReadable as error:
                yield one, error

    def still_sold(self, ids: Sequence[str]) -> set[str]:
        """The list read once more: it has no other question."""
        wanted = set(ids)
        return {one.id for page in self.pages() for one in page if isinstance(one, Listed) and one.id in wanted}


def meta_of(client: ShopClient) -> Mapping[str, Any]:
    """``/meta.json`` of a Shopify shop; empty where it has none."""
    try:
        found = client.get("/meta.json").data
    except NotThere:
        return {}
    return found if isinstance(found, dict) else {}


def listed_of(body: Any, changed: str) -> Entry:
    """The entry ``body``, whose time of change stands in ``changed``; one that cannot be read counts as new."""
    fields = body if isinstance(body, dict) else {}
    try:
        number = number_of(fields.get("id"), "id")
    except NotReadable as error:
        return error
    try:
        return Listed(number, instant_of(fields.get(changed), changed), fields)
    except NotReadable:
        return Listed(number, None, fields)
