"""What is known of units by the keyed hashes of their ids: the arms of signed-in shoppers. Remembered for a minute."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor

from sqlalchemy import Engine

from backend.events.units import UnitHasher
from backend.prepared import prepared

REMEMBERED_S = 60.0
"""Seconds after which the arms of a signed-in shopper are looked up again."""

MOST = 50_000
"""Signed-in shoppers that a process remembers, the ones seen last."""

_READ = prepared(
    """
    SELECT experiment_id, arm FROM sticky_arms WHERE unit = ANY(CAST(:units AS text[])) ORDER BY since DESC
    """
)

# whoever was first stays; a trial that has ended meanwhile takes nobody in
_KEEP = prepared(
    """
    INSERT INTO sticky_arms (unit, experiment_id, arm)
    SELECT CAST(:unit AS text), id, CAST(:arm AS text) FROM experiments
    WHERE id = CAST(:experiment AS bigint) AND status = 'running' FOR SHARE
    ON CONFLICT DO NOTHING RETURNING experiment_id
    """
)


class KnownUnits:
    """Reads and keeps the arms of signed-in shoppers. Safe to share between threads.

    Args:
        engine: PostgreSQL, each statement a transaction.
        hasher: gives the installation's secrets.
        pool: where arms are written beside the search.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        engine: Engine,
        hasher: Callable[[], UnitHasher],
        pool: Executor,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._hasher = hasher
        self._pool = pool
        self._clock = clock
        self._arms: OrderedDict[str, tuple[float, dict[int, str]]] = OrderedDict()
        self._lock = threading.Lock()

    def hashes(self, kind: str, given: str) -> Sequence[str]:
        """Hashes of an id of ``kind`` shopper or user, under every key that is kept."""
        return self._hasher().under_every_key(kind, given)

    def arms(self, user_id: str, *, anew: bool = False) -> Mapping[int, str]:
        """Arm in each experiment of a signed-in shopper, as given; ``anew`` asks PostgreSQL whatever is remembered."""
        now = self._clock()
        with self._lock:
            since, arms = self._arms.get(user_id, (None, {}))
        if since is not None and not anew and now - since < REMEMBERED_S:
            return arms
        with self._engine.connect() as connection:
            rows = _READ.rows(connection, {"units": self.hashes("user", user_id)})
        found = {row.experiment_id: row.arm for row in rows}  # of two keys' rows the older one is the arm they had
        self._remember(user_id, now, found)
        return found

    def keep(self, user_id: str, experiment_id: int, arm: str) -> None:
        """Let a signed-in shopper keep an arm; written beside whatever is done now."""
        with self._lock:
            since, arms = self._arms.get(user_id, (self._clock(), {}))
        self._remember(user_id, since, {**arms, experiment_id: arm})
        self._pool.submit(self._write, user_id, experiment_id, arm)

    def _write(self, user_id: str, experiment_id: int, arm: str) -> None:
        unit = self._hasher().hashed("user", user_id)
        with self._engine.connect() as connection:
            _KEEP.rows(connection, {"unit": unit, "experiment": experiment_id, "arm": arm})

    def _remember(self, user_id: str, since: float, arms: dict[int, str]) -> None:
        with self._lock:
            self._arms[user_id] = (since, arms)
            self._arms.move_to_end(user_id)
            while len(self._arms) > MOST:
                self._arms.popitem(last=False)
