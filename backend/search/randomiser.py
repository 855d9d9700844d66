"""Coins for lists: at most one randomiser changes what a list was found to be, and says what the odds were.

Team draft with another generation, else exploration; first pages of searches only. Candidates are checked against
PostgreSQL before coins are tossed, in one small statement more, so that the odds are those of what can be shown.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from sqlalchemy import Engine

from backend.metrics import LISTS_BY_COINS
from backend.ml.clicks.exploration import CoinSource, ExplorationPolicy, Mask, explore
from backend.ml.clicks.logged import TEAM_DRAFT, logged_order, logged_show_odds
from backend.ml.clicks.team_draft import draft
from backend.search.cursor import Order
from backend.search.first_page import MARGIN, Offered, as_listed, window
from backend.search.lists import Listed

_ALIVE = """
    SELECT p.number, p.created_at > now() - make_interval(secs => CAST(:new_s AS float8)) AS new FROM products p
    WHERE p.number = ANY(CAST(:numbers AS bigint[])) AND CONDITIONS
"""


class Randomiser:
    """Tosses coins for lists.

    Args:
        engine: PostgreSQL, for statements that are a transaction each.
        coins: what they are tossed with.
    """

    def __init__(self, engine: Engine, coins: CoinSource) -> None:
        self._engine = engine
        self._coins = coins

    def explored(self, listed: Listed, limit: int, policy: ExplorationPolicy) -> Offered:
        """``listed`` with a pair of neighbours or a slot drawn by ``policy``."""
        checked = self._checked(listed, max(window(limit), policy.window(limit)), limit, policy.new_item_days)
        if checked is None:
            return as_listed(listed, limit)
        alive, new = checked
        candidates = _of_list(alive, len(new), limit)
        coins = explore(candidates.scores, limit, policy, self._coins, new=new[: len(candidates.numbers)]).coins
        return _changed(alive, candidates, coins)

    def drafted(self, listed: Listed, against: Listed, limit: int, generation: str) -> Offered:
        """``listed`` merged with ``against``, what ``generation`` makes of the same ask."""
        ours, theirs = (self._checked(one, window(limit), limit, 0.0) for one in (listed, against))
        if ours is None or theirs is None:
            return as_listed(listed, limit)
        a, b = (_of_list(alive, len(checked), limit) for alive, checked in (ours, theirs))
        made = draft(a.numbers, b.numbers, limit, self._coins)
        coins = {
            "kind": TEAM_DRAFT,
            "page": limit,
            "coins": made.coins,
            "teams": list(made.teams),
            "against": generation,
            "b": b.numbers.tolist(),
            "b_scores": [round(float(score), 6) for score in b.scores],
        }
        return _changed(ours[0], a, coins, b)

    def _checked(self, listed: Listed, count: int, limit: int, new_days: float) -> tuple[Listed, Mask] | None:
        """``listed`` without those of its first ``count`` that vanished; which of the first ``count`` left are new.

        None where too few are left to fill a page although there are others behind them.
        """
        numbers = listed.order.numbers[: count + MARGIN]
        statement = listed.conditions.prepared(_ALIVE)
        values = {**listed.conditions.parameters, "numbers": numbers.tolist(), "new_s": new_days * 86_400}
        with self._engine.connect() as connection:
            new = {row.number: row.new for row in statement.rows(connection, values)}
        alive = np.array([number in new for number in numbers.tolist()], dtype=np.bool_)
        if alive.sum() < limit and not (listed.exhausted and len(numbers) == len(listed.order.numbers)):
            return None
        are_new = [new[number] for number in numbers[alive][:count].tolist()]
        return _without(listed, alive), np.array(are_new, dtype=np.bool_)


def _without(listed: Listed, alive: Mask) -> Listed:
    """``listed`` without those of its first places that are not ``alive``."""
    kept = np.concatenate([alive, np.ones(len(listed.order.numbers) - len(alive), dtype=np.bool_)])
    order = Order(listed.order.numbers[kept], listed.order.scores[kept])
    return replace(listed, order=order, relevant=int(kept[: listed.relevant].sum()))


def _of_list(alive: Listed, checked: int, limit: int) -> Order:
    """Of the first ``checked`` those that take part: what belongs to the list or fills its first page up."""
    return alive.order.first(min(checked, max(alive.relevant, limit)))


def _changed(alive: Listed, candidates: Order, coins: dict[str, Any], others: Order | None = None) -> Offered:
    """``alive`` as ``coins`` show it; ``others`` are candidates of another list, which may be shown too."""
    first = logged_order(candidates.numbers, coins)
    scores = {} if others is None else dict(zip(others.numbers.tolist(), others.scores.tolist(), strict=True))
    scores |= dict(zip(candidates.numbers.tolist(), candidates.scores.tolist(), strict=True))
    rest = ~np.isin(alive.order.numbers, first)
    order = Order(
        np.concatenate([first, alive.order.numbers[rest]]),
        np.concatenate([[scores[number] for number in first.tolist()], alive.order.scores[rest]]),
    )
    odds = logged_show_odds(candidates.numbers, candidates.scores, coins)
    LISTS_BY_COINS.labels(coins["kind"]).inc()
    added = 0 if others is None else int((~np.isin(first, alive.order.numbers[: alive.relevant])).sum())
    return Offered(order, alive.relevant + added, candidates, coins, odds.of_order(first[: odds.by_rank.shape[1]]))
