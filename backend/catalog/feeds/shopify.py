"""Shopify's product export as it is: one product over several rows, one for each variant and each picture."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from backend.catalog.feeds.drafts import Draft, Read, Row
from backend.catalog.feeds.values import parts_of, plain_text, price_of
from backend.catalog.schemas import Problem, Rejected, short

_METAFIELD = re.compile(r"(.+?) \((product\.metafields\..+)\)")
_GOOGLE = {"Gender": "gender", "Age Group": "age_group", "Condition": "condition"}


def is_shopify(columns: Sequence[str]) -> bool:
    """Whether ``columns`` are those of Shopify's export."""
    return "Handle" in columns and bool({"Variant Price", "Variant SKU", "Image Src"} & set(columns))


def shopify_drafts(rows: Iterable[Row | Rejected]) -> Iterator[Read]:
    """A draft for each handle; Shopify writes the rows of one product one after another."""
    together: list[Row] = []
    for row in rows:
        if isinstance(row, Rejected):
            yield row
            continue
        if together and row.fields.get("Handle", "") not in ("", together[0].fields["Handle"]):
            yield _draft(together)
            together = []
        if not together and not row.fields.get("Handle", ""):
            yield Rejected(row.line, None, [Problem("Handle", "", "the handle of the product")])
            continue
        together.append(row)
    if together:
        yield _draft(together)


def _draft(rows: list[Row]) -> Draft:
    first = rows[0].fields
    draft = Draft(rows[0].line, {"id": first["Handle"], "title": first.get("Title", "")})
    status = first.get("Status", "").strip().lower()
    if status in ("draft", "archived", "unlisted") or first.get("Published", "").strip().lower() == "false":
        draft.values |= {"deleted": True, "images": [], "captions": []}
        return draft
    kind, path = first.get("Type", "").strip(), first.get("Product Category", "")
    attributes = _attributes(first)
    if path and kind:
        attributes["type"] = kind
    draft.values |= {
        "description": plain_text(first.get("Body (HTML)", "") or first.get("Body HTML", "")),
        "brand": first.get("Vendor") or None,
        "category": [part.strip() for part in path.split(">")] if path else [kind],
        "attributes": attributes,
        "images": _images(rows),
        "captions": list(dict.fromkeys(alt for row in rows if (alt := row.fields.get("Image Alt Text", "").strip()))),
        "variants": _variants(draft, rows),
    }
    return draft


def _attributes(first: dict[str, Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if tags := parts_of(first.get("Tags", ""), ","):
        attributes["tags"] = tags[:250]
    for column, value in first.items():
        metafield = _METAFIELD.fullmatch(column)
        if not value or not str(value).strip():
            continue
        if metafield:
            found = parts_of(value, ";\n")
            attributes[metafield[1].strip().lower()[:100]] = found[0][:1000] if len(found) == 1 else found[:250]
        elif column.startswith("Google Shopping / ") and column[18:] in _GOOGLE:
            attributes[_GOOGLE[column[18:]]] = str(value).strip()
    return attributes


def _images(rows: list[Row]) -> list[str]:
    """Pictures by their position, then those of variants; each once."""
    placed = []
    for order, row in enumerate(rows):
        source = row.fields.get("Image Src", "").strip()
        position = row.fields.get("Image Position", "").strip()
        if source:
            placed.append((int(position) if position.isdecimal() else 10**6, order, source))
    variants = [row.fields.get("Variant Image", "").strip() for row in rows]
    return list(dict.fromkeys([source for *_, source in sorted(placed)] + [source for source in variants if source]))


def _variants(draft: Draft, rows: list[Row]) -> list[dict[str, Any]]:
    names = {number: rows[0].fields.get(f"Option{number} Name", "").strip() for number in (1, 2, 3)}
    variants: list[dict[str, Any]] = []
    taken: set[str] = set()
    for row in rows:
        fields = row.fields
        if not any(fields.get(column, "").strip() for column in ("Variant Price", "Variant SKU", "Option1 Value")):
            continue  # a row for one more picture
        options = {
            names[number].lower(): value
            for number in (1, 2, 3)
            if names[number] and (value := fields.get(f"Option{number} Value", "").strip()) and value != "Default Title"
        }
        # Excel's apostrophe keeps a SKU of digits from becoming a number
        sku = fields.get("Variant SKU", "").strip().removeprefix("'") or "-".join(
            [draft.values["id"], *options.values()]
        )
        while sku in taken:  # Shopify lets variants share a SKU
            sku += "+"
        taken.add(sku)
        variant = {"sku": sku[:256], "attributes": options, "availability": _availability(fields)}
        if options:
            variant["title"] = " / ".join(options.values())
        _add_price(draft, variant, fields.get("Variant Price", ""))
        variants.append(variant)
    return variants


def _add_price(draft: Draft, variant: dict[str, Any], price: str) -> None:
    if not price.strip():
        return
    try:
        variant["price"] = price_of(price)[0]
    except ValueError:
        draft.problems.append(Problem("Variant Price", short(price), "a price such as 12.50"))


def _availability(fields: dict[str, Any]) -> str:
    """Stock that nobody tracks, or that the export leaves out, is there."""
    quantity = fields.get("Variant Inventory Qty", "").strip()
    tracked = bool(fields.get("Variant Inventory Tracker", "shopify").strip())
    if not tracked or not re.fullmatch(r"-?\d+", quantity) or int(quantity) > 0:
        return "in_stock"
    return "backorder" if fields.get("Variant Inventory Policy", "").strip().lower() == "continue" else "out_of_stock"
