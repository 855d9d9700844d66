"""How many products a filter leaves, as PostgreSQL's planner estimates it: a server's index looks further when few."""

import threading
import time

from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.search.filters import Conditions

KEPT_S = 60.0
MOST_KEPT = 1024

_EXPLAIN = "EXPLAIN (FORMAT JSON) SELECT FROM products p WHERE CONDITIONS"


class Selectivity:
    """Estimated share of the catalogue that satisfies conditions; remembered for a minute."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, float]] = {}

    def share(self, conditions: Conditions) -> float:
        """Between 0 and 1."""
        key = repr((conditions.clauses, sorted(conditions.parameters.items())))
        now = time.monotonic()
        with self._lock:
            known = self._known.get(key)
        if known is not None and known[1] > now:
            return known[0]
        share = self._estimated(conditions)
        with self._lock:
            if len(self._known) >= MOST_KEPT:
                self._known.clear()
            self._known[key] = (share, now + KEPT_S)
        return share

    def _estimated(self, conditions: Conditions) -> float:
        with session_scope(self._sessions) as session:
            passing = _rows(session, conditions)
            everything = _rows(session, Conditions(("p.deleted_at IS NULL",)))
        return min(1.0, passing / max(everything, 1.0))


def _rows(session: Session, conditions: Conditions) -> float:
    plan = session.execute(conditions.statement(_EXPLAIN), dict(conditions.parameters)).scalar_one()
    return float(plan[0]["Plan"]["Plan Rows"])
