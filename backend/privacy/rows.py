"""Which rows are one shopper's.

A shopper is named as clients name them: by the id of an account, of a browser or of a session. Rows hold keyed hashes
of these, under any key that is still kept. What belongs to whom:

* An account: rows that name it; rows of the browsers it was used in that name no account; rows of these sessions that
  name nobody else. What another account did in the same browser is that account's.
* A browser: rows that name it, and rows of its sessions that name nobody else.
* A session: its rows.
* Lists that were refined from any of these lists carry what was said before, and belong to them; so do events on these
  lists that name nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from backend.events.units import UnitHasher


@dataclass(frozen=True)
class Units:
    """Hashes of what names one shopper: as given, and what follows from the rows that name it.

    Args:
        users: accounts.
        shoppers: browsers.
        sessions: sessions.
        linked_shoppers: browsers in which one of the accounts was used.
        linked_sessions: sessions of all these rows.
    """

    users: tuple[str, ...] = ()
    shoppers: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    linked_shoppers: tuple[str, ...] = ()
    linked_sessions: tuple[str, ...] = ()

    @property
    def given(self) -> list[str]:
        """Every hash that was asked for."""
        return sorted({*self.users, *self.shoppers, *self.sessions})

    @property
    def every(self) -> list[str]:
        """Every hash: sticky arms, overrides and marks are kept under one of them."""
        return sorted({*self.given, *self.linked_shoppers, *self.linked_sessions})

    def parameters(self) -> dict[str, list[str]]:
        """Of ``THEIRS``."""
        return {name: list(values) for name, values in vars(self).items()}


THEIRS = """(
    r.user_id = ANY(CAST(:users AS text[]))
    OR r.shopper_id = ANY(CAST(:shoppers AS text[]))
    OR r.session_id = ANY(CAST(:sessions AS text[]))
    OR r.user_id IS NULL AND r.shopper_id = ANY(CAST(:linked_shoppers AS text[]))
    OR r.user_id IS NULL AND r.session_id = ANY(CAST(:linked_sessions AS text[]))
       AND (r.shopper_id IS NULL OR r.shopper_id = ANY(CAST(:shoppers AS text[]) || CAST(:linked_shoppers AS text[])))
)"""
"""Condition on a row ``r`` of ``served_lists`` or ``events`` that names them."""

ON_THEIR_LISTS = "r.query_id = ANY(CAST(:query_ids AS text[])) AND r.served_on = ANY(CAST(:days AS date[]))"
"""Condition on a row ``r`` of ``served_lists`` or ``served_pages`` of a shopper that was found."""

THEIR_EVENTS = f"""({THEIRS} OR r.query_id = ANY(CAST(:query_ids AS text[]))
    AND r.user_id IS NULL AND r.shopper_id IS NULL AND r.session_id IS NULL)"""
"""Condition on a row ``r`` of ``events`` of a shopper that was found."""


@dataclass(frozen=True)
class Theirs:
    """One shopper's units and lists; ``days`` are those of the lists, for the partitions that hold their pages."""

    units: Units
    query_ids: tuple[str, ...]
    days: tuple[date, ...]

    def parameters(self) -> dict[str, list[Any]]:
        """Of the statements of export and erasure."""
        lists: dict[str, list[Any]] = {"query_ids": list(self.query_ids), "days": list(self.days)}
        return {**self.units.parameters(), **lists, "units": self.units.every}


def hashed(hasher: UnitHasher, *, user_id: str | None, shopper_id: str | None, session_id: str | None) -> Units:
    """The hashes of ids as given, under every key that is kept."""
    return Units(
        tuple(hasher.under_every_key("user", user_id)),
        tuple(hasher.under_every_key("shopper", shopper_id)),
        tuple(hasher.under_every_key("session", session_id)),
    )


def anyone_of(hashes: Sequence[str]) -> Units:
    """Hashes of which it is not known what they are of: those of different kinds never coincide."""
    return Units(tuple(hashes), tuple(hashes), tuple(hashes))


def find(session: Session, units: Units) -> Theirs:
    """Everything that is this shopper's. Reads every day that is kept."""
    known = replace(units, linked_shoppers=tuple(session.scalars(_BROWSERS, {"users": list(units.users)})))
    known = replace(known, linked_sessions=tuple(session.scalars(_SESSIONS, known.parameters())))
    lists = session.execute(_LISTS, known.parameters()).all()
    return Theirs(known, tuple(row.query_id for row in lists), tuple(sorted({row.served_on for row in lists})))


_BROWSERS = text(
    """
    SELECT shopper_id FROM served_lists WHERE user_id = ANY(CAST(:users AS text[])) AND shopper_id IS NOT NULL
    UNION SELECT shopper_id FROM events WHERE user_id = ANY(CAST(:users AS text[])) AND shopper_id IS NOT NULL
    """
)

_SESSIONS = text(
    f"""
    SELECT r.session_id FROM served_lists r WHERE {THEIRS} AND r.session_id IS NOT NULL
    UNION SELECT r.session_id FROM events r WHERE {THEIRS} AND r.session_id IS NOT NULL
    """  # noqa: S608  made of constants
)

# a refinement names the list before it, and all of a chain the list that it began with
_LISTS = text(
    f"""
    WITH RECURSIVE mine AS (SELECT r.query_id, r.served_on, coalesce(r.root_id, r.query_id) AS root
                            FROM served_lists r WHERE {THEIRS}),
    chained AS (SELECT r.query_id, r.served_on, r.parent_id FROM served_lists r
                WHERE r.root_id IN (SELECT root FROM mine)),
    found AS (SELECT query_id, served_on FROM mine
              UNION SELECT chained.query_id, chained.served_on
                    FROM chained JOIN found ON chained.parent_id = found.query_id)
    SELECT query_id, served_on FROM found ORDER BY served_on, query_id
    """  # noqa: S608  made of constants
)
