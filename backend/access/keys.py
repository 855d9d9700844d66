"""API keys: made once, shown once, kept as a hash."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urlsplit

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.access.callers import Scope
from backend.access.models import ApiKey
from backend.errors import NotFound, Unprocessable

SECRET_BYTES = 32
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class NewKey:
    """A key that was just made. ``secret`` is the key itself: nobody can read it again."""

    row: ApiKey
    secret: str


def named_scope(name: str) -> Scope:
    """The scope called ``name``."""
    try:
        return Scope(name)
    except ValueError:
        raise Unprocessable("there is no such scope", found=name, expected=", ".join(Scope)) from None


def hash_of(secret: str) -> str:
    """What is kept of a key. A fast hash is enough, because nobody guesses 32 random bytes."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def create_key(
    session: Session,
    *,
    name: str,
    scope: Scope,
    origins: Sequence[str] = (),
    rate_limit_per_minute: int | None = None,
) -> NewKey:
    """Make a key.

    Args:
        session: the transaction that keeps it.
        name: what people call it, in lists, logs and the audit.
        scope: what it may do.
        origins: web origins it may be used from; only for storefront keys, which alone may be seen by browsers.
        rate_limit_per_minute: requests a minute for each address; None is the server's default, 0 is no limit.
    """
    if origins and scope is not Scope.STOREFRONT:
        raise Unprocessable(
            "only storefront keys are used in browsers", found=scope, expected="no origins, or scope storefront"
        )
    if not 1 <= len(name) <= 100 or "\x00" in name:
        raise Unprocessable("the name of the key cannot be kept", found=name, expected="1 to 100 characters")
    if rate_limit_per_minute is not None and not 0 <= rate_limit_per_minute < 2**31:
        raise Unprocessable("the rate limit cannot be kept", found=rate_limit_per_minute, expected="0 to 2147483647")
    secret = f"mk_{scope.prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"
    row = ApiKey(
        name=name,
        scope=scope,
        prefix=secret[:12],
        secret_hash=hash_of(secret),
        origins=sorted({normal_origin(origin) for origin in origins}),
        rate_limit_per_minute=rate_limit_per_minute,
    )
    session.add(row)
    session.flush()
    return NewKey(row, secret)


def list_keys(session: Session, *, revoked: bool = True) -> Sequence[ApiKey]:
    """Every key, oldest first; without the revoked ones where ``revoked`` is false."""
    query = select(ApiKey).order_by(ApiKey.id)
    return session.scalars(query if revoked else query.where(ApiKey.revoked_at.is_(None))).all()


def revoke_key(session: Session, key_id: int) -> ApiKey:
    """Refuse the key from now on; API processes notice within seconds. Revoking it again changes nothing."""
    row = session.get(ApiKey, key_id) if 0 < key_id < 2**63 else None
    if row is None:
        raise NotFound("there is no such key: `morelike key list` shows them", found=key_id)
    if row.revoked_at is None:
        row.revoked_at = func.now()
        session.flush()
        session.refresh(row)
    return row


def normal_origin(text: str) -> str:
    """``text`` as browsers send an origin: scheme and host in lower case, no default port, no path."""
    expected = "scheme://host or scheme://host:port, such as https://shop.example"
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Unprocessable("not a web origin", found=text, expected=expected) from None
    name_is_ascii = host is not None and re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", host) is not None
    if parts.scheme not in _DEFAULT_PORTS or not name_is_ascii or parts.path not in ("", "/") or "@" in parts.netloc:
        raise Unprocessable("not a web origin", found=text, expected=expected)
    if parts.query or parts.fragment:
        raise Unprocessable("not a web origin", found=text, expected=expected)
    shown = f"[{host}]" if host is not None and ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port and port != _DEFAULT_PORTS[parts.scheme] else "")
