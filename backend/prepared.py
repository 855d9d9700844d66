"""Statements that a connection parses and plans once, run without the layers of the ORM.

A search makes two or three statements, each of which PostgreSQL runs in a fraction of a millisecond: parsing and
planning them anew, and building them anew here, took most of their time.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row

MOST_PREPARED = 256
"""Statements that one connection keeps; filters make a few dozen different ones."""

_NAMED = re.compile(r"(?<![:\w]):(\w+)")
_KNOWN = "prepared"


@dataclass(frozen=True)
class Prepared:
    """A statement in the form that connections keep it in; made by :func:`prepared`.

    Args:
        name: what connections call it.
        making: the SQL that prepares it.
        running: the SQL that runs it with ``parameters`` in their order.
        parameters: names of what it takes.
    """

    name: str
    making: str
    running: str
    parameters: tuple[str, ...]

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> Sequence[Row[Any]]:
        """Its rows, for a value of each parameter; values that it does not take are left alone."""
        known: set[str] = connection.info.setdefault(_KNOWN, set())
        if self.name not in known:
            if len(known) >= MOST_PREPARED:
                connection.exec_driver_sql("DEALLOCATE ALL")
                known.clear()
            connection.exec_driver_sql(self.making)
            known.add(self.name)
        return connection.exec_driver_sql(self.running, tuple(values[name] for name in self.parameters)).all()


@lru_cache(maxsize=1024)
def prepared(statement: str) -> Prepared:
    """``statement``, whose parameters are written ``:name``. PostgreSQL must be able to tell the type of each."""
    places: dict[str, int] = {}
    body = _NAMED.sub(lambda found: f"${places.setdefault(found[1], len(places) + 1)}", statement)
    name = f"p{sha256(body.encode()).hexdigest()[:20]}"
    marks = ", ".join("%s" for _ in places)
    return Prepared(
        name,
        f"PREPARE {name} AS {body}".replace("%", "%%"),
        f"EXECUTE {name} ({marks})" if places else f"EXECUTE {name}",
        tuple(places),
    )
