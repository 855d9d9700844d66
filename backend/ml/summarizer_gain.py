"""What a summarizer gains: the rank of the right picture before and after one turn of feedback from the list alone."""

from dataclasses import dataclass

import numpy as np

from backend.ml.feedback.inputs import Feedback, Items, ItemTokens, Matrix, Query, Summarizer, Tokens
from backend.ml.feedback.policy import Policy
from backend.ml.feedback.update import refine
from backend.ml.metrics import Interval, paired_bootstrap, reciprocal_rank, target_ranks
from backend.ml.summarizer_examples import Examples, Rows
from backend.ml.token_table import TokenTable

DEPTH = 5


@dataclass(frozen=True)
class Gain:
    """Mean reciprocal rank at 5 over queries, before and after, and the interval of the mean difference."""

    queries: int
    before: float
    after: float
    difference: Interval


def measure_gain(
    summarizer: Summarizer, examples: Examples, queries: Matrix, captions: Matrix, gallery: Rows, *, most: int = 500
) -> Gain:
    """The gain of ``afs`` as published over some of the examples, drawn with a fixed seed.

    Args:
        summarizer: what is measured.
        examples: not those that it learned from.
        queries: (n, d) unit vectors of their queries.
        captions: (c, d) unit vectors of what ``examples.captions_shown`` points to.
        gallery: pictures that are searched, in ascending order.
        most: queries measured.
    """
    rows = np.sort(np.random.default_rng(7).permutation(len(examples.asked))[:most])
    moved = np.stack([_refined(summarizer, examples, queries[row], captions, int(row)) for row in rows])
    places = np.searchsorted(gallery, examples.targets[rows])
    before, after = (
        reciprocal_rank(target_ranks(asked @ examples.vectors[gallery].T, places), DEPTH)
        for asked in (queries[rows], moved)
    )
    return Gain(len(rows), float(before.mean()), float(after.mean()), paired_bootstrap(after, before))


def _refined(summarizer: Summarizer, examples: Examples, query: Matrix, captions: Matrix, row: int) -> Matrix:
    """Where ``query`` (d,) goes after one turn, by its picture side."""
    policy = Policy(strategy="afs")
    shown = examples.shown[row, : policy.k]
    said = np.full(len(shown), -1) if examples.captions_shown is None else examples.captions_shown[row, : policy.k]
    items = Items(
        np.where((shown >= 0)[:, None], examples.vectors[shown], np.nan).astype(np.float32),
        np.where((said >= 0)[:, None], captions[said], np.nan).astype(np.float32),
        np.full(len(shown), np.nan),
    )
    tokens = Tokens(
        _rows(examples.words, int(examples.asked[row])),
        tuple(
            ItemTokens(
                None if examples.images is None or picture < 0 else _rows(examples.images, int(picture)),
                None if caption < 0 else _rows(examples.words, int(caption)),
            )
            for picture, caption in zip(shown, said, strict=True)
        ),
    )
    start = Query(query, query)
    moved: Matrix = refine(policy, start, start, Feedback(items, tokens=tokens), summarizer=summarizer).query.image
    return moved


def _rows(table: TokenTable, subject: int) -> Matrix:
    """Tokens (L, D) of one subject."""
    rows: Matrix = table.take(np.array([subject])).dense()[0][0].numpy()
    return rows
