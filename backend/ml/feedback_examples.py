"""Examples for a summarizer, made of pictures and the captions that belong to them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.ml.feedback.inputs import Matrix
from backend.ml.summarizer_examples import Examples, Rows, first_found
from backend.ml.token_table import TokenTable

SHOWN = 10
"""Items kept of each list; training takes the first K of them."""


@dataclass(frozen=True)
class CaptionedPictures:
    """m pictures and c captions of them, through a frozen encoder.

    Args:
        pictures: (m, d) unit vectors.
        patches: tokens of the pictures.
        captions: (c, d) unit vectors.
        words: tokens of the captions.
        owners: (c,) the picture that each caption belongs to.
        texts: (c,) a number for what each caption says: equal where two say the same.
    """

    pictures: Matrix
    patches: TokenTable
    captions: Matrix
    words: TokenTable
    owners: Rows
    texts: Rows

    def examples(self, chosen: NDArray[np.bool_]) -> Examples:
        """Examples over the pictures ``chosen`` (m,) alone: each of their captions looks for its own among them.

        Its feedback is what the encoder finds first for it. A picture that is shown speaks through that caption of its
        own that is nearest to the query, but never through the query itself or another caption that says the same.
        """
        places, rows = np.flatnonzero(chosen), np.flatnonzero(chosen[self.owners])
        found = first_found(self.captions[rows], self.pictures[places], SHOWN)
        shown = np.where(found < 0, -1, places[found])
        return Examples(
            words=self.words,
            asked=rows,
            targets=self.owners[rows],
            shown=shown,
            captions_shown=self._spoken(rows, shown),
            images=self.patches,
            vectors=self.pictures,
            other_captions=self._others(rows),
        )

    def _spoken(self, rows: Rows, shown: Rows) -> Rows:
        """For each query the caption (n, K) that each picture shown speaks through; -1 where it has none."""
        order = np.argsort(self.owners, kind="stable")
        starts = np.searchsorted(self.owners[order], np.arange(len(self.pictures) + 1))
        most = int(np.diff(starts).max(initial=0))
        spoken, nearest = np.full(shown.shape, -1), np.full(shown.shape, -np.inf)
        for place in range(most):
            at = starts[shown] + place
            there = (shown >= 0) & (at < starts[shown + 1])
            caption = order[np.where(there, at, 0)]
            there &= self.texts[caption] != self.texts[rows][:, None]
            cosines = np.einsum("nd,nkd->nk", self.captions[rows], self.captions[caption])
            better = there & (cosines > nearest)
            spoken[better], nearest[better] = caption[better], cosines[better]
        return spoken

    def _others(self, rows: Rows) -> Matrix:
        """For each query the mean (n, d) of its picture's other captions; its own vector where there are none."""
        sums = np.zeros((len(self.pictures), self.captions.shape[1]), np.float32)
        np.add.at(sums, self.owners, self.captions)
        others = np.bincount(self.owners, minlength=len(self.pictures))[self.owners[rows]] - 1
        means = (sums[self.owners[rows]] - self.captions[rows]) / np.maximum(others, 1)[:, None]
        kept: Matrix = np.where(others[:, None] > 0, means, self.captions[rows])
        return kept
