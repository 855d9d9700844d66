"""A Shopify shop through its Admin API.

The list is read as ids and times, 250 at a time; products that differ from what is kept are then fetched whole, as many
at once as one query may cost.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from backend.catalog.shops.client import ShopRefused
from backend.catalog.shops.listing import Change, Entry, Listed, entries, within
from backend.catalog.shops.platform import NotReadable, Shop
from backend.catalog.shops.reading import instant_of, line, number_of, objects
from backend.catalog.shops.shopify import product_of
from backend.catalog.shops.shopify_api import AdminApi, TooCostly

PAGE, AT_ONCE, IDS_MAX = 250, 25, 250
VARIANTS_FIRST, MEDIA_FIRST = 20, 10
"""Read with the product; the few products that have more are asked for the rest."""

LIST = """
query List($first: Int!, $after: String) {
  products(first: $first, after: $after, sortKey: ID, query: "status:active") {
    pageInfo { hasNextPage endCursor }
    nodes { legacyResourceId updatedAt publishedAt }
  }
}
"""
VARIANT = (
    "sku price position inventoryQuantity inventoryPolicy inventoryItem { tracked } selectedOptions { name value }"
)
WHOLE = f"""
query Whole($ids: [ID!]!) {{
  nodes(ids: $ids) {{
    ... on Product {{
      legacyResourceId title handle descriptionHtml vendor productType status tags updatedAt publishedAt
      category {{ fullName }}
      options {{ name position }}
      media(first: {MEDIA_FIRST}) {{
        nodes {{ alt ... on MediaImage {{ image {{ url }} }} }}
        pageInfo {{ hasNextPage endCursor }}
      }}
      variants(first: {VARIANTS_FIRST}) {{ nodes {{ {VARIANT} }} pageInfo {{ hasNextPage endCursor }} }}
    }}
  }}
}}
"""
MORE_VARIANTS = f"""
query Variants($id: ID!, $after: String) {{
  product(id: $id) {{
    more: variants(first: 100, after: $after) {{ nodes {{ {VARIANT} }} pageInfo {{ hasNextPage endCursor }} }}
  }}
}}
"""
MORE_MEDIA = """
query Media($id: ID!, $after: String) {
  product(id: $id) {
    more: media(first: 50, after: $after) {
      nodes { alt ... on MediaImage { image { url } } }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""
STATE = "query State($ids: [ID!]!) { nodes(ids: $ids) { ... on Product { legacyResourceId status publishedAt } } }"


class ShopifyAdmin:
    """A Shopify shop's products through its Admin API.

    Args:
        api: the shop's.
        url: of the shop's pages.
        as_of: the shop's clock.
        currency: of its prices; the shop's own when none.
    """

    name = "shopify-admin"

    def __init__(self, api: AdminApi, url: str, as_of: datetime | None, currency: str | None = None) -> None:
        self._api = api
        self.url = url
        self.as_of = as_of or datetime.now(UTC)
        told = within(api.ask("query Shop { shop { currencyCode } }"), "shop", "currencyCode")
        self._shop = Shop(url, currency or line(told, 3) or None)
        self._at_once = AT_ONCE

    def currency(self) -> str | None:
        """Currency of the shop."""
        return self._shop.currency

    def count(self) -> int | None:
        """Active products; those that no sales channel shows count too."""
        told = self._api.ask('query Count { productsCount(query: "status:active", limit: null) { count } }')
        found = within(told, "productsCount", "count")
        return found if isinstance(found, int) else None

    def pages(self) -> Iterator[list[Entry]]:
        """Ids and times, 250 at a time, by a cursor that no change of the shop can shift."""
        after: str | None = None
        while True:
            page = within(self._api.ask(LIST, first=PAGE, after=after), "products")
            nodes = [one for one in objects(entries(within(page, "nodes"))) if one.get("publishedAt")]
            yield [_listed(node) for node in nodes]
            if not within(page, "pageInfo", "hasNextPage"):
                return
            former, after = after, within(page, "pageInfo", "endCursor")
            if after == former:
                raise ShopRefused("The shop's list repeats itself.", found=str(after)[:100], expected="another cursor")

    def changes(self, listed: Sequence[Listed]) -> Iterator[tuple[Listed, Change]]:
        """The products whole, as many in one query as it may cost."""
        left = list(listed)
        while left:
            some = left[: self._at_once]
            try:
                found = entries(within(self._api.ask(WHOLE, ids=[_gid(one.id) for one in some]), "nodes"))
            except TooCostly:
                if self._at_once == 1:
                    raise
                self._at_once = max(1, self._at_once // 2)
                continue
            left = left[len(some) :]
            for one, node in zip(some, found, strict=False):
                if isinstance(node, dict) and node:  # gone since the list was read: the next reading tells
                    yield one, self._change(one, node)

    def still_sold(self, ids: Sequence[str]) -> set[str]:
        """Those that are active and published."""
        found: set[str] = set()
        known = [one for one in ids if one.isdecimal()]
        for place in range(0, len(known), IDS_MAX):
            some = [_gid(one) for one in known[place : place + IDS_MAX]]
            nodes = objects(within(self._api.ask(STATE, ids=some), "nodes"))
            found |= {
                str(node.get("legacyResourceId"))
                for node in nodes
                if node.get("status") == "ACTIVE" and node.get("publishedAt")
            }
        return found

    def _change(self, listed: Listed, node: dict[str, Any]) -> Change:
        for name, query in (("variants", MORE_VARIANTS), ("media", MORE_MEDIA)):
            node[name] = self._all(listed.id, within(node, name), query)
        try:
            return product_of(_as_webhook(node), self._shop)
        except NotReadable as error:
            return error

    def _all(self, number: str, page: Any, query: str) -> list[dict[str, Any]]:
        found = objects(within(page, "nodes"))
        while within(page, "pageInfo", "hasNextPage"):
            answer = self._api.ask(query, id=_gid(number), after=within(page, "pageInfo", "endCursor"))
            if (product := within(answer, "product")) is None:
                break
            page = within(product, "more")
            found += objects(within(page, "nodes"))
        return found


def _listed(node: Mapping[str, Any]) -> Entry:
    try:
        number = number_of(node.get("legacyResourceId"), "legacyResourceId")
        return Listed(number, instant_of(node.get("updatedAt"), "updatedAt"))
    except NotReadable as error:
        return error


def _gid(number: str) -> str:
    return f"gid://shopify/Product/{number}"


def _as_webhook(node: Mapping[str, Any]) -> dict[str, Any]:
    """``node`` as a webhook says it, so that both make the same product."""
    options = objects(node.get("options"))
    placed = sorted(options, key=lambda one: one["position"] if isinstance(one.get("position"), int) else 10**6)
    names = [line(one.get("name"), 255) for one in placed]
    pictures = [one for one in node["media"] if isinstance(one.get("image"), dict)]
    category = node.get("category")
    return {
        "id": node.get("legacyResourceId"),
        "title": node.get("title"),
        "handle": node.get("handle"),
        "body_html": node.get("descriptionHtml"),
        "vendor": node.get("vendor"),
        "product_type": node.get("productType"),
        "status": node.get("status"),
        "tags": node.get("tags"),
        "updated_at": node.get("updatedAt"),
        "published_at": node.get("publishedAt"),
        "category": {"full_name": category.get("fullName")} if isinstance(category, dict) else None,
        "options": [{"name": name} for name in names],
        "images": [{"src": one["image"].get("url"), "alt": one.get("alt")} for one in pictures],
        "variants": [_variant(one, names) for one in node["variants"]],
    }


def _variant(node: Mapping[str, Any], names: Sequence[Any]) -> dict[str, Any]:
    chosen = {line(one.get("name"), 255): one.get("value") for one in objects(node.get("selectedOptions"))}
    item = node.get("inventoryItem")
    tracked = not isinstance(item, dict) or item.get("tracked") is not False
    return {
        "sku": node.get("sku"),
        "price": node.get("price"),
        "inventory_quantity": node.get("inventoryQuantity"),
        "inventory_policy": line(node.get("inventoryPolicy"), 20).lower(),
        "inventory_management": "shopify" if tracked else None,
    } | {f"option{place}": chosen.get(name) for place, name in enumerate(names, 1)}
