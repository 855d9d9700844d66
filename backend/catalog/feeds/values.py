"""Values as shops write them: prices with currencies, words for availability, HTML, times without a zone."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from html.parser import HTMLParser
from typing import Any

_SYMBOLS = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY", "₹": "INR", "zł": "PLN", "kr": "SEK"}
_NUMBER = re.compile(r"-?\d[\d.,' \u00a0\u202f]*")

_WORDS = {
    "in_stock": "in_stock",
    "instock": "in_stock",
    "available": "in_stock",
    "available_for_order": "in_stock",
    "limited_availability": "in_stock",
    "limitedavailability": "in_stock",
    "in_store_only": "in_stock",
    "true": "in_stock",
    "yes": "in_stock",
    "y": "in_stock",
    "out_of_stock": "out_of_stock",
    "outofstock": "out_of_stock",
    "sold_out": "out_of_stock",
    "soldout": "out_of_stock",
    "unavailable": "out_of_stock",
    "not_available": "out_of_stock",
    "discontinued": "out_of_stock",
    "false": "out_of_stock",
    "no": "out_of_stock",
    "n": "out_of_stock",
    "preorder": "preorder",
    "pre_order": "preorder",
    "presale": "preorder",
    "backorder": "backorder",
    "back_order": "backorder",
    "backordered": "backorder",
    "onbackorder": "backorder",
    "on_backorder": "backorder",
}


def price_of(value: Any) -> tuple[Decimal, str | None]:
    """(amount, currency) of ``12.50 EUR``, ``EUR 12,50``, ``€1.299,00`` or ``1,299.00``; else ``ValueError``.

    The last of ``.`` and ``,`` is the decimal sign, unless exactly three digits follow the only one of its kind and
    a thousand is meant: ``1,299`` is read as 1299, ``1.299`` as 1.299.
    """
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return _decimal(str(value)), None
    text = str(value).strip()
    found = _NUMBER.search(text)
    if found is None:
        raise ValueError(value)
    rest = (text[: found.start()] + text[found.end() :]).strip().strip(".").strip()
    currency = _SYMBOLS.get(rest, rest.upper() if re.fullmatch(r"[A-Za-z]{3}", rest) else None)
    if rest and currency is None:
        raise ValueError(value)
    return _decimal(_plain_number(found.group())), currency


def _plain_number(text: str) -> str:
    digits = re.sub(r"[' \u00a0\u202f]", "", text).rstrip(".,")
    if "," in digits and "." in digits:
        decimal = max(",.", key=digits.rfind)
        thousands = "." if decimal == "," else ","
        return digits.replace(thousands, "").replace(decimal, ".")
    if digits.count(",") > 1 or re.fullmatch(r"-?\d{1,3},\d{3}", digits):
        return digits.replace(",", "")
    if digits.count(".") > 1:
        return digits.replace(".", "")
    return digits.replace(",", ".")


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(text) from error


def availability_of(value: Any) -> str:
    """The availability that a word, a truth or a quantity says; ``ValueError`` where it is none of these."""
    if isinstance(value, bool):
        return "in_stock" if value else "out_of_stock"
    if isinstance(value, int | float):
        return "in_stock" if value > 0 else "out_of_stock"
    text = str(value).strip()
    if re.fullmatch(r"-?\d+(\.0*)?", text):
        return "in_stock" if float(text) > 0 else "out_of_stock"
    # schema.org writes https://schema.org/InStock
    word = re.sub(r"[\s_-]+", "_", text.rsplit("/", 1)[-1].lower())
    return _WORDS[word] if word in _WORDS else _unknown(value)


def _unknown(value: Any) -> str:
    raise ValueError(value)


def time_of(value: Any) -> datetime:
    """An instant; a time without a zone is taken as UTC. ``ValueError`` where it is none."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, int | float) or (isinstance(value, str) and re.fullmatch(r"\d{9,13}", value.strip())):
        number = float(value)
        try:
            return datetime.fromtimestamp(number / 1000 if number > 10**11 else number, UTC)
        except (OverflowError, OSError) as error:
            raise ValueError(value) from error
    text = str(value).strip().replace(" UTC", "+00:00")
    instant = value if isinstance(value, datetime) else datetime.fromisoformat(text)
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


class _Text(HTMLParser):
    """Collects what a reader of the page would see."""

    SILENT = frozenset({"script", "style", "template", "head", "title", "noscript", "iframe", "object", "svg"})
    INLINE = frozenset({"a", "abbr", "b", "em", "font", "i", "s", "small", "span", "strong", "sub", "sup", "u"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent: list[str] = []

    def handle_starttag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.SILENT:
            self._silent.append(tag)
        elif tag not in self.INLINE:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._silent:
            del self._silent[self._silent.index(tag) :]
        elif tag not in self.INLINE:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data)


def plain_text(html: str) -> str:
    """The text of ``html`` on one line: no tags, no scripts, entities as characters."""
    if "<" not in html and "&" not in html:
        return " ".join(html.split())
    parser = _Text()
    parser.feed(html)
    parser.close()
    return " ".join("".join(parser.parts).split())


def parts_of(value: Any, separators: str = "|\n") -> list[Any]:
    """``value`` as a list: itself where it is one, else cut at any of ``separators``."""
    if isinstance(value, list | tuple):
        return [one for one in value if one not in (None, "")]
    text = str(value)
    return [part.strip() for part in re.split(f"[{re.escape(separators)}]", text) if part.strip()]


def images_of(value: Any) -> list[Any]:
    """Addresses or names of pictures; a comma parts them only where each part is an address or a picture's name."""
    if isinstance(value, bytes):
        return [value]
    if isinstance(value, dict):  # {"bytes": …, "path": …}, as data sets keep pictures, or {"url": …}
        return [
            one for one in (value.get("bytes") or value.get("url") or value.get("src") or value.get("path"),) if one
        ]
    if isinstance(value, list | tuple):
        return [image for one in value for image in images_of(one)] if value else []
    if value in (None, ""):
        return []
    found = []
    for part in parts_of(value):
        pieces = [piece.strip() for piece in re.split(r"[,;]\s*(?=https?://|[^,;]+\.\w{3,4}(?:[,;]|$))", part)]
        found += [piece for piece in pieces if piece]
    return found
