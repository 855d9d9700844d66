"""Team draft: two rankings merged into one list by coins, each product credited to the ranking that picked it.

Radlinski, Kurup and Joachims (CIKM 2008). As long as both rankings have the same product at the same rank, it is shown
there and credited to nobody (team N): it cannot tell them apart. From their first difference on, a coin a round says
which ranking picks first; then each picks its best product that was not picked yet. A ranking that has none left leaves
its pick to the other one.

What is picked is always A[:i] and B[:j] together, for some i and j: a ranking's best unused product is the first one
behind its own prefix. So the odds of every product at every rank are exact sums over few states, whatever the number
of coins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.exploration import CoinSource
from backend.ml.clicks.odds import Ints, ShowOdds, Wide

Team = Literal["A", "B"]
_State = tuple[int, int]

NOBODY = "N"
"""Team of products that both rankings have at the same rank before their first difference."""


@dataclass(frozen=True)
class Draft:
    """Two rankings merged.

    Args:
        items: (l,) product numbers in the order shown.
        teams: A, B or N for each.
        coins: A or B for each round, whichever picked first.
    """

    items: Ints
    teams: str
    coins: str

    def order(self, a: Ints) -> Ints:
        """The whole list: what was drafted, then the rest of ``a`` in its order."""
        return np.concatenate([self.items, a[~np.isin(a, self.items)]])


def draft(a: Ints, b: Ints, length: int, rng: CoinSource) -> Draft:
    """Merge the rankings ``a`` (n,) and ``b`` (m,), each without repetitions, into a list of up to ``length``."""
    tossed = "".join("A" if rng.random() < 0.5 else "B" for _ in range(rounds(a, b, length)))
    return drafted(a, b, length, tossed)


def rounds(a: Ints, b: Ints, length: int) -> int:
    """How many coins a list of ``length`` takes."""
    rankings = _Rankings(a, b, length)
    return (min(length, len(rankings.items)) - rankings.prefix + 1) // 2


def drafted(a: Ints, b: Ints, length: int, coins: str) -> Draft:
    """The list that ``coins`` give, A or B a round: the same inputs give the same list.

    Raises:
        ValueError: there are fewer or more coins than rounds.
    """
    if len(coins) != rounds(a, b, length) or set(coins) - {"A", "B"}:
        raise ValueError(f"coins {coins!r}: expected A or B for each of {rounds(a, b, length)} rounds")
    rankings = _Rankings(a, b, length)
    items, teams = rankings.a[: rankings.prefix], [NOBODY] * rankings.prefix
    state = rankings.start
    for first in coins:
        for team in _both(first):
            picked = rankings.pick(state, team)
            if len(items) == length or picked is None:
                break
            state, item, by = picked
            items.append(item)
            teams.append(by)
    return Draft(np.array(items, dtype=np.int64), "".join(teams), coins)


def show_odds(a: Ints, b: Ints, length: int, ranks: int | None = None) -> ShowOdds:
    """Exact chances over the coins of :func:`draft`, at the first ``ranks`` ranks; None: those drafted.

    Behind the drafted ones stands the rest of ``a``, as :meth:`Draft.order` has it.
    """
    rankings = _Rankings(a, b, length)
    ranks = length if ranks is None else ranks
    found = np.zeros((len(rankings.items), max(ranks, length)))
    same = np.arange(rankings.prefix)
    found[same, same] = 1.0
    states = {rankings.start: 1.0}
    for rank in range(len(same), length, 2):
        states = _round(rankings, states, found[:, rank : min(rank + 2, length)])
    for (i, j), chance in states.items():
        rest = i + np.flatnonzero(rankings.place_in_b[i : len(a)] >= j)
        at = length + np.arange(len(rest))
        inside = at < ranks
        found[rest[inside], at[inside]] += chance
    return ShowOdds(rankings.items, found[:, :ranks])


def _round(rankings: "_Rankings", states: dict[_State, float], columns: Wide) -> dict[_State, float]:
    """States behind a round, which fills one or two ``columns`` (m, 1 or 2)."""
    after: dict[_State, float] = {}
    for state, chance in states.items():
        for first in ("A", "B"):
            now = state
            for column, team in zip(columns.T, _both(first), strict=False):
                picked = rankings.pick(now, team)
                if picked is None:
                    break
                now = picked[0]
                column[rankings.row_of[picked[1]]] += chance / 2
            after[now] = after.get(now, 0.0) + chance / 2
    return after


def _both(first: str) -> tuple[Team, Team]:
    return ("A", "B") if first == "A" else ("B", "A")


class _Rankings:
    """Both rankings, and where each one's products stand in the other.

    A state (i, j) says that A[:i] and B[:j] are picked, and neither A[i] nor B[j].
    """

    def __init__(self, a: Ints, b: Ints, length: int) -> None:
        self.a: list[int] = np.asarray(a, dtype=np.int64).tolist()
        self.b: list[int] = np.asarray(b, dtype=np.int64).tolist()
        in_a, in_b = _places(self.a), _places(self.b)
        behind_a, behind_b = len(self.a), len(self.b)  # later than all: never picked as the other ranking's prefix
        self._place_in_a = [in_a.get(item, behind_a) for item in self.b]
        self._place_in_b = [in_b.get(item, behind_b) for item in self.a]
        self.row_of = in_a | {
            item: behind_a + place for place, item in enumerate(item for item in self.b if item not in in_a)
        }
        self.items: Ints = np.array(list(self.row_of), dtype=np.int64)
        self.place_in_b: NDArray[Any] = np.array(self._place_in_b, dtype=np.int64)
        pairs = zip(self.a, self.b, strict=False)
        differ = (place for place, (one, other) in enumerate(pairs) if one != other)
        self.prefix = min(length, next(differ, min(len(self.a), len(self.b))))

    @property
    def start(self) -> _State:
        """What is picked once the common prefix is shown."""
        return self._skipped(self.prefix, self.prefix)

    def pick(self, state: _State, team: Team) -> tuple[_State, int, Team] | None:
        """The state behind a pick of ``team``, what is picked, and by whom; None: nothing is left."""
        i, j = state
        left_a, left_b = i < len(self.a), j < len(self.b)
        if not (left_a or left_b):
            return None
        if (team == "A" and left_a) or not left_b:
            return self._skipped(i + 1, j), self.a[i], "A"
        return self._skipped(i, j + 1), self.b[j], "B"

    def _skipped(self, i: int, j: int) -> _State:
        """``i`` and ``j``, moved behind what the other ranking has picked."""
        while i < len(self.a) and self._place_in_b[i] < j:
            i += 1
        while j < len(self.b) and self._place_in_a[j] < i:
            j += 1
        return i, j


def _places(items: Sequence[int]) -> dict[int, int]:
    found = {item: place for place, item in enumerate(items)}
    if len(found) < len(items):
        raise ValueError(f"a ranking of {len(items)} with {len(found)} different products: expected no repetitions")
    return found
