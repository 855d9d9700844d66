"""Rows that are variants of one product, gathered wherever in the feed they stand."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from backend.catalog.feeds.drafts import Draft, Read
from backend.catalog.schemas import Problem

_OWN = ("title", "price", "availability")


def gathered(drafts: Iterable[Read]) -> Iterator[Read]:
    """``drafts`` with the rows of each ``group`` as one product, whose variants they are.

    Rows without a group pass through at once. The others are kept in a temporary file until the feed has ended, since
    its last row may belong to its first, and a feed may be larger than the memory.
    """
    # a temporary database on disk that nobody else sees; a reading given up may be collected in another thread
    kept = sqlite3.connect("", check_same_thread=False)
    try:
        kept.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, name TEXT, draft TEXT)")
        for draft in drafts:
            if not isinstance(draft, Draft) or draft.group is None or _unkept(draft):
                yield draft
            else:
                kept.execute("INSERT INTO rows (name, draft) VALUES (?, ?)", (draft.group, _packed(draft)))
        kept.execute("CREATE INDEX by_name ON rows (name, number)")
        names = kept.execute("SELECT name FROM rows GROUP BY name ORDER BY min(number)")
        for (name,) in names:
            rows = kept.execute("SELECT draft FROM rows WHERE name = ? ORDER BY number LIMIT 2000", (name,))
            yield _merged(name, [_unpacked(row) for (row,) in rows])
    finally:
        kept.close()


def _unkept(draft: Draft) -> bool:
    """Rows that cannot be put away: deletions, pictures as bytes, text that is not Unicode."""
    text = [draft.group, *(one for one in draft.values.values() if isinstance(one, str))]
    broken = any("\udc80" <= character <= "\udfff" for one in text if one for character in one)
    return broken or draft.values.get("deleted") is True or any(isinstance(i, bytes) for i in draft.values["images"])


def _packed(draft: Draft) -> str:
    problems = [[p.field, p.found, p.expected] for p in draft.problems]
    return json.dumps([draft.line, draft.values, problems], default=_as_json)


def _as_json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} in a feed's row")


def _unpacked(text: str) -> Draft:
    line, values, problems = json.loads(text)
    if isinstance(values.get("price"), dict):
        values["price"] = Decimal(values["price"]["decimal"])
    return Draft(line, values, [Problem(*one) for one in problems])


def _merged(name: str, rows: list[Draft]) -> Draft:
    """One product of ``rows``: what they share is the product's, in what they differ is each variant's."""
    first = rows[0]
    shared, own = _parted([row.values.get("attributes", {}) for row in rows])
    variants = []
    for row, attributes in zip(rows, own, strict=True):
        variant = {key: row.values[key] for key in _OWN if row.values.get(key) is not None}
        variants.append(variant | {"sku": row.values.get("id", ""), "attributes": attributes})
    values = {key: value for key, value in first.values.items() if key not in ("price", "availability", "variants")}
    values |= {
        "id": name,
        "attributes": shared,
        "variants": variants,
        "images": list(dict.fromkeys(image for row in rows for image in row.values["images"]))[:50],
        "captions": list(dict.fromkeys(caption for row in rows for caption in row.values["captions"]))[:50],
    }
    if newest := [row.values["updated_at"] for row in rows if "updated_at" in row.values]:
        values["updated_at"] = max(newest)
    return Draft(first.line, values, [problem for row in rows for problem in row.problems])


def _parted(attributes: list[Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    every = [one if isinstance(one, dict) else {} for one in attributes]
    shared = {
        key: value for key, value in every[0].items() if all(key in one and one[key] == value for one in every[1:])
    }
    return shared, [{key: value for key, value in one.items() if key not in shared} for one in every]
