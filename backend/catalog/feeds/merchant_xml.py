"""Google's merchant feed in XML, RSS 2.0 or Atom, read item by item: a feed may be larger than the memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from backend.catalog.feeds.drafts import ROW_MAX_BYTES, FeedBroken, Row
from backend.catalog.schemas import Rejected

_ITEMS = ("item", "entry")
_DETAIL = "product_detail"
_REPEATED = ("additional_image_link", "additional_image", "promotion_id", "product_highlight", "included_destination")


class _Metered:
    """A file that stops being read when one item does not come to its end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.since_item = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, 65536) if size >= 0 else 65536)
        self.since_item += len(data)
        if self.since_item > ROW_MAX_BYTES:
            raise FeedBroken("One item does not end.", found=f"more than {self.since_item} bytes", expected="</item>")
        return data


class MerchantXml:
    """Items of a merchant feed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")

    def position(self) -> int:
        """Bytes read so far."""
        return 0 if self._file.closed else self._file.tell()

    def rows(self) -> Iterator[Row | Rejected]:
        """Every item, counted from 1."""
        number = 0
        metered = _Metered(self._file)
        with self._file:
            path: list[Element] = []
            try:
                for event, element in iterparse(metered, events=("start", "end"), forbid_dtd=True):
                    if event == "start":
                        path.append(element)
                        continue
                    path.pop()
                    if _name(element) in _ITEMS:
                        number += 1
                        metered.since_item = 0
                        yield Row(number, _fields(element))
                    if _name(element) in _ITEMS or not any(_name(one) in _ITEMS for one in path):
                        element.clear()
                        if path:
                            path[-1].remove(element)  # else the root would hold every item that was read
            except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
                raise FeedBroken(
                    f"The XML is broken behind item {number}.",
                    found=f"{type(error).__name__}: {error}"[:200],
                    expected="RSS or Atom without a document type",
                ) from error


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2].lower()


def _fields(item: Element) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for child in item:
        name, text = _name(child), (child.text or "").strip()
        if name == _DETAIL:
            said = {_name(part): (part.text or "").strip() for part in child}
            if said.get("attribute_name") and said.get("attribute_value"):
                fields[f"attributes.{said['attribute_name']}"] = said["attribute_value"]
        elif name == "link" and not text:  # Atom
            text = child.get("href", "")
            fields.setdefault(name, text)
        elif len(child):
            continue  # shipping, tax: nothing that is searched
        elif name in fields and text:
            fields[name] = [*(fields[name] if isinstance(fields[name], list) else [fields[name]]), text]
        elif text:
            fields[name] = [text] if name in _REPEATED else text
    # what may stand once counts once: the first
    return {name: value[0] if _single(name, value) else value for name, value in fields.items()}


def _single(name: str, value: Any) -> bool:
    return isinstance(value, list) and name in ("id", "title", "description", "link", "price", "availability", "brand")
