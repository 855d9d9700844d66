"""The platforms there are. One more is a file beside this one and a name in this list."""

from backend.catalog.shops.generic import Generic
from backend.catalog.shops.platform import Platform
from backend.catalog.shops.shopify import Shopify
from backend.catalog.shops.woocommerce import WooCommerce

PLATFORMS: tuple[Platform, ...] = (Shopify(), WooCommerce(), Generic())
