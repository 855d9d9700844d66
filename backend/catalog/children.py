"""Variants, captions and images of products: what is kept, and writing how it differs from what was sent."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, insert, select, text
from sqlalchemy.orm import Session

from backend.catalog.content import MERCHANT_CAPTIONS, Content
from backend.catalog.models import Caption, ProductImage, Variant

VARIANT_COLUMNS = ("sku", "position", "title", "price", "availability", "attributes")


@dataclass
class Children:
    """What is kept beside one product's row."""

    variants: list[dict[str, Any]] = field(default_factory=list)
    captions: dict[tuple[str, str], int] = field(default_factory=dict)  # (source, text hash) -> id
    images: dict[str, tuple[int, int]] = field(default_factory=dict)  # source -> (id, position)

    def hold(self, content: Content) -> bool:
        """Whether they are what ``content`` says."""
        return (
            self.holds_variants(content)
            and self.captions.keys() == content.captions.keys()
            and sorted(self.images, key=lambda source: self.images[source][1]) == content.images
        )

    def holds_variants(self, content: Content) -> bool:
        """Whether the variants are what ``content`` says."""
        # attributes compare by their text, because True equals 1 in Python
        return [_comparable(v) for v in self.variants] == [_comparable(v) for v in content.variants]


def children_of(session: Session, numbers: Sequence[int]) -> dict[int, Children]:
    """What is kept beside each of the products ``numbers``."""
    found: dict[int, Children] = {number: Children() for number in numbers}
    if not numbers:
        return found
    columns = [getattr(Variant, name) for name in VARIANT_COLUMNS]
    variants = select(Variant.product, *columns).where(Variant.product.in_(numbers)).order_by(Variant.position)
    for variant in session.execute(variants).mappings():
        found[variant["product"]].variants.append({name: variant[name] for name in VARIANT_COLUMNS})
    captions = select(Caption.product, Caption.source, Caption.text_hash, Caption.id).where(
        Caption.product.in_(numbers), Caption.source.in_(MERCHANT_CAPTIONS)
    )
    for caption in session.execute(captions):
        found[caption.product].captions[caption.source, caption.text_hash] = caption.id
    images = select(ProductImage.product, ProductImage.source, ProductImage.id, ProductImage.position).where(
        ProductImage.product.in_(numbers)
    )
    for image in session.execute(images):
        found[image.product].images[image.source] = (image.id, image.position)
    return found


def write_children(session: Session, changes: Iterable[tuple[int, Content, Children]]) -> None:
    """Bring what is kept to what each content says: rows that stay are not touched."""
    changes = list(changes)
    _write_variants(session, [(n, content) for n, content, had in changes if not had.holds_variants(content)])
    _write_captions(session, changes)
    _write_images(session, changes)


def _comparable(variant: dict[str, Any]) -> tuple[Any, ...]:
    attributes = variant["attributes"]
    typed = {name: [(type(one) is bool, one) for one in _as_list(value)] for name, value in attributes.items()}
    return tuple(variant[name] for name in VARIANT_COLUMNS if name != "attributes"), typed


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _write_variants(session: Session, changes: Sequence[tuple[int, Content]]) -> None:
    if changes:
        session.execute(delete(Variant).where(Variant.product.in_([number for number, _ in changes])))
    rows = [variant | {"product": number} for number, content in changes for variant in content.variants]
    _insert(session, Variant, rows)


def _write_captions(session: Session, changes: Sequence[tuple[int, Content, Children]]) -> None:
    gone, new = [], []
    for number, content, had in changes:
        gone += [row for key, row in had.captions.items() if key not in content.captions]
        new += [
            {"product": number, "source": key[0], "text_hash": key[1], "text": caption}
            for key, caption in content.captions.items()
            if key not in had.captions
        ]
    if gone:
        session.execute(delete(Caption).where(Caption.id.in_(gone)))
    _insert(session, Caption, new)


def _write_images(session: Session, changes: Sequence[tuple[int, Content, Children]]) -> None:
    gone, new = [], []
    moved: dict[str, list[int]] = defaultdict(list)
    for number, content, had in changes:
        gone += [had.images[source][0] for source in had.images.keys() - set(content.images)]
        for position, source in enumerate(content.images):
            if source not in had.images:
                new.append({"product": number, "position": position, "source": source})
            elif had.images[source][1] != position:
                moved["ids"].append(had.images[source][0])
                moved["positions"].append(position)
    if gone:
        session.execute(delete(ProductImage).where(ProductImage.id.in_(gone)))
    if moved:
        session.execute(_MOVE, moved)
    _insert(session, ProductImage, new)


_MOVE = text(
    "UPDATE product_images SET position = moved.position "
    "FROM unnest(CAST(:ids AS bigint[]), CAST(:positions AS integer[])) AS moved(id, position) "
    "WHERE product_images.id = moved.id"
)


def _insert(session: Session, table: type[Variant | Caption | ProductImage], rows: list[dict[str, Any]]) -> None:
    if rows:
        session.connection().execute(insert(table.__table__), rows)  # type: ignore[arg-type]
