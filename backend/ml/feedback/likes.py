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
    what is unjudged takes part, it has grade 0, and its weight, minus the sum of these, is not among them.

    Raises:
        ValueError: more than ``MOST_JUDGED`` grades, or one outside of [-1, 1].
    """
    grades = np.asarray(grades, dtype=np.float64)
    if len(grades) > MOST_JUDGED:
        raise ValueError(f"{len(grades)} judged products: expected at most {MOST_JUDGED}")
    if not (np.abs(grades) <= 1).all():
        raise ValueError(f"grades from {grades.min()} to {grades.max()}: expected -1 to 1")
    others = np.append(grades, 0.0) if likes.unjudged else grades
    weights = _powers(grades[:, None] - others[None, :], likes.b).sum(axis=1)
    return np.asarray(weights * _share(others, likes))


def pairwise_step(
    vectors: Floats, grades: Floats, likes: Likes, *, average: Floats | None = None, beside: Floats | None = None
) -> Wide:
    """The sum over pairs times c, (d,), of judged ``vectors`` (n, d), of which those that are NaN are left out.

    Where what is unjudged takes part, a like makes a pair with the average product, for it says what kind of thing is
    meant, and a dislike with what was shown beside it, for it says which of these: away from all products of its
    kind would lead away from what was asked for.

    Args:
        vectors: (n, d).
        grades: (n,) in [-1, 1].
        likes: weights.
        average: (d,) mean of the catalogue; None is the origin.
        beside: (d,) mean of the products shown that were not judged; None is ``average``.

    Raises:
        ValueError: as ``pair_weights``.
    """
    there = known(vectors)
    rows, said = np.asarray(vectors[there], dtype=np.float64), np.asarray(grades, dtype=np.float64)[there]
    step = pair_weights(said, likes) @ rows
    if likes.unjudged:
        alone = _powers(said, likes.b) * _share(np.append(said, 0.0), likes)
        beside = average if beside is None else beside
        for partner, weight in ((average, alone[said > 0].sum()), (beside, alone[said < 0].sum())):
            if partner is not None:
                step = step - weight * np.asarray(partner, dtype=np.float64)
    return np.asarray(likes.c * step)


def _powers(gaps: Wide, b: float) -> Wide:
    return np.asarray(np.sign(gaps) * np.abs(gaps) ** b)


def _share(grades: Floats, likes: Likes) -> float:
    """What one pair counts: 1, or 1 / the number of pairs."""
    if likes.pairs == "sum":
        return 1.0
    return 1.0 / max(int((np.subtract.outer(grades, grades) > 0).sum()), 1)
