"""Exploration: small changes to a ranking by coins, whose odds are known, so that clicks tell positions from relevance.

One list gets at most one of two changes.

* *Pair*: a rank k of the page's 1 to K - 1 is drawn with weight 1 / sqrt(k), and the products at k and k + 1 change
  places on heads (FairPairs, Radlinski and Joachims, AAAI 2006, which pairs all neighbours; here one pair a list).
  k and the coin are logged whichever way it falls: both outcomes are data.
* *Slot*: with chance ``slot_chance`` a product from behind the page, rank r > K, is put at a slot s drawn evenly from
  ``slot_from`` to K; those from s to r - 1 move back by one. r is the first draw of a Plackett-Luce model over the
  scores, P(r) ~ exp(score_r / temperature); with chance ``new_item_share`` only products new to the catalogue are drawn
  from, where there are any. Every candidate has a chance to be seen, which policy-aware propensities need (Oosterhuis
  and de Rijke, SIGIR 2020, arXiv 2005.09035).

Ranks are 1-based in what is logged and 0-based in arrays. Whatever is drawn, the products that were not drawn keep
their order.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.odds import Ints, Wide

Mask = NDArray[np.bool_]


NEW_DAYS = 14.0
"""Days for which a product counts as new, from when it came into the catalogue."""


class CoinSource(Protocol):
    """What coins are tossed with, such as ``random.Random``."""

    def random(self) -> float:
        """A number from 0 up to 1, evenly."""
        ...


@dataclass(frozen=True)
class ExplorationPolicy:
    """How the lists of an exploring session are changed.

    Args:
        pair_share: chance of the pair rather than the slot, 0 to 1.
        slot_from: first rank that a product from behind the page may take, from 2.
        depth: candidates that take part, from 2; more where pages are longer (:meth:`window`).
        temperature: of the draw from behind the page, above 0; the larger, the more even.
        slot_chance: chance that a list drawn for the slot is changed, 0 to 1.
        new_item_share: chance that only new products are drawn from, 0 to 1.
        new_item_days: days that a product counts as new, 0 or more.
    """

    pair_share: float = 0.5
    slot_from: int = 6
    depth: int = 50
    temperature: float = 0.05
    slot_chance: float = 0.5
    new_item_share: float = 0.5
    new_item_days: float = NEW_DAYS

    def __post_init__(self) -> None:
        for name in ("pair_share", "slot_chance", "new_item_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)}: expected 0 to 1")
        for name in ("slot_from", "depth"):
            if not 2 <= getattr(self, name) <= 1000:
                raise ValueError(f"{name} {getattr(self, name)}: expected 2 to 1000")
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature {self.temperature}: expected a finite number above 0")
        if not (np.isfinite(self.new_item_days) and self.new_item_days >= 0):
            raise ValueError(f"new_item_days {self.new_item_days}: expected a finite number of 0 or more")

    def window(self, page: int) -> int:
        """How many of the first candidates take part where a page shows ``page``."""
        return max(self.depth, 2 * page)

    def to_json(self) -> dict[str, float | int]:
        """JSON object of keyword arguments that make an equal policy."""
        return asdict(self)


@dataclass(frozen=True)
class Explored:
    """A ranking after the coins.

    Args:
        order: (n,) place in the ranking before of what is shown at each place now; a permutation.
        coins: what was drawn, a JSON object from which :func:`logged_odds` tells the odds again.
    """

    order: Ints
    coins: dict[str, Any]


def explore(
    scores: NDArray[np.floating[Any]],
    page: int,
    policy: ExplorationPolicy,
    rng: CoinSource,
    *,
    new: Mask | None = None,
) -> Explored:
    """Change a ranking by coins.

    Args:
        scores: (n,) of the candidates that take part, best first as they would be shown.
        page: how many of them the page shows, 1 or more.
        policy: how.
        rng: the coins.
        new: (n,) which candidates are new to the catalogue; None: none is.
    """
    coins = _tossed(_Odds.of(scores, page, policy, new), policy, rng)
    coins |= {
        "page": page,
        "policy": policy.to_json(),
        "new": [] if new is None else (np.flatnonzero(new) + 1).tolist(),
    }
    return Explored(order_of(len(scores), coins), coins)


def order_of(n: int, coins: Mapping[str, Any]) -> Ints:
    """(n,) place in the ranking before of what ``coins`` show at each place."""
    order = np.arange(n)
    if coins["kind"] == "pair" and coins["swapped"]:
        k = coins["k"]
        order[[k - 1, k]] = k, k - 1
    if coins["kind"] == "slot" and coins["slot"] is not None:
        taken = coins["from"] - 1
        order = np.insert(np.delete(order, taken), coins["slot"] - 1, taken)
    return order


def odds(scores: NDArray[np.floating[Any]], page: int, policy: ExplorationPolicy, *, new: Mask | None = None) -> Wide:
    """(n, n) chance that :func:`explore` shows the candidate of each place before (row) at each place (column).

    Rows and columns sum to 1.
    """
    return _Odds.of(scores, page, policy, new).matrix()


def logged_odds(scores: NDArray[np.floating[Any]], coins: Mapping[str, Any]) -> Wide:
    """:func:`odds` of a list that was served, from its candidates' ``scores`` (n,) and its ``coins``."""
    new = np.zeros(len(scores), dtype=np.bool_)
    new[np.array(coins["new"], dtype=np.int64) - 1] = True
    return odds(scores, coins["page"], ExplorationPolicy(**coins["policy"]), new=new)


