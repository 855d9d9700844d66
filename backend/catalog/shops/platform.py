"""The contract of a shop platform: how its deliveries are verified and named, and what they change.

A platform is one object with a name and four questions. The inbox asks the first three at the door, about bytes that
strangers may have sent, so they cost little and never raise; the worker asks ``read`` later, about bytes whose
signature was right.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from backend.catalog.schemas import ProductIn
from backend.errors import Unprocessable


class NotReadable(Unprocessable):
    """A delivery, or a product of a shop's list, that does not say what its platform's format says."""

    title = "Not in the platform's format"


@dataclass(frozen=True)
class Shop:
    """What the payloads leave out.

    Args:
        url: address of the shop's pages, without a slash at its end; links to products begin with it.
        currency: of prices that name none.
    """

    url: str | None = None
    currency: str | None = None


@dataclass(frozen=True)
class Envelope:
    """What stands on the outside of a delivery. Nothing of it is signed: only the body is.

    Args:
        topic: what happened, in the platform's words.
        key: the delivery's name: with the hash of its body it tells a repetition from another delivery.
        event: the event's name, where several deliveries may tell of one.
        triggered_at: when it happened, by the shop's clock.
        headers: what is kept of the headers, by names in lower case.
    """

    topic: str
    key: str
    event: str | None = None
    triggered_at: datetime | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Received:
    """A delivery whose signature was right."""

    envelope: Envelope
    body: bytes
    received_at: datetime


@dataclass(frozen=True)
class Write:
    """A product as it is now.

    Args:
        product: the whole of it.
        keeps_variants: the payload leaves variants out; those that are kept and that it does not name stay.
        replaces: ids under which the same product may be kept from before; those products go.
    """

    product: ProductIn
    keeps_variants: bool = False
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Delete:
    """A product that is gone, as of ``at``."""

    id: str
    at: datetime | None
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class WriteVariant:
    """One variant of the product ``id`` as it is now; ``variant`` is None where it is no longer sold."""

    id: str
    sku: str
    at: datetime | None
    values: Mapping[str, object] | None


@dataclass(frozen=True)
class Ignored:
    """A delivery that says nothing about products, and why."""

    reason: str


Change = Write | Delete | WriteVariant | Ignored


class Platform(Protocol):
    """A shop platform that sends webhooks to ``/v1/webhooks/{name}``."""

    name: str

    def envelope(self, headers: Mapping[str, str], body: bytes) -> Envelope:
        """What stands on the outside. ``headers`` have names in lower case."""
        ...

    def is_signed(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> bool:
        """Whether the signature over the raw ``body`` was made with one of ``secrets``."""
        ...

    def is_greeting(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether this is the unsigned message with which the platform tries an address; it is answered with 200."""
        ...

    def read(self, received: Received, shop: Shop) -> Sequence[Change]:
        """What the delivery changes, in order.

        Raises:
            NotReadable: the body is not what the platform's format says.
        """
        ...


def signed_in_base64(given: str, body: bytes, secrets: Sequence[str]) -> bool:
    """Whether ``given`` is the base64 HMAC-SHA256 of ``body`` with one of ``secrets``; compared in constant time."""
    shown = given.strip().encode("utf-8", "replace")
    fits = [hmac.compare_digest(base64.b64encode(digest), shown) for digest in _digests(body, secrets)]
    return any(fits)  # after all of them: which of the secrets fits must not show in the time


def signed_in_hex(given: str, body: bytes, secrets: Sequence[str]) -> bool:
    """Whether ``given`` is the hexadecimal HMAC-SHA256 of ``body`` with one of ``secrets``, in constant time."""
    shown = given.strip().lower().encode("utf-8", "replace")
    fits = [hmac.compare_digest(digest.hex().encode(), shown) for digest in _digests(body, secrets)]
    return any(fits)


PART_MIN = 16
"""Characters of a part between commas that is taken for a secret of its own."""


def secrets_of(setting: str) -> tuple[str, ...]:
    """The secrets that a setting names: itself, for a secret may have commas, and what stands between its commas.

    A part shorter than ``PART_MIN`` is no secret: it would be a piece of one, and easy to guess.
    """
    whole, *parts = setting.strip(), *(part.strip() for part in setting.split(","))
    return tuple(dict.fromkeys(one for one in (whole, *parts) if one and (one == whole or len(one) >= PART_MIN)))


def _digests(body: bytes, secrets: Sequence[str]) -> Iterator[bytes]:
    for secret in secrets:
        yield hmac.new(secret.encode(), body, hashlib.sha256).digest()
