"""A click log as the estimators read it: impressions, what was in view, and the attention of each policy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backend.ml.clicks.attention import (
    Attention,
    Bools,
    Floats,
    Ints,
    Pairs,
    blocks,
    logged_attention,
    policy_attention,
    shown_pairs,
    usable_lists,
)
from backend.ml.clicks.click_log import ClickLog
from backend.ml.clicks.counterfactual import Log

Reward = Literal["clicked", "satisfied", "label"]


@dataclass(frozen=True)
class PolicyLog:
    """Lists of a log beside policies that they did not follow.

    Args:
        log: for the estimators.
        pairs: (p,) which pairs of query and product its columns are of.
        attention: omega (p,) of each policy, by name.
    """

    log: Log
    pairs: Pairs
    attention: Mapping[str, Floats]


def policy_log(
    log: ClickLog,
    attention: Attention,
    tops: Mapping[str, NDArray[np.integer]],
    *,
    lists: Bools | None = None,
    reward: Reward = "clicked",
) -> PolicyLog:
    """Everything that is needed to value the policies of ``tops`` by what was clicked.

    Args:
        log: the lists; those with unknown odds are left out.
        attention: of places in its contexts.
        tops: (q, k) by name: rows in the gallery that each policy shows for each query of the log, -1 for none.
        lists: (m,) which of the lists count, such as those of judged queries; None: all.
        reward: what is counted.
    """
    chosen = usable_lists(log) if lists is None else usable_lists(log) & lists
    logged, rho = logged_attention(log, attention, chosen)
    pairs = shown_pairs(log, logged, chosen, *tops.values())
    products = len(log.products)
    of_pairs = np.zeros(len(pairs.query))
    of_pairs[np.searchsorted(pairs.keys(products), logged.keys(products))] = rho
    return PolicyLog(
        _log(log, attention, chosen, pairs, of_pairs, reward),
        pairs,
        {name: policy_attention(log, attention, chosen, top, pairs) for name, top in tops.items()},
    )


def _log(log: ClickLog, attention: Attention, chosen: Bools, pairs: Pairs, rho: Floats, reward: Reward) -> Log:
    products = len(log.products)
    own, number = pairs.keys(products), np.cumsum(chosen) - 1
    parts: list[tuple[Ints, Ints, Floats, Floats]] = []
    for lists, rows, of_list in blocks(log):
        kept = np.flatnonzero((log.rows.viewed[rows] | log.rows.clicked[rows]) & chosen[lists][of_list])
        query = log.lists.query[lists].astype(np.int64)[of_list[kept]]
        keys = query * products + log.rows.product[rows][kept]
        pair = np.searchsorted(own, keys)
        # a chance so small that the record of the coins leaves it out
        known = (pair < len(own)) & (own[np.minimum(pair, max(len(own) - 1, 0))] == keys)
        known[known] = rho[pair[known]] > 0
        kept, pair = kept[known], pair[known]
        alpha = attention.theta[log.lists.context[lists][of_list[kept]], log.rows.position[rows][kept] - 1]
        earned = getattr(log.rows, reward)[rows][kept].astype(np.float64)
        parts.append((number[lists][of_list[kept]], pair, earned, alpha))
    impression, pair, earned, alpha = (
        np.concatenate([one[column] for one in parts]) if parts else np.zeros(0, kind)
        for column, kind in enumerate((np.int64, np.int64, np.float64, np.float64))
    )
    unit = log.lists.unit[chosen].astype(np.int64)
    return Log(log.lists.query[chosen].astype(np.int64), unit, _fold(unit), impression, pair, earned, alpha,
               pairs.query, rho)  # fmt: skip


def _fold(unit: Ints) -> Ints:
    """(m,) 0 or 1 by a mix of the shopper's number."""
    mixed = (unit.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(63)).astype(np.int64)
