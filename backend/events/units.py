"""Shoppers and sessions are kept as keyed hashes only: the same id gives the same hash, and nothing leads back."""

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.events.models import UnitKey


@dataclass(frozen=True)
class UnitHasher:
    """The installation's secrets, newest first: the newest hashes and signs, all of them are believed."""

    keys: Sequence[tuple[int, bytes]]

    def hashed(self, kind: str, given: str | None) -> str | None:
        """``given`` (an id of ``kind`` shopper or session) as stored: ``<key id>:<128 bits in hexadecimal>``."""
        if given is None:
            return None
        key_id, secret = self.keys[0]
        return f"{key_id}:{_digest(secret, kind, given)[:16].hex()}"

    def under_every_key(self, kind: str, given: str | None) -> list[str]:
        """``given`` as it may be stored: under the key in use and under those before it."""
        return [
            f"{key_id}:{_digest(secret, kind, given)[:16].hex()}" for key_id, secret in self.keys if given is not None
        ]

    def signature(self, message: str) -> bytes:
        """What only this installation can make of ``message``: 12 bytes."""
        return _digest(self.keys[0][1], "signature", message)[:12]

    def verifies(self, message: str, signature: bytes) -> bool:
        """Whether ``signature`` is of this installation, under any key still kept."""
        return any(
            hmac.compare_digest(_digest(secret, "signature", message)[:12], signature) for _, secret in self.keys
        )


def load_unit_hasher(session: Session) -> UnitHasher:
    """The installation's secrets; the first one is made when there is none."""
    statement = select(UnitKey.id, UnitKey.secret).order_by(UnitKey.id.desc())
    found = session.execute(statement).all()
    if not found:
        # processes that start at the same moment must agree on one secret: the first to insert number 1 wins
        first = insert(UnitKey).values(id=1, secret=secrets.token_bytes(32)).on_conflict_do_nothing()
        session.execute(first)
        found = session.execute(statement).all()
    return UnitHasher(tuple((key_id, bytes(secret)) for key_id, secret in found))


def _digest(secret: bytes, kind: str, given: str) -> bytes:
    return hmac.digest(secret, f"{kind}\x1f{given}".encode("utf-8", "surrogatepass"), sha256)
