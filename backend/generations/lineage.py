"""Which generations learned from what shoppers did when."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

# PostgreSQL reads the range as text: a generation whose data range names no events has learned from none
_LEARNED = text(
    """
    SELECT g.id FROM generations g
    WHERE g.data_range -> 'events' ->> 'from' IS NOT NULL
      AND EXISTS (SELECT FROM unnest(CAST(:times AS timestamptz[])) AS at
                  WHERE at >= CAST(g.data_range -> 'events' ->> 'from' AS timestamptz)
                    AND at < CAST(g.data_range -> 'events' ->> 'to' AS timestamptz))
    ORDER BY g.id
    """
)


def learned_from(session: Session, times: Sequence[datetime]) -> list[int]:
    """Generations that learned from a time in which one of ``times`` lies, in order of their ids.

    A generation that learned from served lists and events says so in its data range: ``{"events": {"from": …, "to":
    …}}``, two ISO 8601 times, the second not included, of when lists were served and events received. One that is made
    of another (calibrated anew, given another index) takes its data range over.
    """
    return list(session.scalars(_LEARNED, {"times": list(times)})) if times else []