def expected_loss(
    gains: NDArray[np.floating[Any]],
    scores: NDArray[np.floating[Any]],
    page: int,
    policy: ExplorationPolicy,
    *,
    new: Mask | None = None,
) -> float:
    """DCG of the page that :func:`explore` costs on average, for candidates' ``gains`` (n,); negative: it wins some."""
    before = discounts(min(page, len(gains)), len(gains))
    return float(np.asarray(gains, dtype=np.float64) @ (before - odds(scores, page, policy, new=new) @ before))


@dataclass(frozen=True)
class CostBound:
    """The most that one list of an exploring session loses on average, whatever its scores are.

    Args:
        dcg: DCG of the page, for any gains from 0 to 1.
        share: of the page's own DCG, for any gains that do not increase down the ranking.
    """

    dcg: float
    share: float


def cost_bound(page: int, policy: ExplorationPolicy) -> CostBound:
    """Bounds on :func:`expected_loss` of pages that show ``page``; some gains reach each.

    The loss is linear in the gains, and the coefficients of the page's own products do not depend on scores; those of
    the products behind it are never positive. So the first bound is the sum of the positive coefficients. Gains that
    do not increase are sums of "the first j count alike", so the second is the largest ratio over those.
    """
    before = discounts(page, page + 1)
    lost = (before - odds(np.zeros(page + 1), page, policy) @ before)[:page]
    share = np.cumsum(lost) / np.cumsum(before[:page])
    return CostBound(dcg=float(lost.clip(min=0.0).sum()), share=float(max(share.max(), 0.0)))


def discounts(page: int, n: int) -> Wide:
    """(n,) what a gain counts at each place of a list whose first ``page`` are seen: 1 / log2(rank + 1), then 0."""
    found = np.zeros(n)
    found[:page] = 1.0 / np.log2(np.arange(2, page + 2))
    return found


