"""Finding out what a shop runs on, and how it may be read."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from backend.addresses import is_private
from backend.catalog.shops.client import BehindPassword, Pause, ShopClient, ShopRefused
from backend.catalog.shops.listing import Listing
from backend.catalog.shops.reading import line
from backend.catalog.shops.shopify_admin import ShopifyAdmin
from backend.catalog.shops.shopify_api import AdminApi
from backend.catalog.shops.shopify_public import ShopifyPublic, meta_of
from backend.catalog.shops.woocommerce_pull import STORE, WooCommerceRest, WooCommerceStore
from backend.settings import Settings


@dataclass(frozen=True)
class Access:
    """How a shop is asked.

    Args:
        url: address of the shop; for WooCommerce with the folder it lies in.
        client_id: client id of a Shopify app, or consumer key of WooCommerce.
        secret: secret of either; for Shopify a token (``shpat_…``) may stand here alone.
        currency: of prices that name none, where the shop's own is not meant.
        patience_s: seconds one request may wait in all for outages and rate limits to end.
        pause: how waiting is done.
    """

    url: str
    client_id: str | None = None
    secret: str | None = None
    currency: str | None = None
    patience_s: float = 300.0
    pause: Pause = time.sleep

    @classmethod
    def of(cls, settings: Settings, url: str, pause: Pause = time.sleep) -> "Access":
        """Access to ``url`` as ``settings`` say; their credentials are for the shop that they name, and no other."""
        own = settings.shop_url is None or _host(settings.shop_url) == _host(url)
        secret = settings.shop_client_secret
        return cls(
            url,
            settings.shop_client_id if own else None,
            secret.get_secret_value() if own and secret else None,
            settings.shop_currency,
            settings.shop_patience_s,
            pause,
        )

    @property
    def base(self) -> str:
        """``url``, whole and without a slash at its end."""
        return shop_base(self.url)

    def client(self, base: str, *, auth: tuple[str, str] | None = None) -> ShopClient:
        """Client of the shop at ``base``."""
        return ShopClient(base, patience_s=self.patience_s, auth=auth, pause=self.pause)


def open_shop(access: Access) -> Listing:
    """The shop at ``access.url``, by the best way that its credentials open.

    Raises:
        ShopRefused: it is neither Shopify nor WooCommerce, or does not accept the credentials.
        ShopSilent: it does not answer.
    """
    base = access.base
    if access.secret:
        _must_be_private(base)
    client = access.client(base)
    if is_shopify(client, has_credentials=bool(access.secret)):
        if not access.secret:
            return ShopifyPublic(client, access.currency)
        return ShopifyAdmin(admin_api(access), base, client.as_of, access.currency)
    if access.client_id and access.secret:
        return WooCommerceRest(woocommerce_client(access), access.currency)
    if _answers(client, STORE, None):
        return WooCommerceStore(client, access.currency)
    raise ShopRefused(
        "This is neither a Shopify shop nor a WooCommerce one that can be read. Where its lists are closed to the "
        "public, name MORELIKE_SHOP_CLIENT_ID and MORELIKE_SHOP_CLIENT_SECRET.",
        found=f"nothing at {base}/products.json and {base}{STORE}",
        expected="the address of a shop",
    )


def admin_api(access: Access) -> AdminApi:
    """The Admin API of a Shopify shop, which lives under its ``myshopify.com`` name.

    Raises:
        ShopRefused: that name is not found.
    """
    base = access.base
    _must_be_private(base)
    host = urlsplit(base).netloc
    if not host.endswith(".myshopify.com"):
        told = line(_meta(access.client(base)).get("myshopify_domain"), 200)
        if told != host and not told.endswith(".myshopify.com"):
            raise ShopRefused(
                "The shop does not tell its name at myshopify.com: give that address.",
                found=base,
                expected="https://NAME.myshopify.com",
            )
        base = f"{urlsplit(base).scheme}://{told}"
    return AdminApi(access.client(base), access.client_id, access.secret or "", access.patience_s)


def woocommerce_client(access: Access) -> ShopClient:
    """Client of a WooCommerce shop that sends its consumer key."""
    base = access.base
    _must_be_private(base)
    return access.client(base, auth=(access.client_id or "", access.secret or ""))


def is_shopify(client: ShopClient, *, has_credentials: bool) -> bool:
    """Whether the shop runs on Shopify.

    Raises:
        BehindPassword: it does, and shows nothing without credentials.
    """
    if (urlsplit(client.base).hostname or "").lower().endswith(".myshopify.com"):
        return True
    try:
        return "myshopify_domain" in _meta(client) or _answers(client, "/products.json", "products")
    except BehindPassword:
        if has_credentials:
            return True
        raise


def _host(url: str) -> str:
    return (urlsplit(url if "://" in url else f"https://{url}").hostname or "").removeprefix("www.")


def shop_base(url: str) -> str:
    """``shop.example/`` -> ``https://shop.example``.

    Raises:
        ShopRefused: it is no address.
    """
    parts = urlsplit(url if "://" in url else f"https://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ShopRefused("This is no address of a shop.", found=url[:200], expected="https://shop.example")
    folder = parts.path.rstrip("/").removesuffix("/wp-json").removesuffix("/products.json")
    return f"{parts.scheme}://{parts.netloc}{folder}"


def _must_be_private(base: str) -> None:
    """Credentials go through TLS only; one's own network may do without."""
    parts = urlsplit(base)
    host = parts.hostname or ""
    numeric = host.replace(".", "").isdecimal() or ":" in host
    if parts.scheme != "https" and host != "localhost" and not (numeric and is_private(host)):
        raise ShopRefused("Credentials are not sent without TLS.", found=base, expected="https://…")


def _meta(client: ShopClient) -> Mapping[str, Any]:
    """``/meta.json``; empty where it is not Shopify's."""
    try:
        return meta_of(client)
    except BehindPassword:
        raise
    except ShopRefused:
        return {}


def _answers(client: ShopClient, path: str, name: str | None) -> bool:
    """Whether there is a list at ``path``, under ``name`` where it has one."""
    try:
        found = client.get(path, **({"limit": 1} if name else {"per_page": 1})).data
    except BehindPassword:
        raise
    except ShopRefused:
        return False
    return isinstance(found.get(name) if name and isinstance(found, dict) else found, list)
