"""Reading what shops' interfaces say into fields of products: cut to what is kept, no more strict than needed."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from backend.catalog.batch import said
from backend.catalog.feeds.values import plain_text, time_of
from backend.catalog.schemas import IMAGES_MAX, ProductIn, problems, short, web_address
from backend.catalog.shops.platform import NotReadable

TITLE_MAX, DESCRIPTION_MAX, BRAND_MAX, SKU_MAX = 1000, 20_000, 256, 240
NAME_MAX, VALUE_MAX, VALUES_MAX, CATEGORY_MAX = 100, 1000, 250, 200
ATTRIBUTES_MAX, CAPTIONS_MAX = 200, 50

_CONTROL = re.compile(r"[\x00-\x20\x7f]+")


def object_of(body: bytes) -> dict[str, Any]:
    """The JSON object that ``body`` is.

    Raises:
        NotReadable: it is none.
    """
    value = json_of(body)
    if not isinstance(value, dict):
        raise NotReadable("The body is no JSON object.", found=short(value), expected="a JSON object")
    return value


def json_of(body: bytes) -> Any:
    """What ``body`` says in JSON.

    Raises:
        NotReadable: it is not JSON.
    """
    try:
        return from_json(body)
    except ValueError as error:
        found = short(body[:400].decode("utf-8", "replace"), 120)
        raise NotReadable("The body is not JSON.", found=found, expected=f"JSON: {error}") from error


def number_of(value: Any, name: str) -> str:
    """A platform's numeric id as text.

    Raises:
        NotReadable: it is no positive whole number.
    """
    text = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"[0-9]{1,20}", text) or int(text) == 0:
        raise NotReadable("The id is not one of the platform's.", found=short(value), expected=f"{name}: a number")
    return str(int(text))


def line(value: Any, most: int) -> str:
    """``value`` as text on one line, up to ``most`` characters; empty where it is neither text nor number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return _CONTROL.sub(" ", _whole(str(value))).strip()[:most].strip()


def text_of(html: Any, most: int) -> str:
    """The text of ``html``, up to ``most`` characters."""
    return plain_text(_whole(html)).replace("\x00", " ")[:most].strip() if isinstance(html, str) else ""


def _whole(text: str) -> str:
    """``text`` without halves of characters, which JSON may escape and UTF-8 cannot say."""
    return text.encode("utf-8", "replace").decode()


def instant_of(value: Any, name: str) -> datetime | None:
    """The time ``value``, UTC where it names no zone; None where there is none.

    Raises:
        NotReadable: it is no time.
    """
    if value in (None, ""):
        return None
    try:
        return time_of(value)
    except (ValueError, OverflowError, TypeError) as error:
        raise NotReadable("The time cannot be read.", found=short(value), expected=f"{name}: ISO 8601") from error


def objects(value: Any) -> list[dict[str, Any]]:
    """Those of a list that are JSON objects."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def lines(values: Iterable[Any], most: int) -> list[str]:
    """Each of ``values`` on one line, once, without the empty ones."""
    return list(dict.fromkeys(text for value in values if (text := line(value, most))))


def attributes_of(pairs: Iterable[tuple[Any, Sequence[Any]]]) -> dict[str, Any]:
    """Attributes by their names in lower case: one value by itself, several as a list."""
    found: dict[str, Any] = {}
    for name, values in pairs:
        named, kept = line(name, NAME_MAX).lower(), lines(values, VALUE_MAX)[:VALUES_MAX]
        if named and kept and len(found) < ATTRIBUTES_MAX:
            found[named] = kept[0] if len(kept) == 1 else kept
    return found


def pictures(sources: Iterable[Any]) -> list[str]:
    """Addresses of pictures, each once; what is no address is left out, for the product is worth more than it."""
    found: dict[str, None] = {}
    for source in sources:
        text = line(source, 4000)
        try:
            found[web_address(f"https:{text}" if text.startswith("//") else text)] = None
        except ValueError:
            continue
    return list(found)[:IMAGES_MAX]


def distinct(sku: str, taken: set[str]) -> str:
    """``sku``, marked where it is taken: platforms let variants share one."""
    marked = sku
    for number in range(2, len(taken) + 2):
        if marked not in taken:
            break
        marked = f"{sku}+{number}"
    taken.add(marked)
    return marked


def checked(values: Mapping[str, Any]) -> ProductIn:
    """The product that ``values`` make.

    Raises:
        NotReadable: they make none.
    """
    try:
        return ProductIn.model_validate(values)
    except ValidationError as error:
        raise NotReadable(
            f"The product cannot be kept: {said(problems(error))}.", found=short(values.get("id")), expected="a product"
        ) from error
