"""Products as sold, their images and captions, and what a frozen encoder made of them."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Computed,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from backend.db import Base


class Product(Base):
    """A product. ``number`` is its name inside the index, ``id`` its name in the shop.

    ``revision`` grows with every write that a search could see; an index row that carries a smaller one is due.
    A deleted product stays as a tombstone, so that a late update cannot bring it back.
    """

    __tablename__ = "products"

    number: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    id: Mapped[str] = mapped_column(String(256), unique=True)
    title: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text, server_default="")
    brand: Mapped[str | None] = mapped_column(String(256))
    category: Mapped[list[str]] = mapped_column(ARRAY(String), server_default="{}")
    price: Mapped[Decimal | None] = mapped_column(Numeric(14, 4))
    currency: Mapped[str | None] = mapped_column(String(3))
    availability: Mapped[str] = mapped_column(String(16), server_default="in_stock")
    url: Mapped[str | None] = mapped_column(Text)
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    revision: Mapped[int] = mapped_column(BigInteger, server_default="1")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))  # the shop's clock: orders late writes
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    tags: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default="{}")  # catalog/tags.py, built on write
    words: Mapped[str] = mapped_column(Text, server_default="")  # what the lexical term searches, built on write
    lexemes: Mapped[Any] = mapped_column(TSVECTOR, Computed("to_tsvector('english', words)", persisted=True))

    __table_args__ = (
        Index("ix_products_lexemes", "lexemes", postgresql_using="gin"),
        Index("ix_products_category", "category", postgresql_using="gin"),
        Index("ix_products_attributes", "attributes", postgresql_using="gin"),
        Index("ix_products_tags", "tags", postgresql_using="gin"),
        Index("ix_products_price", "price"),
        Index("ix_products_brand", "brand"),
        Index("ix_products_newest", "created_at", "number"),
    )


class Variant(Base):
    """One SKU of a product: a size, a colour."""

    __tablename__ = "variants"

    product: Mapped[int] = mapped_column(ForeignKey("products.number", ondelete="CASCADE"), primary_key=True)
    sku: Mapped[str] = mapped_column(String(256), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, server_default="0")
    title: Mapped[str | None] = mapped_column(Text)
    price: Mapped[Decimal | None] = mapped_column(Numeric(14, 4))
    availability: Mapped[str] = mapped_column(String(16), server_default="in_stock")
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default="{}")

    __table_args__ = (Index("ix_variants_sku_lower", text("lower(sku)")),)


class ProductImage(Base):
    """A picture a product names. ``id`` is its row in the index's image collection.

    States: ``pending`` (to be fetched when ``due_at`` has come), ``ready`` (its bytes are kept under
    ``content_hash``), ``parked`` (given up on; ``error`` says why; an administrator may retry it).
    """

    __tablename__ = "product_images"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    product: Mapped[int] = mapped_column(ForeignKey("products.number", ondelete="CASCADE"), index=True)
    position: Mapped[int] = mapped_column(Integer)
    source: Mapped[str] = mapped_column(Text)  # http(s)://… or blob:<content hash>
    state: Mapped[str] = mapped_column(String(8), server_default="pending")
    content_hash: Mapped[str | None] = mapped_column(String(64), index=True)
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    error: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        UniqueConstraint("product", "source"),
        Index("ix_product_images_due", "due_at", postgresql_where=text("state = 'pending'")),
        Index("ix_product_images_parked", "id", postgresql_where=text("state = 'parked'")),
    )


class ImageFile(Base):
    """Bytes that were fetched and could be decoded, by content hash."""

    __tablename__ = "image_files"

    content_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    format: Mapped[str] = mapped_column(String(8))  # JPEG, PNG, WEBP, GIF
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Caption(Base):
    """A sentence about a product. ``id`` is its row in the index's caption collection."""

    __tablename__ = "captions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    product: Mapped[int] = mapped_column(ForeignKey("products.number", ondelete="CASCADE"), index=True)
    source: Mapped[str] = mapped_column(String(32))  # title, description, given, or the captioner's name
    text: Mapped[str] = mapped_column(Text)
    text_hash: Mapped[str] = mapped_column(String(64), index=True)
    error: Mapped[str | None] = mapped_column(Text)  # why the encoder could not read it: parked, not in the index

    __table_args__ = (UniqueConstraint("product", "source", "text_hash"),)


class Feature(Base):
    """The raw unit vector a frozen encoder gave an image or a caption; never computed twice.

    ``vector`` is little-endian float32 of the encoder's dimension.
    """

    __tablename__ = "features"

    encoder_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)  # image, text, or query: a picture searched by
    subject: Mapped[str] = mapped_column(String(64), primary_key=True)  # content hash or text hash
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class FeatureTokens(Base):
    """Patch or word tokens of an image or a caption, in a table of their own because they are large.

    ``data`` holds ``count`` rows of ``width`` numbers in ``form``; int8 rows are multiplied by ``scales``
    (float16, one a row).
    """

    __tablename__ = "feature_tokens"

    encoder_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    subject: Mapped[str] = mapped_column(String(64), primary_key=True)
    form: Mapped[str] = mapped_column(String(8))  # pooled, int8, fp16
    count: Mapped[int] = mapped_column(Integer)
    width: Mapped[int] = mapped_column(Integer)
    scales: Mapped[bytes | None] = mapped_column(LargeBinary)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class ImportRun(Base):
    """One run of an import, with the rows it rejected and why."""

    __tablename__ = "import_runs"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    source: Mapped[str] = mapped_column(Text)
    format: Mapped[str] = mapped_column(String(16))
    mode: Mapped[str] = mapped_column(String(16))
    counts: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    rejected: Mapped[list[Any]] = mapped_column(server_default="[]")  # the first thousand; the report has all
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
