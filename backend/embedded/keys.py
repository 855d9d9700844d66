"""The API keys that the stack shows when it has started, kept in its home so that every start shows the same."""

import json
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.access.callers import Scope
from backend.access.keys import create_key, hash_of, normal_origin
from backend.access.models import ApiKey
from backend.embedded.home import Home, write_private

NAME = "morelike run"


def shown_keys(session: Session, home: Home, *, origin: str) -> dict[str, str]:
    """A key of each scope: those of the last start, or new ones where there are none or they were revoked.

    Args:
        session: the transaction that keeps new keys.
        home: where the keys themselves are kept (mode 0600); the database has their hashes only.
        origin: the web origin that the storefront key may be used from.
    """
    file = home.root / "keys.json"
    known = _read(file)
    keys = {scope.value: known.get(scope.value, "") for scope in Scope}
    for scope in Scope:
        held = select(ApiKey.id).where(ApiKey.secret_hash == hash_of(keys[scope]), ApiKey.revoked_at.is_(None))
        if session.scalar(held) is None:
            origins = [normal_origin(origin)] if scope is Scope.STOREFRONT else []
            keys[scope.value] = create_key(session, name=NAME, scope=scope, origins=origins).secret
    if keys != known:
        write_private(file, json.dumps(keys, indent=1))
    return keys


def _read(file: Path) -> dict[str, str]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return {str(scope): str(key) for scope, key in found.items()} if isinstance(found, dict) else {}
