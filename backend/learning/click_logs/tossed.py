"""Lists whose order had coins in it: what else could have been shown where, and with which chance."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from backend.learning.adapter_data import Told
from backend.learning.click_logs.chosen import OF_DAYS, Window, parameters
from backend.learning.click_logs.columns import Table
from backend.learning.click_logs.gallery import Shelf
from backend.ml.clicks.logged import logged_show_odds

AT_ONCE = 500
"""Lists that are read at a time."""

LEAST_CHANCE = 1e-6
"""Chances below are left out of the record."""


def write_coins(
    session: Session, folder: Path, shelf: Shelf, kept: NDArray[np.int32], window: Window, told: Told
) -> int:
    """Write the coins of the lists that are ``kept`` (number of each list in the log, or -1); how many there are.

    Their odds are told by what was logged with each, by the same functions that tossed the coins.
    """
    table, done = Table(folder, "coins"), 0
    total = session.scalars(text("SELECT count(*) FROM night_lists WHERE reason IS NULL AND tossed")).one()
    result = session.execute(
        _TOSSED, parameters(window), execution_options={"stream_results": True, "max_row_buffer": AT_ONCE}
    )
    for part in result.partitions(AT_ONCE):
        chosen = [row for row in part if kept[row.list] >= 0]
        found = [_odds(row.candidates, row.candidate_scores, row.coins, row.length) for row in chosen]
        table.append({"list": np.array([kept[row.list] for row in chosen], dtype=np.int64)})
        place = [np.full(len(product), done + at, dtype=np.int32) for at, (product, _, _) in enumerate(found)]
        if found:
            product, rank, chance = (np.concatenate([one[n] for one in found]) for n in range(3))
            places, of = shelf.places(product), np.concatenate(place)
            known = places >= 0
            table.append({"of": of[known], "product": places[known], "rank": rank[known], "chance": chance[known]})
        done += len(chosen)
        told("Coins", done, total)
    table.close()
    return done


def _odds(
    candidates: list[int], scores: list[float], coins: dict[str, object], length: int
) -> tuple[NDArray[np.int64], NDArray[np.int16], NDArray[np.float32]]:
    """Product number, rank and chance of whatever the first ``length`` places could have shown."""
    odds = logged_show_odds(np.array(candidates, dtype=np.int64), np.array(scores, dtype=np.float32), coins)
    by_rank = odds.by_rank[:, :length]
    item, rank = np.nonzero(by_rank > LEAST_CHANCE)
    return odds.items[item], (rank + 1).astype(np.int16), by_rank[item, rank].astype(np.float32)


# in the order of the log
_TOSSED = text(
    f"""
    SELECT l.list, s.coins, p.candidates, p.candidate_scores, l.length
    FROM night_lists l JOIN served_lists s ON s.query_id = l.query_id AND s.served_on = l.served_on
    JOIN served_pages p ON p.query_id = l.query_id AND p.served_on = l.served_on AND p.first_position = 1
    WHERE {OF_DAYS.replace("R.", "s.")} AND {OF_DAYS.replace("R.", "p.")}
      AND l.reason IS NULL AND l.tossed AND p.candidates IS NOT NULL AND p.candidate_scores IS NOT NULL
    ORDER BY l.list
    """  # noqa: S608  made of constants
)
