"""Odds of further pages: they walk on in the order that the first page's coins fixed."""

from collections.abc import Sequence

import numpy as np

from backend.events.repository import ListServed, PageServed
from backend.ml.clicks.logged import TEAM_DRAFT, logged_order, logged_show_odds
from backend.search.cursor import Cursor
from backend.search.pages import Page


def p_show_of_page(served: ListServed, pages: Sequence[PageServed], cursor: Cursor, page: Page) -> list[float] | None:
    """Chance of each product of a further ``page`` to stand where it does; None where that is not known.

    Of a list without coins it is 1. Of others it follows from what the first of its ``pages`` has on record, as long
    as nothing of the list has vanished: from then on places depend on what was shown before it did.
    """
    if served.coins is None:
        return [1.0] * len(page.rows)
    first = next((one for one in pages if one.first_position == 1), None)
    moved = cursor.offset != cursor.position - 1 or page.vanished
    if moved or first is None or first.p_show is None or first.candidates is None or first.candidate_scores is None:
        return None
    candidates = np.array(first.candidates, dtype=np.int64)
    odds = logged_show_odds(candidates, np.array(first.candidate_scores), served.coins)
    order = logged_order(candidates, served.coins)[: odds.by_rank.shape[1]]
    shown = np.array([row.number for row in page.rows], dtype=np.int64)
    known = order[cursor.offset : cursor.offset + len(shown)]
    drafted = served.coins["kind"] == TEAM_DRAFT
    if (known != shown[: len(known)]).any() or (drafted and len(known) < len(shown)):
        return None  # the catalogue has changed since, or the draft may have moved what stands that deep
    chances = np.ones(len(shown))
    chances[: len(known)] = odds.of_order(order)[cursor.offset : cursor.offset + len(known)]
    return chances.tolist()
