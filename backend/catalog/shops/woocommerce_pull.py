"""A WooCommerce shop: its REST interface (v3) with a key, or the public Store API, which tells no times."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from backend.catalog.shops.client import Answer, ShopClient, ShopRefused
from backend.catalog.shops.listing import Change, Entry, Listed, entries, within
from backend.catalog.shops.platform import Delete, NotReadable, Shop, Write
from backend.catalog.shops.reading import line, objects
from backend.catalog.shops.shopify_public import listed_of
from backend.catalog.shops.woocommerce import product_of

PAGE = 100
REST, STORE = "/wp-json/wc/v3/products", "/wp-json/wc/store/v1/products"


class WooCommerceRest:
    """A WooCommerce shop through its REST interface.

    Args:
        client: of the shop, with its consumer key and secret.
        currency: of its prices; the shop's own when none.
    """

    name = "woocommerce"
    path = REST

    def __init__(self, client: ShopClient, currency: str | None = None) -> None:
        self._client = client
        self.url = client.base
        told = currency or within(client.get("/wp-json/wc/v3/data/currencies/current").data, "code")
        self._shop = Shop(client.base, line(told, 3) or None)
        self.as_of = client.as_of or datetime.now(UTC)

    def currency(self) -> str | None:
        """Currency of the shop."""
        return self._shop.currency

    def count(self) -> int | None:
        """Published products."""
        return _total(self._client.get(self.path, per_page=1, **self._shown()))

    def pages(self) -> Iterator[list[Entry]]:
        """Pages of 100, in the order of ids."""
        for answer in _pages(self._client, self.path, **self._shown(), orderby="id", order="asc"):
            yield [self._listed(body) for body in entries(answer.data)]

    def changes(self, listed: Sequence[Listed]) -> Iterator[tuple[Listed, Change]]:
        """What the list says, and the variations that it names."""
        for one in listed:
            yield one, self._change(one)

    def _change(self, listed: Listed) -> Change:
        try:
            found = product_of(listed.body, self._shop)
            if isinstance(found, Write) and found.keeps_variants:
                return product_of(listed.body, self._shop, self._variations(listed))
        except NotReadable as error:
            return error
        return found

    def still_sold(self, ids: Sequence[str]) -> set[str]:
        """Those that the shop lists when it is asked for them alone."""
        found: set[str] = set()
        known = [one for one in ids if one.isdecimal()]
        for place in range(0, len(known), PAGE):
            some = ",".join(known[place : place + PAGE])
            answer = self._client.get(self.path, include=some, per_page=PAGE, **self._shown())
            page = [self._listed(body) for body in entries(answer.data)]
            found |= {one.id for one in page if isinstance(one, Listed) and self._is_sold(one)}
        return found

    def _is_sold(self, listed: Listed) -> bool:
        try:
            return not isinstance(product_of(listed.body, self._shop), Delete)
        except NotReadable:
            return True

    def _shown(self) -> dict[str, str]:
        return {"status": "publish"}

    def _listed(self, body: Any) -> Entry:
        found = listed_of(body, "date_modified_gmt")
        if isinstance(found, Listed) and isinstance(named := found.body.get("variations"), list):
            return replace(found, variants=len(named))  # one that goes does not touch its product
        return found

    def _variations(self, listed: Listed) -> list[dict[str, Any]]:
        answers = _pages(self._client, f"{self.path}/{listed.id}/variations", orderby="menu_order", order="asc")
        return [one for answer in answers for one in objects(entries(answer.data))]


class WooCommerceStore(WooCommerceRest):
    """A WooCommerce shop through the Store API, which its own pages use: no key, no times, no SKUs of variations."""

    name = "woo-store"
    path = STORE

    def __init__(self, client: ShopClient, currency: str | None = None) -> None:
        super().__init__(client, currency or _currency(client))

    def _shown(self) -> dict[str, str]:
        return {}

    def _listed(self, body: Any) -> Entry:
        return listed_of(_as_rest(body) if isinstance(body, dict) else body, "date_modified_gmt")

    def _variations(self, listed: Listed) -> list[dict[str, Any]]:
        """A variation says in prose alone what it is; its product says it of each."""
        answers = _pages(self._client, self.path, parent=listed.id, type="variation", orderby="id", order="asc")
        chosen = {one.get("id"): objects(one.get("attributes")) for one in listed.body["choices"]}
        return [
            _as_rest(one)
            | {"attributes": [{"name": a.get("name"), "option": a.get("value")} for a in chosen.get(one.get("id"), [])]}
            for answer in answers
            for one in objects(entries(answer.data))
        ]


def _currency(client: ShopClient) -> str:
    """Currency of the first product; every product of a shop has the same."""
    bodies = objects(client.get(STORE, per_page=1).data)
    prices = bodies[0].get("prices") if bodies else None
    return line(prices.get("currency_code"), 3) if isinstance(prices, dict) else ""


def _pages(client: ShopClient, path: str, **query: Any) -> Iterator[Answer]:
    number = 1
    while True:
        answer = client.get(path, per_page=PAGE, page=number, **query)
        yield answer
        said = answer.headers.get("x-wp-totalpages", "")
        found = len(entries(answer.data))
        last = int(said) if re.fullmatch(r"\d{1,9}", said) else number + (found == PAGE)
        if number >= last:
            return
        if not found:
            raise ShopRefused("The shop's list breaks off.", found=f"page {number} is empty", expected=f"{last} pages")
        number += 1


def _total(answer: Answer) -> int | None:
    said = answer.headers.get("x-wp-total", "")
    return int(said) if re.fullmatch(r"\d{1,9}", said) else None


def _as_rest(body: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the Store API as the REST interface says it, so that both make the same product."""
    prices = body.get("prices")
    out = body.get("is_in_stock") is False
    attributes = [
        {"name": one.get("name"), "options": [term.get("name") for term in objects(one.get("terms"))]}
        for one in objects(body.get("attributes"))
    ]
    return {name: body.get(name) for name in ("id", "name", "permalink", "sku", "description", "short_description")} | {
        "price": _amount(prices) if isinstance(prices, dict) else None,
        "stock_status": "outofstock" if out else "onbackorder" if body.get("is_on_backorder") is True else "instock",
        "categories": body.get("categories"),
        "brands": body.get("brands"),
        "tags": body.get("tags"),
        "images": body.get("images"),
        "attributes": attributes,
        "variations": [one.get("id") for one in objects(body.get("variations"))],
        "choices": objects(body.get("variations")),
    }


def _amount(prices: Mapping[str, Any]) -> str | None:
    """``1105`` of a currency with two decimals is 11.05."""
    unit = prices.get("currency_minor_unit", 2)
    try:
        return str(Decimal(str(prices.get("price"))).scaleb(-int(unit)))
    except (InvalidOperation, ValueError, TypeError):
        return None
