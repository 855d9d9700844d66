"""Columns by the names that shops and Google's merchant feed give them, as one product's fields."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from backend.catalog.feeds.drafts import Draft, Row
from backend.catalog.feeds.values import availability_of, images_of, parts_of, plain_text, price_of, time_of
from backend.catalog.schemas import Problem, short

ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("id", "product_id", "item_id", "offer_id", "handle", "uid"),
    "sku": ("sku", "variant_sku", "article_number"),
    "title": ("title", "name", "product_name", "product_title", "product_display_name"),
    "description": ("description", "body_html", "body", "long_description", "short_description", "product_description"),
    "brand": ("brand", "vendor", "manufacturer", "brand_name"),
    "category": ("category", "categories", "category_path", "product_type", "google_product_category", "type"),
    "price": ("price", "regular_price", "amount", "unit_price"),
    "sale_price": ("sale_price", "special_price", "discounted_price"),
    "currency": ("currency", "currency_code", "price_currency"),
    "availability": ("availability", "stock_status", "in_stock", "stock", "quantity", "inventory", "qty"),
    "url": ("url", "link", "product_url", "permalink", "canonical_link"),
    "updated_at": ("updated_at", "updated", "modified", "modified_at", "last_modified", "date_modified"),
    "group": ("item_group_id", "group_id", "parent_id", "parent_sku"),
    "variants": ("variants",),
    "attributes": ("attributes",),
    "deleted": ("deleted", "is_deleted"),
}
"""Field -> names of columns, the most telling first. Letter case, spaces and ``g:`` do not matter."""

_LISTS: dict[str, tuple[str, ...]] = {
    "images": (
        *("images", "image", "image_url", "image_urls", "image_link", "image_src", "picture", "photo", "main_image"),
        *("pictures", "photos", "media", "additional_image_link", "additional_image_links", "additional_images"),
    ),
    "captions": ("captions", "caption", "alt_text", "image_alt_text"),
}
_NUMBERED_IMAGE = re.compile(r"(additional_)?(image|picture|photo)(_(url|link|src))?_\d+")
_FIELD_OF = {name: field for field, names in (ALIASES | _LISTS).items() for name in names}
_NO_ATTRIBUTE = frozenset({"shipping", "tax", "google_product_category_id", "identifier_exists", "adult"})

ATTRIBUTE_TEXT_MAX = 1000
"""Characters of a value that was found in a column of its own; a longer one is cut, being prose and no attribute."""


def plain_name(column: str) -> str:
    """``g:Image Link`` -> ``image_link``."""
    name = column.strip().lower().removeprefix("g:")
    return re.sub(r"[^a-z0-9.]+", "_", name).strip("_") if name.isascii() else re.sub(r"\s+", "_", name)


def draft_of(row: Row) -> Draft:
    """The product of ``row``: known columns by their aliases, any other one as an attribute."""
    known: dict[str, list[tuple[str, Any]]] = {}
    rest: dict[str, tuple[str, Any]] = {}
    for column, value in row.fields.items():
        name = plain_name(column)
        if value is None or value in ("", [], {}):
            continue
        field = "images" if _NUMBERED_IMAGE.fullmatch(name) else _FIELD_OF.get(name)
        if field is None:
            rest[name] = (column, value)
        else:
            known.setdefault(field, []).append((name, value))
    draft = Draft(row.line, {})
    chosen = {field: _preferred(field, found) for field, found in known.items() if field in ALIASES}
    for field, found in known.items():
        for name, value in found if field in ALIASES else ():
            if name != chosen[field][0]:
                rest.setdefault(name, (name, value))
    _fill(draft, chosen)
    draft.values["images"] = [image for _, value in _ordered("images", known) for image in images_of(value)]
    draft.values["captions"] = [str(one) for _, value in _ordered("captions", known) for one in parts_of(value)]
    _add_attributes(draft, rest)
    return draft


def _preferred(field: str, found: list[tuple[str, Any]]) -> tuple[str, Any]:
    return min(found, key=lambda one: ALIASES[field].index(one[0]))


def _ordered(field: str, known: dict[str, list[tuple[str, Any]]]) -> list[tuple[str, Any]]:
    """The main picture stands before the additional ones, numbered ones in their order of columns."""
    names = _LISTS[field]
    return sorted(known.get(field, ()), key=lambda one: names.index(one[0]) if one[0] in names else len(names))


def _fill(draft: Draft, chosen: dict[str, tuple[str, Any]]) -> None:
    """Put each chosen field into ``draft`` as ``ProductIn`` wants it."""
    values = draft.values
    for field, (name, value) in chosen.items():
        parse, expected = _PARSERS[field]
        try:
            values[field] = parse(value)
        except (ValueError, TypeError, RecursionError):
            draft.problems.append(Problem(name, short(value), expected))
    price, sale_price = values.pop("price", None), values.pop("sale_price", None)
    if (valid := sale_price or price) is not None:
        values["price"] = valid[0]
        values.setdefault("currency", valid[1])
    draft.group = values.pop("group", None)
    sku = values.pop("sku", None)
    if sku is not None:
        values.setdefault("id", sku)
        values.setdefault("variants", [{"sku": sku}])


def _json_or_self(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _category(value: Any) -> list[str]:
    """Google and many shops write ``A > B``; several categories are parted by ``|`` and the first one counts."""
    if isinstance(value, list | tuple):
        value = [str(one) for one in value]
        return value if not any(">" in one for one in value) else _category(value[0])
    text = plain_text(str(value)).split("|")[0]
    return [part.strip() for part in text.split(">") if part.strip()]


def _truth(value: Any) -> bool:
    return str(value).strip().lower() in ("true", "1", "yes")


_PARSERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    **dict.fromkeys(("id", "sku", "title", "brand", "url", "currency", "group"), (str, "text")),
    "description": (lambda value: plain_text(str(value)), "text"),
    "category": (_category, "a path such as Toys > Plush"),
    **dict.fromkeys(("price", "sale_price"), (price_of, "a price such as 12.50 or 12.50 EUR")),
    "availability": (availability_of, "in_stock, out_of_stock, preorder, backorder, yes, no or a quantity"),
    "updated_at": (time_of, "an ISO 8601 time"),
    "variants": (_json_or_self, "a list of variants"),
    "attributes": (_json_or_self, "a JSON object"),
    "deleted": (_truth, "true or false"),
}


def _add_attributes(draft: Draft, rest: dict[str, tuple[str, Any]]) -> None:
    attributes = draft.values.get("attributes", {})
    if not isinstance(attributes, dict):
        return  # ProductIn says what is wrong with it
    attributes = dict(attributes)
    for name, (_, value) in rest.items():
        if name in _NO_ATTRIBUTE:
            continue
        bare = re.sub(r"^(attributes?|attr)[._]", "", name)[:100]
        for key, one in _scalars(bare, value):
            attributes.setdefault(key, one)
    if attributes:
        draft.values["attributes"] = attributes


def _scalars(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """``value`` as attributes: what is nested one level becomes ``name.part``."""
    if isinstance(value, dict):
        for part, one in value.items():
            if isinstance(one, str | int | float | bool) and one != "":
                yield f"{name}.{part}"[:100], _cut(one)
    elif isinstance(value, list | tuple):
        if kept := [_cut(one) for one in value if isinstance(one, str | int | float | bool)]:
            yield name, kept[:250]
    elif isinstance(value, bytes):
        return
    else:
        yield name, _cut(value) if isinstance(value, str | int | float | bool) else str(value)


def _cut(value: Any) -> Any:
    return value[:ATTRIBUTE_TEXT_MAX] if isinstance(value, str) else value
