"""Graded likes and dislikes as pairs: what is better, minus what is worse.

score(x) = a s(q, x) + sum over pairs with r_i > r_j of (r_i - r_j)^b c [s(x_i, x) - s(x_j, x)], the form that Qdrant
calls relevance feedback. With a dot product it is linear in x, so it equals one query vector and works on any index.
"""

import numpy as np

from backend.ml.feedback.geometry import Floats, Wide, known
from backend.ml.feedback.policy import Likes

MOST_JUDGED = 100
"""Products judged in one session: pairs grow with their square."""


def pair_weights(grades: Floats, likes: Likes) -> Wide:
    """What each of n judged products weighs in the sum over pairs: ``grades`` (n,) in [-1, 1] to weights (n,).

    Written as a sum over products, the pairs are sum_i W_i x_i with W_i = sum_j sign(r_i - r_j) |r_i - r_j|^b. Where
    the average product takes part, it has grade 0, and its weight, minus the sum of these, is not among them.

    Raises:
        ValueError: more than ``MOST_JUDGED`` grades, or one outside of [-1, 1].
    """
    grades = np.asarray(grades, dtype=np.float64)
    if len(grades) > MOST_JUDGED:
        raise ValueError(f"{len(grades)} judged products: expected at most {MOST_JUDGED}")
    if not (np.abs(grades) <= 1).all():
        raise ValueError(f"grades from {grades.min()} to {grades.max()}: expected -1 to 1")
    others = np.append(grades, 0.0) if likes.average_product else grades
    gaps = grades[:, None] - others[None, :]
    weights = (np.sign(gaps) * np.abs(gaps) ** likes.b).sum(axis=1)
    if likes.pairs == "mean":
        ties = np.subtract.outer(others, others)
        weights /= max(int((ties > 0).sum()), 1)
    return np.asarray(weights)


def pairwise_step(vectors: Floats, grades: Floats, likes: Likes, average: Floats | None) -> Wide:
    """The sum over pairs times c, (d,), of judged ``vectors`` (n, d), of which those that are NaN are left out.

    ``average`` (d,) is the average product; unknown, it is the origin.
    """
    there = known(vectors)
    rows = np.asarray(vectors[there], dtype=np.float64)
    weights = pair_weights(np.asarray(grades)[there], likes)
    step = weights @ rows
    if likes.average_product and average is not None:
        step = step - weights.sum() * np.asarray(average, dtype=np.float64)
    return np.asarray(likes.c * step)
