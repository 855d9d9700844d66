"""What a translation gives, and what translations have in common."""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import orjson

Dialect = Literal["native", "ubi", "segment"]

_OURS = re.compile(r"q_[A-Za-z0-9_-]{1,30}")
_ZONED = re.compile(r"([Zz]|[+-]\d\d:?\d\d)$")


@dataclass(frozen=True)
class Understood:
    """One event as it was understood.

    Args:
        dialect: whose shape it has.
        said: the event in the native shape, unchecked; None where it is not used.
        message_id: what the answer names it by where it is not used.
        sent_at: when the client sent it, by the clock that stamped it; unchecked.
        not_used: why an event of its kind is not used; empty where it is.
        user_agent: the shopper's, where a server passes it on.
    """

    dialect: Dialect
    said: Any
    message_id: str | None = None
    sent_at: Any = None
    not_used: str = ""
    user_agent: str | None = None


def without_nothing(said: dict[str, Any]) -> dict[str, Any]:
    """``said`` without the fields that are null or empty texts, which other products send for "not known"."""
    return {name: value for name, value in said.items() if value is not None and value != ""}


def as_object(value: Any) -> dict[str, Any]:
    """``value`` where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_text(value: Any) -> Any:
    """Ids that are numbers as text; everything else as it is."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def as_whole(value: Any) -> Any:
    """``"2"`` and ``2.0`` as 2; everything else as it is, for the schema to refuse."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def as_query_id(value: Any) -> str | None:
    """``value`` where it may be the id of one of our lists; another search engine's id names none of them."""
    return value if isinstance(value, str) and _OURS.fullmatch(value) else None


def as_zoned(value: Any) -> Any:
    """A time that names no zone is taken for UTC."""
    return f"{value}Z" if isinstance(value, str) and "T" in value and not _ZONED.search(value) else value


def cut(value: Any, most: int = 1000) -> str | None:
    """A text, cut, without what cannot be kept; None where it is none."""
    if not isinstance(value, str):
        return None
    return value[:most].replace("\x00", "").encode("utf-8", "replace").decode()


def content_id(dialect: Dialect, sent: dict[str, Any]) -> str | None:
    """An id that is the same whenever the same content is sent: for shapes that have no id of a message.

    None where the content cannot be written down (a number that JSON has not).
    """
    try:
        content = orjson.dumps(sent, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return None
    return f"{dialect}_{blake2b(content, digest_size=16).hexdigest()}"
