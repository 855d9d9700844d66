"""What is being tried, followed by every process: a thread looks every second and swaps one reference."""

import secrets
import threading
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.experiments.bucketing import BUCKETS
from backend.experiments.models import Layer
from backend.experiments.pins import pin_holdout
from backend.experiments.plan import LAYERS, Plan, Salted, Trial
from backend.logs import get_logger
from backend.ml.clicks.exploration import ExplorationPolicy

log = get_logger(__name__)

# one small statement, because every process asks it every second; results change often and assign nobody
_LOOK = text("""
    SELECT (SELECT jsonb_object_agg(l.name, to_jsonb(l)) FROM layers l) AS layers,
           (SELECT coalesce(jsonb_agg(t.trial ORDER BY t.id), '[]') FROM (
              SELECT e.id, to_jsonb(e) - 'results' || jsonb_build_object('overrides', o.overrides) AS trial
              FROM experiments e LEFT JOIN LATERAL (
                SELECT jsonb_object_agg(unit, arm) AS overrides FROM experiment_overrides WHERE experiment_id = e.id
              ) AS o ON true
              WHERE e.status = 'running' OR (e.status = 'draft' AND o.overrides IS NOT NULL)) AS t) AS trials,
           (SELECT jsonb_build_object('share', share, 'policy', policy) FROM exploration) AS exploration,
           (SELECT max(generation_id) FROM generation_pins WHERE reason = 'holdout') AS holdout
""")


class Registry:
    """Follows the experiments. While PostgreSQL does not answer, what was last seen goes on.

    Args:
        sessions: where they are read.
        holdout_share: share of units, 0 to 1, that stay out of everything.
        exploration_share: share of sessions that explore as long as nobody says otherwise.
        poll_s: seconds between two looks; a change reaches every process within them.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        *,
        holdout_share: float,
        exploration_share: float,
        poll_s: float = 1.0,
    ) -> None:
        self._sessions = sessions
        self._holdout_share = holdout_share
        self._exploration_share = exploration_share
        self._poll_s = poll_s
        self._seen: tuple[Any, ...] | None = None
        self._plan = Plan({})
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="experiments", daemon=True)

    def start(self) -> None:
        """Make the layers that are missing, look once, then follow in a daemon thread."""
        with session_scope(self._sessions) as session:
            make_layers(session)
        self._keep_holdout()
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=self._poll_s + 5)

    @property
    def plan(self) -> Plan:
        """What is being tried now. Take it once a request."""
        return self._plan

    def refresh(self) -> None:
        """Look now."""
        with session_scope(self._sessions) as session:
            seen = tuple(session.execute(_LOOK).one())
        if seen == self._seen:
            return
        self._plan = self._read(*seen)
        self._seen = seen
        log.info("experiments", running=[trial.name for trials in self._plan.trials.values() for trial in trials])

    def _read(
        self,
        layers: dict[str, Any],
        kept: list[dict[str, Any]],
        exploration: dict[str, Any] | None,
        holdout: int | None,
    ) -> Plan:
        trials: dict[str, list[Trial]] = {}
        for one in kept:
            trials.setdefault(one["layer"], []).append(Trial.from_json(one))
        said = exploration or {"share": self._exploration_share, "policy": {}}
        return Plan(
            layers={name: Salted(one["salt"], one["salt_version"], one["hashing"]) for name, one in layers.items()},
            trials=trials,
            explore_share=round(said["share"] * BUCKETS),
            explore_policy=ExplorationPolicy(**said["policy"]),
            holdout_share=round(self._holdout_share * BUCKETS),
            holdout_generation=holdout,
        )

    def _keep_holdout(self) -> None:
        """Choose anew what the holdout is served by: what is live changes, and on the first start comes later."""
        with session_scope(self._sessions) as session:
            pin_holdout(session, self._holdout_share)

    def _poll(self) -> None:
        while not self._stopped.wait(self._poll_s):
            try:
                self.refresh()
                self._keep_holdout()
            except Exception as error:  # noqa: BLE001  whatever failed, what was last seen goes on and we look again
                log.warning("experiments_not_refreshed", error=str(error))


def make_layers(session: Session) -> None:
    """Give each layer that has none a salt; processes that start at the same moment agree on it."""
    rows = [{"name": name, "salt": new_salt()} for name in LAYERS]
    session.execute(insert(Layer).values(rows).on_conflict_do_nothing())


def new_salt() -> str:
    """A salt that no other layer or experiment has."""
    return secrets.token_hex(8)
