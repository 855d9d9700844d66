"""How long an experiment will take, from the searches that the shop has had lately."""

import math
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from backend.experiments.models import Experiment
from backend.experiments.schemas import Estimate

DETECTS = 0.05
"""Relative change of the clicked share that is planned for."""

DESIGN_EFFECT = 1.5
"""How much wider a mean over searches is than if each were somebody else's: shoppers search several times."""

FEWEST = 200
"""Searches below which nothing is said of the share that is clicked."""

DECIDED_LISTS = 2000
"""Interleaved lists with a click, after which a preference is looked at."""

# the newest thousands say what share is clicked; how many there are a day is counted over whole days
_LATELY = text("""
    SELECT count(*) AS lists, count(*) FILTER (WHERE clicked) AS clicked,
           (SELECT count(*) FROM served_lists
            WHERE served_on BETWEEN CURRENT_DATE - 7 AND CURRENT_DATE - 1 AND turn = 1 AND NOT is_bot) AS week,
           (SELECT count(DISTINCT served_on) FROM served_lists
            WHERE served_on BETWEEN CURRENT_DATE - 7 AND CURRENT_DATE - 1) AS days
    FROM (
      SELECT EXISTS (SELECT FROM events e WHERE e.query_id = l.query_id AND e.type = 'click' AND NOT e.is_bot
                     AND e.received_on BETWEEN l.served_on AND l.served_on + 2) AS clicked
      FROM served_lists l
      WHERE l.served_on BETWEEN CURRENT_DATE - 14 AND CURRENT_DATE - 1 AND l.turn = 1 AND NOT l.is_bot
      ORDER BY l.served_on DESC, l.served_at DESC LIMIT 5000) AS newest
""")


@dataclass(frozen=True)
class Lately:
    """Searches of the last whole days, without bots and refinements.

    Args:
        lists: those looked at.
        clicked: those of them that led to a click.
        per_day: how many there are a day.
    """

    lists: int
    clicked: int
    per_day: float


def read_lately(session: Session) -> Lately:
    """What the last whole days say; today is not over."""
    row = session.execute(_LATELY).one()
    return Lately(row.lists, row.clicked, row.week / row.days if row.days else 0.0)


def estimated(experiment: Experiment, lately: Lately, holdout_share: float) -> Estimate:
    """How long ``experiment`` takes.

    Each arm needs ``16 σ² / δ²`` searches for a power of 80 % at 5 % (Kohavi et al., "Trustworthy Online Controlled
    Experiments", 2020, ch. 17), where σ² = p(1 - p) times the design effect and δ = ``DETECTS`` p.
    """
    if lately.lists < FEWEST or not lately.clicked or not lately.per_day:
        said = f"the last 14 days have {lately.lists} searches, {lately.clicked} of them clicked: too few to go by"
        return Estimate(searches=None, days=None, baseline=None, detects=DETECTS, reason=said)
    baseline = lately.clicked / lately.lists
    if experiment.method == "interleave":
        searches = math.ceil(DECIDED_LISTS / baseline)
    else:
        per_arm = 16 * DESIGN_EFFECT * (1 - baseline) / (baseline * DETECTS**2)
        # arms of other widths: the narrowest must get its searches
        narrowest = min(arm["weight"] for arm in experiment.arms) / sum(arm["weight"] for arm in experiment.arms)
        searches = math.ceil(max(per_arm, 1) / narrowest)
    per_day = lately.per_day * experiment.traffic * experiment.coverage * (1 - holdout_share)
    days = max(1, math.ceil(searches / per_day))
    return Estimate(searches=searches, days=days, baseline=round(baseline, 4), detects=DETECTS, reason=None)
