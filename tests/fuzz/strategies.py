"""What strangers send: values of every kind under names that are meant, and whole files that were cut or altered."""

import json
from typing import Any

from hypothesis import strategies as st

COLUMNS = (
    *("id", "sku", "title", "description", "brand", "category", "price", "sale_price", "currency", "availability"),
    *("url", "updated_at", "item_group_id", "variants", "attributes", "deleted", "images", "image_link", "captions"),
    *("color", "g:size", "attributes.material", "Größe", "Image 2", "quantity"),
)
"""Columns that feeds are read by, and some that become attributes."""

SHOPIFY_COLUMNS = (
    *("Handle", "Title", "Body (HTML)", "Vendor", "Product Category", "Type", "Tags", "Published", "Status"),
    *("Option1 Name", "Option1 Value", "Option2 Name", "Option2 Value", "Variant SKU", "Variant Price"),
    *("Variant Inventory Qty", "Variant Inventory Tracker", "Variant Inventory Policy", "Image Src", "Image Position"),
    *("Image Alt Text", "Variant Image", "Fabric (product.metafields.shopify.fabric)"),
)

_TELLING = st.sampled_from(
    [
        *(
            "",
            " ",
            "0",
            "-1",
            "1e400",
            "NaN",
            "Infinity",
            "1,299.00",
            "12,5 €",
            "kr 5",
            "\u0663\u066b\u0665",
            "true",
            "FALSE",
            "null",
        ),
        *(
            "A > B > C",
            "a|b|c",
            "<p>x</p>",
            "<script>",
            "&#0;",
            "&#xD800;",
            "]]>",
            "\x00",
            "\ud800",
            "\ufeff",
            "\u2028",
        ),
        *("http://", "https://[::1", "https://a/b.jpg, https://a/c.jpg", "//cdn/x.png", "../../etc/passwd", "blob:0"),
        *(
            "2026-11-20T09:00:00Z",
            "9999-12-31T23:59:59-23:59",
            "0001-01-01T00:00:00+14:00",
            "1e18",
            "99999999999999999",
        ),
        *("[]", "{}", "[[]]", '{"sku": null}', '[{"sku": "a"}, {"sku": "a"}]', "[" * 2000, '{"a":' * 500),
    ]
)

scalars = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | _TELLING | st.text(max_size=40)
)  # fmt: skip

values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)

texts = _TELLING | st.text(max_size=40)


def rows(columns: tuple[str, ...] = COLUMNS, cells: st.SearchStrategy[Any] = values) -> st.SearchStrategy[Any]:
    """Rows under some of ``columns``, most of them with an id and a title as real rows have."""
    named = st.sampled_from(["p1", "p2", "p3"])
    certain = {columns[0]: named | cells, columns[1]: named | cells}
    return st.lists(st.fixed_dictionaries(certain, optional=dict.fromkeys(columns[2:], cells)), min_size=1, max_size=4)


def json_lines(found: list[dict[str, Any]]) -> bytes:
    """``found`` as a JSON Lines file; NaN and lone surrogates as Python writes them."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in found)


@st.composite
def altered(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """One of ``originals`` with bytes replaced, left out, said twice or cut off."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        act = draw(st.sampled_from(["flip", "drop", "repeat", "insert", "cut"]))
        if act == "flip" and data:
            data[place] = draw(st.integers(0, 255))
        elif act == "drop":
            del data[place : place + draw(st.integers(1, 64))]
        elif act == "repeat":
            data[place:place] = data[place : place + draw(st.integers(1, 64))]
        elif act == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=16))
        else:
            del data[place:]
    return bytes(data)
