"""Queries to look at: what came first before and after a method, and where the right product was."""

import numpy as np

from backend.evaluation.adapters.experiment import Outcome
from backend.evaluation.adapters.paired import PairedTexts
from backend.evaluation.examples import SHOWN, Example, Shown, thumbnail
from backend.ml.pairs import Rows


def examples(data: PairedTexts, plain: Outcome, outcome: Outcome, count: int) -> list[Example]:
    """``count`` queries each that gained most, that lost most, and that were drawn at random, of the first seed."""
    if not count:
        return []
    before, after = plain.ranks[0], outcome.ranks[0]
    change = 1 / after - 1 / before
    order = np.argsort(-change, kind="stable")
    chosen = [("best", row) for row in order[:count] if change[row] > 0]
    chosen += [("worst", row) for row in order[::-1][:count] if change[row] < 0]
    chosen += [("any", row) for row in np.random.default_rng(0).permutation(len(change))[:count]]
    return [_example(data, plain, outcome, int(place), kind) for kind, place in chosen]


def _example(data: PairedTexts, plain: Outcome, outcome: Outcome, place: int, kind: str) -> Example:
    row = int(data.pairs.rows[place])
    right = int(data.pairs.image_of[row])
    return Example(
        strategy=outcome.method,
        kind=kind,
        said=data.said[row],
        rank_before=int(plain.ranks[0][place]),
        rank_after=int(outcome.ranks[0][place]),
        before=[_shown(data, int(item), right) for item in _first(data, plain, place)],
        after=[_shown(data, int(item), right) for item in _first(data, outcome, place)],
        target=_shown(data, right, right),
    )


def _first(data: PairedTexts, outcome: Outcome, place: int) -> Rows:
    """Pictures of the first products of a list, one a product."""
    pairs, fit = data.pairs, outcome.fit_of(place)
    row = int(pairs.rows[place])
    query, gallery = pairs.texts[row : row + 1], pairs.images
    asked = query if fit.text is None else fit.text(query)
    scores = (gallery if fit.image is None else fit.image(np.ascontiguousarray(gallery))) @ asked[0]
    order = np.argsort(-scores, kind="stable")
    _, firsts = np.unique(pairs.product_of[order], return_index=True)
    return np.asarray(order[np.sort(firsts)[:SHOWN]])


def _shown(data: PairedTexts, row: int, right: int) -> Shown:
    same = bool(data.pairs.product_of[row] == data.pairs.product_of[right])
    picture = data.picture(row)
    return Shown(data.titles[row], same, "" if picture is None else thumbnail(picture))
