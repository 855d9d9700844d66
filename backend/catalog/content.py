"""What is kept of a product that was sent: its columns, the words searched, its captions and its image sources."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backend.blobs import BlobStore, content_hash
from backend.catalog.schemas import ImageIn, ProductIn
from backend.catalog.tags import MAX_TAGS, product_tags

WORDS_MAX = 100_000
"""Characters searched by words. PostgreSQL refuses a search vector above 1 MB."""

DESCRIPTION_CAPTION = 300
"""Characters of the description that become a caption: about the 77 tokens that CLIP reads."""

MERCHANT_CAPTIONS = ("title", "description", "given")
"""Sources of captions that a write replaces; captions from elsewhere outlive it."""

CONTENT_COLUMNS = (
    "title",
    "description",
    "brand",
    "category",
    "price",
    "currency",
    "availability",
    "url",
    "attributes",
    "tags",
    "words",
)


@dataclass(frozen=True)
class Content:
    """One product as the tables hold it."""

    id: str
    updated_at: datetime
    columns: dict[str, Any]  # CONTENT_COLUMNS
    variants: list[dict[str, Any]]
    captions: dict[tuple[str, str], str]  # (source, text hash) -> text
    images: list[str]  # sources in order, each once


def content_of(product: ProductIn, *, now: datetime, blobs: BlobStore) -> Content:
    """``product`` as the tables hold it; bytes of images given inline are put into ``blobs``."""
    tags = product_tags(product, [variant.attributes for variant in product.variants])
    columns = product.model_dump(include=set(CONTENT_COLUMNS)) | {"tags": list(tags), "words": words_of(product)}
    variants = [v.model_dump() | {"position": position} for position, v in enumerate(product.variants)]
    return Content(
        id=product.id,
        updated_at=product.updated_at or now,
        columns=columns,
        variants=variants,
        captions={(source, content_hash(text.encode())): text for source, text in captions_of(product)},
        images=list(dict.fromkeys(_source(image, blobs) for image in product.images)),
    )


def refusal(content: Content) -> str | None:
    """Why ``content`` cannot be kept although each of its fields is in order, or ``None``."""
    count = len(content.columns["tags"])
    if count > MAX_TAGS:
        return f"{count} different categories and attribute values found; expected at most {MAX_TAGS}"
    return None


def captions_of(product: ProductIn) -> Iterator[tuple[str, str]]:
    """(source, text) of the captions that the merchant's own words give."""
    title = one_line(product.title)
    yield "title", title
    description = cut(one_line(product.description), DESCRIPTION_CAPTION)
    if description and description != title:
        yield "description", description
    for caption in product.captions:
        if text := one_line(caption):
            yield "given", text


def words_of(product: ProductIn) -> str:
    """What the lexical term searches: the merchant's own words, and none of the captions."""
    parts = [product.title, product.brand or "", *product.category, product.id]
    parts += _attribute_words(product.attributes)
    for variant in product.variants:
        parts += [variant.sku, variant.title or "", *_attribute_words(variant.attributes)]
    parts.append(product.description)
    return " ".join(dict.fromkeys(part for part in parts if part))[:WORDS_MAX]


def one_line(text: str) -> str:
    """``text`` with every run of white space as one space."""
    return " ".join(text.split())


def cut(text: str, limit: int) -> str:
    """``text`` up to ``limit`` characters, ended at a sentence where one ends in its second half, else at a word."""
    if len(text) <= limit:
        return text
    head = text[: limit + 1]
    sentence = max(head.rfind(mark) for mark in (". ", "! ", "? "))
    if sentence >= limit // 2:
        return head[: sentence + 1]
    return (head[: head.rfind(" ")] if " " in head else head[:limit]).rstrip(" ,;:-")


def _attribute_words(attributes: Mapping[str, Any]) -> list[str]:
    values = [one for value in attributes.values() for one in (value if isinstance(value, list) else [value])]
    return [str(value) for value in values if not isinstance(value, bool)]


def _source(image: ImageIn, blobs: BlobStore) -> str:
    if image.data is not None:
        return f"blob:{blobs.put(image.data)}"
    return str(image.url)