@dataclass(frozen=True)
class _Odds:
    """Chances of everything that may be drawn for one ranking.

    Args:
        n: candidates.
        page: how many of them are on the page.
        pair_share: chance of the pair; 1 or 0 where only one of both is possible.
        pair: (page - 1,) chance of each pair.
        slots: how many slots there are, the last ones of the page; 0 where none is possible.
        slot_chance: chance that one is filled.
        new_share: chance that it is filled by a new product.
        tail_any: (n - page,) chance of each candidate behind the page.
        tail_new: (n - page,) likewise where only new ones are drawn from.
    """

    n: int
    page: int
    pair_share: float
    pair: Wide
    slots: int
    slot_chance: float
    new_share: float
    tail_any: Wide
    tail_new: Wide

    @classmethod
    def of(cls, scores: NDArray[np.floating[Any]], page: int, policy: ExplorationPolicy, new: Mask | None) -> "_Odds":
        if page < 1:
            raise ValueError(f"page {page}: expected 1 or more")
        if new is not None and len(new) != len(scores):
            raise ValueError(f"new of {len(new)} candidates: expected {len(scores)}, one for each score")
        # as kept with the list: from what is logged the same odds follow
        kept = np.asarray(scores, dtype=np.float32).astype(np.float64)
        n = len(kept)
        shown = min(page, n)
        new = np.zeros(n, dtype=np.bool_) if new is None else new
        pair = 1.0 / np.sqrt(np.arange(1, shown))
        slots = max(0, shown - policy.slot_from + 1) if n > shown else 0
        behind = kept[shown : policy.window(page)]
        tail = np.zeros(n - shown)  # what stands behind the window is never drawn
        tail[: len(behind)] = np.exp((behind - behind.max(initial=-np.inf)) / policy.temperature)
        tail_new = tail * new[shown:]
        return cls(
            n=n,
            page=shown,
            pair_share=policy.pair_share if len(pair) and slots else float(len(pair) > 0),
            pair=pair / pair.sum() if len(pair) else pair,
            slots=slots,
            slot_chance=policy.slot_chance,
            new_share=policy.new_item_share if tail_new.sum() > 0 else 0.0,
            tail_any=tail / tail.sum() if len(tail) else tail,
            tail_new=tail_new / tail_new.sum() if tail_new.sum() > 0 else tail_new,
        )

    def matrix(self) -> Wide:
        found = np.eye(self.n)
        k = np.arange(len(self.pair))
        half = self.pair_share * self.pair / 2
        found[k, k] -= half
        found[k + 1, k + 1] -= half
        found[k, k + 1] += half
        found[k + 1, k] += half
        filled = (1 - self.pair_share) * self.slot_chance if self.slots else 0.0
        if not filled:
            return found
        first = self.page - self.slots
        tail = self.new_share * self.tail_new + (1 - self.new_share) * self.tail_any
        # a candidate moves back by one where the slot is at or before it and what fills it comes from behind it
        moved = np.zeros(self.n)
        moved[first : self.page] = filled * np.arange(1, self.slots + 1) / self.slots
        up_to = np.cumsum(tail)
        moved[self.page :] = filled * (up_to[-1] - up_to)  # exactly 0 where nothing that is drawn is behind
        place = np.arange(self.n - 1)
        found[place, place] -= moved[:-1]
        found[place, place + 1] += moved[:-1]
        behind = np.arange(self.page, self.n)
        found[behind, behind] -= filled * tail
        found[self.page :, first : self.page] += (filled * tail / self.slots)[:, None]
        return found


def _tossed(odds: _Odds, policy: ExplorationPolicy, rng: CoinSource) -> dict[str, Any]:
    """What is drawn, ranks 1-based."""
    if not len(odds.pair) and not odds.slots:
        return {"kind": "none"}
    if rng.random() < odds.pair_share:
        return {"kind": "pair", "k": 1 + _drawn(odds.pair, rng), "swapped": rng.random() < 0.5}
    if rng.random() >= policy.slot_chance:
        return {"kind": "slot", "slot": None, "from": None, "pool": None}
    slot = odds.page - odds.slots + int(rng.random() * odds.slots)
    from_new = rng.random() < odds.new_share
    taken = odds.page + _drawn(odds.tail_new if from_new else odds.tail_any, rng)
    return {"kind": "slot", "slot": slot + 1, "from": taken + 1, "pool": "new" if from_new else "any"}


def _drawn(chances: Wide, rng: CoinSource) -> int:
    """A place of ``chances`` (n,), which sum to 1, drawn by them; never one of chance 0."""
    sums = np.cumsum(chances)
    place = int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
    return min(place, int(np.flatnonzero(chances)[-1]))  # a product may be rounded up to the whole sum
