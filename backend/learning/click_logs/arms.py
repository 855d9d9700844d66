"""Who was in which arm, for the check that arms have the shares of shoppers that they were planned to have."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from backend.learning.click_logs.chosen import OF_DAYS, Window, parameters


def arms_of(session: Session, window: Window) -> list[dict[str, Any]]:
    """Of each A/B test whose arms were served in the window: shoppers of each arm, and the weights planned.

    Shoppers are counted by lists of whatever kind that no program asked for, since an arm may change what is searched
    next.
    """
    found = dict[str, dict[str, Any]]()
    for row in session.execute(_ARMS, parameters(window)):
        of = found.setdefault(row.name, {"experiment": row.name, "units": {}, "weights": row.weights})
        of["units"][row.arm] = row.units
    return [found[name] for name in sorted(found)]


_ARMS = text(
    f"""
    SELECT s.key AS name, s.value AS arm, count(DISTINCT l.unit) AS units,
           (SELECT jsonb_object_agg(a ->> 'name', a -> 'weight') FROM jsonb_array_elements(x.arms) AS a) AS weights
    FROM night_lists l JOIN served_lists v ON v.query_id = l.query_id AND v.served_on = l.served_on
    CROSS JOIN LATERAL jsonb_each_text(v.experiments) AS s
    JOIN experiments x ON 'e' || x.id = s.key
    WHERE l.reason IS DISTINCT FROM 'bots' AND v.experiments <> '{{}}' AND x.method = 'ab'
      AND {OF_DAYS.replace("R.", "v.")}
    GROUP BY s.key, s.value, x.arms ORDER BY s.key, s.value
    """  # noqa: S608  made of constants
)
