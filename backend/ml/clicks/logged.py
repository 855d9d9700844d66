"""What the log of a served list says: the order that its coins gave, and the odds of every other one.

Serving and learning read the same record by the same functions: a list is shown as its logged coins say.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.exploration import logged_odds, order_of
from backend.ml.clicks.odds import Ints, ShowOdds
from backend.ml.clicks.team_draft import drafted, show_odds

TEAM_DRAFT = "team_draft"


def logged_order(candidates: Ints, coins: Mapping[str, Any] | None) -> Ints:
    """(r,) numbers of the products at the first r ranks of a list.

    Args:
        candidates: (n,) product numbers before anything was randomised, best first.
        coins: what was tossed; None: nothing.
    """
    if coins is None:
        return candidates
    if coins["kind"] == TEAM_DRAFT:
        made = drafted(candidates, np.array(coins["b"], dtype=np.int64), coins["page"], coins["coins"])
        return made.order(candidates)
    return candidates[order_of(len(candidates), coins)]


def logged_show_odds(candidates: Ints, scores: NDArray[np.floating[Any]], coins: Mapping[str, Any] | None) -> ShowOdds:
    """The odds of a list over its coins, at as many ranks as there are ``candidates`` (n,), or as were drafted.

    Args:
        candidates: (n,) as for :func:`logged_order`.
        scores: (n,) of the candidates.
        coins: likewise.
    """
    if coins is None:
        return ShowOdds(candidates, np.eye(len(candidates)))
    if coins["kind"] == TEAM_DRAFT:
        other, page = np.array(coins["b"], dtype=np.int64), coins["page"]
        return show_odds(candidates, other, page, max(page, len(candidates)))
    return ShowOdds(candidates, logged_odds(scores, coins))
