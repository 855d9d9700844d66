"""What a night would do now, and what each gate still waits for, from counts: nothing is learned to find out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from backend.learning.click_logs.chosen import KEY, parameters
from backend.learning.models import NightlyRun
from backend.learning.nightly.arms import arms_tonight
from backend.learning.nightly.begin import NightAsked, planned_night
from backend.learning.thresholds import thresholds_of
from backend.ml.clicks.click_log import part_of
from backend.ml.clicks.labels import SATISFIED_MS
from backend.ml.gates.verdict import Wait
from backend.ml.gates.waits import Counts, waits_of
from backend.settings import Settings


@dataclass(frozen=True)
class Explained:
    """A night that has not begun.

    Args:
        run: as its row would be.
        arms: that would be trained.
        lists: of the window that searches of shoppers have made.
        satisfied: products that they stayed on, kept or bought; the night itself cuts finer, by device and category.
        waits: what the gates wait for.
    """

    run: NightlyRun
    arms: Sequence[str]
    lists: int
    satisfied: int
    waits: Sequence[Wait]


def explain_night(session: Session, settings: Settings, asked: NightAsked, now: datetime | None = None) -> Explained:
    """What `begin_night` would begin, and what is known of how it would end.

    Raises:
        NightRunning: one is under way.
        Conflict: nothing is live.
    """
    run = planned_night(session, settings, asked, now)
    values = parameters((run.window_from, run.window_to))
    lists, first = session.execute(_LISTS, values).one()
    by_key = {row.key: row.satisfied for row in session.execute(_SATISFIED, {**values, "long": SATISFIED_MS})}
    satisfied = sum(by_key.values())
    counts = Counts(
        days=(run.window_to - first).total_seconds() / 86_400 if first else 0.0,
        satisfied=satisfied,
        judging=sum(count for key, count in by_key.items() if part_of(key) == "judged"),
        golden=sum(part_of(name) == "judged" for name in session.scalars(_CAPTIONED)),
    )
    return Explained(run, arms_tonight(run), lists, satisfied, waits_of(counts, thresholds_of(settings)))


_OF_WINDOW = """
    served_on BETWEEN CAST(:first AS date) AND CAST(:last AS date) AND served_at >= :begin AND served_at < :end
"""


_LISTS = text(
    f"SELECT count(*), min(served_at) FROM served_lists WHERE NOT is_bot AND turn = 1 AND {_OF_WINDOW}"  # noqa: S608
)

_SATISFIED = text(
    f"""
    SELECT {KEY.replace("R ", "l.request ")} AS key, count(*) AS satisfied
    FROM (SELECT query_id, product_id FROM events
          WHERE received_on BETWEEN CAST(:first AS date) AND CAST(:last AS date)
            AND received_at >= :begin AND received_at < :end AND NOT is_bot AND query_id IS NOT NULL
          GROUP BY query_id, product_id
          HAVING bool_or(type IN ('add_to_cart', 'wishlist', 'purchase'))
              OR bool_or(type = 'click') AND max(dwell_ms) FILTER (WHERE type = 'dwell') >= :long) AS e
    JOIN served_lists l USING (query_id)
    WHERE NOT l.is_bot AND l.turn = 1 AND {_OF_WINDOW.replace("served", "l.served")}
    GROUP BY 1
    """  # noqa: S608  made of constants
)

_CAPTIONED = text("""
    SELECT p.id FROM captions c JOIN products p ON p.number = c.product
    WHERE c.error IS NULL AND p.deleted_at IS NULL
""")
