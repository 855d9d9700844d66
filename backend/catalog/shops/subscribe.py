"""Subscribing to a shop's webhooks through its own interface."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from backend.catalog.shops.client import ShopRefused
from backend.catalog.shops.listing import within
from backend.catalog.shops.opening import Access, admin_api, is_shopify, woocommerce_client
from backend.catalog.shops.reading import line, objects
from backend.errors import BadRequest
from backend.settings import Settings

SHOPIFY_TOPICS = ("PRODUCTS_CREATE", "PRODUCTS_UPDATE", "PRODUCTS_DELETE")
WOO_TOPICS = ("product.created", "product.updated", "product.deleted", "product.restored")

LIST = """
query Hooks($after: String) {
  webhookSubscriptions(first: 100, after: $after) { nodes { topic uri } pageInfo { hasNextPage endCursor } }
}
"""
CREATE = """
mutation Subscribe($topic: WebhookSubscriptionTopic!, $uri: String!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: {uri: $uri, format: "JSON"}) {
    webhookSubscription { id }
    userErrors { field message }
  }
}
"""


def subscribe(access: Access, settings: Settings, to: str) -> list[tuple[str, bool]]:
    """Subscribe the API at ``to`` to each topic of products: (topic, whether that is new).

    Raises:
        BadRequest: ``to`` is no address that a shop sends to, or the secret of WooCommerce's webhooks is not set.
        ShopRefused: the shop does not let it subscribe.
        ShopSilent: the shop does not answer.
    """
    parts = urlsplit(to)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise BadRequest(
            "The shop must know where to send webhooks.",
            found=to or "MORELIKE_PUBLIC_URL is not set",
            expected="https://…",
        )
    base = to.rstrip("/")
    if is_shopify(access.client(access.base), has_credentials=True):
        return list(_shopify(access, f"{base}/v1/webhooks/shopify"))
    return list(_woocommerce(access, settings, f"{base}/v1/webhooks/woocommerce"))


def _shopify(access: Access, uri: str) -> Iterator[tuple[str, bool]]:
    api = admin_api(access)
    had, after = set[str](), None
    while True:
        page = within(api.ask(LIST, after=after), "webhookSubscriptions")
        had |= {line(one.get("topic"), 100) for one in objects(within(page, "nodes")) if one.get("uri") == uri}
        if not within(page, "pageInfo", "hasNextPage"):
            break
        after = within(page, "pageInfo", "endCursor")
    for topic in SHOPIFY_TOPICS:
        if topic not in had:
            made = within(api.ask(CREATE, topic=topic, uri=uri), "webhookSubscriptionCreate")
            if errors := objects(within(made, "userErrors")):
                said = "; ".join(line(error.get("message"), 300) for error in errors)
                raise ShopRefused("The shop does not subscribe this address.", found=said, expected=uri)
        yield topic, topic not in had


def _woocommerce(access: Access, settings: Settings, address: str) -> Iterator[tuple[str, bool]]:
    if settings.woocommerce_secret is None:
        raise BadRequest(
            "WooCommerce signs webhooks with a secret of yours: choose one.",
            found="MORELIKE_WOOCOMMERCE_SECRET is not set",
            expected="a long random text",
        )
    secret = settings.woocommerce_secret.get_secret_value().split(",")[0].strip()
    client = woocommerce_client(access)
    had, number = set[str](), 1
    while page := objects(client.get("/wp-json/wc/v3/webhooks", per_page=100, page=number).data):
        had |= {
            line(one.get("topic"), 100)
            for one in page
            if one.get("delivery_url") == address and one.get("status") == "active"
        }
        number += 1
    for topic in WOO_TOPICS:
        if topic not in had:
            hook = {"name": f"Morelike: {topic}", "topic": topic, "delivery_url": address, "secret": secret}
            client.post("/wp-json/wc/v3/webhooks", json=hook | {"status": "active"})
        yield topic, topic not in had
