"""Deliveries that say a part of a product: what they leave out is taken from the catalogue."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.catalog.children import children_of
from backend.catalog.models import Caption, Product
from backend.catalog.schemas import ProductIn, VariantIn, Verdict
from backend.catalog.shops.platform import WriteVariant
from backend.errors import Conflict


class NotThereYet(Conflict):
    """A variant came before the product it is one of."""

    title = "Product not known yet"


def with_kept_variants(session: Session, product: ProductIn) -> ProductIn:
    """``product`` with the variants that are kept and that it does not name, behind its own."""
    row = _locked(session, product.id)
    if row is None:
        return product
    named = {variant.sku for variant in product.variants}
    kept = [variant for variant in _variants(session, row.number) if variant.sku not in named]
    return product.model_copy(update={"variants": [*product.variants, *kept][:2000]})


def with_kept_currency(session: Session, products: Sequence[ProductIn]) -> list[ProductIn]:
    """``products`` with the currency that is kept where they name none: no platform's webhooks name one."""
    bare = [product.id for product in products if product.currency is None]
    if not bare:
        return list(products)
    known = select(Product.id, Product.currency).where(Product.id.in_(bare), Product.currency.is_not(None))
    kept = {row.id: row.currency for row in session.execute(known)}
    return [
        product.model_copy(update={"currency": kept[product.id]})
        if product.currency is None and product.id in kept
        else product
        for product in products
    ]


def with_variant(session: Session, change: WriteVariant) -> ProductIn | Verdict:
    """The product as it is kept, with the one variant as ``change`` says; or why nothing is to be written.

    Raises:
        NotThereYet: the product is not known; it may be on its way.
    """
    row = _locked(session, change.id)
    if row is None:
        raise NotThereYet(
            "The product of this variant is not in the catalogue yet.", found=change.id, expected="a known product"
        )
    if row.deleted_at is not None:
        return Verdict(change.id, "stale", "the product is deleted")
    variants = {variant.sku: variant for variant in _variants(session, row.number)}
    if change.values is None:
        variants.pop(change.sku, None)
    else:
        variants[change.sku] = VariantIn.model_validate(change.values)
    # the product's own time stays: it orders the product's deliveries, not those of its variants
    return _product(session, row, list(variants.values()))


def _locked(session: Session, product_id: str) -> Product | None:
    return session.scalars(select(Product).where(Product.id == product_id).with_for_update()).one_or_none()


def _variants(session: Session, number: int) -> list[VariantIn]:
    kept = children_of(session, [number])[number].variants
    return [VariantIn.model_validate({k: v for k, v in one.items() if k != "position"}) for one in kept]


def _product(session: Session, row: Product, variants: list[VariantIn]) -> ProductIn:
    """The product of ``row`` as it could have been sent."""
    images = children_of(session, [row.number])[row.number].images
    given = select(Caption.text).where(Caption.product == row.number, Caption.source == "given").order_by(Caption.id)
    values: dict[str, Any] = {
        name: getattr(row, name)
        for name in ("id", "title", "description", "brand", "category", "price", "currency", "availability", "url")
    }
    values |= {
        "attributes": row.attributes,
        "variants": variants,
        "images": sorted(images, key=lambda source: images[source][1]),
        "captions": list(session.scalars(given)),
        "updated_at": row.updated_at,
    }
    return ProductIn.model_validate(values)
