"""Reading one product with all that belongs to it."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.catalog.models import Caption, Product, ProductImage, Variant
from backend.catalog.product_out import ImageOut, ProductOut, VariantOut


def get_product(session: Session, product_id: str) -> ProductOut | None:
    """The product ``product_id``, or ``None`` where there is none or it was deleted."""
    product = session.scalar(select(Product).where(Product.id == product_id, Product.deleted_at.is_(None)))
    if product is None:
        return None
    variants = session.scalars(select(Variant).where(Variant.product == product.number).order_by(Variant.position))
    images = session.scalars(
        select(ProductImage).where(ProductImage.product == product.number).order_by(ProductImage.position)
    )
    captions = session.scalars(
        select(Caption.text)
        .where(Caption.product == product.number, Caption.source.not_in(("title", "description")))
        .order_by(Caption.id)
    )
    return ProductOut.model_validate(
        {
            **{name: getattr(product, name) for name in ProductOut.model_fields.keys() & Product.__table__.c.keys()},
            "variants": [_variant(variant) for variant in variants],
            "images": [_image(image) for image in images],
            "captions": list(captions),
        }
    )


def _variant(variant: Variant) -> VariantOut:
    return VariantOut.model_validate({name: getattr(variant, name) for name in VariantOut.model_fields})


def _image(image: ProductImage) -> ImageOut:
    shown = f"/images/{image.content_hash}" if image.state == "ready" else None
    return ImageOut.model_validate(
        {"source": image.source, "state": image.state, "content_hash": image.content_hash, "url": shown}
    )
