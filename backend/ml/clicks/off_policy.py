"""What a ranking policy would have earned, from lists that another one showed with known odds: item and position.

A list of k places shows product d_k at place k with chance p_show(k) under the policy that logged it, over its coins
and given its arm. Under the item-position model (a click depends on the product and its place alone), the click rate of
another policy π that shows the same product at the same place with chance π(k) is estimated by

    V(π) = mean over lists of  Σ_k  π(k) / p_show(k) · c_k

(inverse propensity scoring; Li et al., WWW 2018, arXiv 1804.10488, "item-position model"). It is unbiased where
p_show > 0 wherever π > 0. The logging policy's value on itself has π = p_show: its weights are 1, and its value is the
observed rate. It knows nothing of attention: where that is known, ``counterfactual.py`` needs far fewer lists.
"""

import numpy as np

from backend.ml.clicks.estimates import Estimate, Floats, Ints, estimate_of, weighted_clicks


def item_position(rewards: Floats, logged: Floats, target: Floats, clusters: Ints | None = None) -> Estimate:
    """V(π) of a policy from a log of another one.

    Its coverage is the mean weight of a place, which is 1 in expectation where the log supports the policy.

    Args:
        rewards: (n, k) reward of each place, such as its click; 0 where a list is shorter.
        logged: (n, k) p_show; NaN where a list is shorter than k. Lists whose odds are not known stay out.
        target: (n, k) chance that π shows the same product at the same place; NaN likewise.
        clusters: (n,) whose list it is; lists of one cluster are not independent. None: each its own.

    Raises:
        ValueError: the shapes differ, there is no list, or an odd of what was shown is not in (0, 1].
    """
    if not (rewards.shape == logged.shape == target.shape) or rewards.ndim != 2 or not rewards.size:
        shapes = f"{rewards.shape}, {logged.shape} and {target.shape}"
        raise ValueError(f"shapes {shapes}: expected three of (n, k) with n and k above 0")
    shown = ~np.isnan(logged)
    odds = logged[shown]
    if odds.size and not (odds.min() > 0 and odds.max() <= 1 + 1e-9):
        raise ValueError(f"p_show between {odds.min()} and {odds.max()}: expected above 0 and at most 1")
    lists = len(rewards)
    impression = np.nonzero(shown)[0]
    weights, earned = np.nan_to_num(target[shown]) / odds, rewards[shown]
    return estimate_of(
        weighted_clicks(lists, impression, weights, earned),
        weights[earned > 0],
        float(weights.sum()) / max(len(weights), 1),
        [np.arange(lists) if clusters is None else clusters],
    )
