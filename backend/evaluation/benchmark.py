"""What a simulated session needs: queries with known targets, exact scores, and what the shown items hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.errors import Unprocessable
from backend.evaluation.datasets import CaptionedPhotos
from backend.evaluation.features import Features, Ints
from backend.ml.feedback.inputs import Items, ItemTokens, Matrix, Query, Tokens, Vector
from backend.ml.feedback.nnn import neighbor_bias

Scores = NDArray[np.float32]
Which = Literal["first", "all"]
"""The protocol: the first caption of each photo is a query (the paper's ``caption_0``), or every one is."""


class NothingToEvaluate(Unprocessable):
    """There is no query with a target, or too few items for a list."""

    title = "Nothing to evaluate"


class Benchmark(Protocol):
    """n queries over p items, numbered from 0.

    Attributes:
        name: for people.
        starts: (n, d) the queries' unit vectors.
        targets: of each query, the items that are right, one or more.
        size: p.
    """

    name: str
    starts: Matrix
    targets: Sequence[Ints]
    size: int

    def scores(self, queries: Ints, images: Matrix, captions: Matrix) -> Scores:
        """(len(queries), p) exact scores where the two sides are asked with ``images`` and ``captions``, a row each."""

    def bias(self, references: Matrix, k: int) -> NDArray[np.float64]:
        """(p,) what nearest-neighbour normalisation with a = 1 takes off the scores, by reference queries (r, d)."""

    def items(self, query: int, shown: Ints, now: Query) -> Items:
        """What the ``shown`` items hold, as feedback to ``query`` while its list was asked with ``now``."""

    def tokens(self, query: int, shown: Ints, now: Query) -> Tokens | None:
        """Tokens of the query's words and of the same pictures and captions; None where none were computed."""

    def words(self, query: int, turn: int) -> Vector | None:
        """Further words for the target of ``query``, in ``turn``; None where nobody wrote any."""

    def said(self, query: int) -> str:
        """The query's words."""

    def picture(self, item: int) -> Image.Image | None:
        """What ``item`` looks like, where that can be shown."""

    def title(self, item: int) -> str:
        """What ``item`` is called."""


@dataclass(frozen=True)
class _Asked:
    """A query: caption ``place`` of a photo."""

    photo: int
    place: int


class PhotoBenchmark:
    """Captions that look for their own photo among all of a split; one photo is right.

    Feedback captions are those that a model wrote. Where it wrote none, people's other captions stand in: for queries
    that are caption ``j`` of their photo, every photo of the gallery is captioned by its own caption ``j + 1`` (behind
    the last comes the first), so that no query is ever among its own feedback.

    Args:
        data: the photos.
        features: of them, by one encoder.
        which: first captions only, or all.
        most: at most so many queries, drawn at random; 0 takes all.
        seed: of that draw, and of the captions that explicit feedback is given with.

    Raises:
        NothingToEvaluate: fewer than two photos can be read, or none of them has a caption.
    """

    def __init__(
        self, data: CaptionedPhotos, features: Features, which: Which, *, most: int = 0, seed: int = 7
    ) -> None:
        self.name = f"{data.name}, {'first captions' if which == 'first' else 'all captions'}"
        self._data, self._features, self._seed = data, features, seed
        self._photos = features.gallery
        asked = [
            _Asked(int(photo), place)
            for photo in self._photos
            for place in range(len(features.captions_of(int(photo))))[: 1 if which == "first" else None]
        ]
        if most and len(asked) > most:
            chosen = np.sort(np.random.default_rng(seed).permutation(len(asked))[:most])
            asked = [asked[number] for number in chosen]
        if len(self._photos) < 2 or not asked:
            found = f"{len(self._photos)} pictures that can be read, {len(asked)} captions"
            raise NothingToEvaluate("There is nothing to rank.", found=found, expected="two pictures with captions")
        self._asked = asked
        self._images = features.images[self._photos]
        self.size = len(self._photos)
        self.starts = features.texts[[self._row(one) for one in asked]]
        places = {int(photo): place for place, photo in enumerate(self._photos)}
        self.targets: Sequence[Ints] = [np.array([places[one.photo]], dtype=np.int64) for one in asked]

    def __len__(self) -> int:
        return len(self._asked)

    def scores(self, queries: Ints, images: Matrix, captions: Matrix) -> Scores:
        """Cosines with the pictures, as in the paper: the caption side is not searched."""
        del queries, captions
        scores: Scores = images @ self._images.T
        return scores

    def bias(self, references: Matrix, k: int) -> NDArray[np.float64]:
        """Mean of the k largest cosines of references with each picture."""
        return neighbor_bias(self._images, references, k)

    def items(self, query: int, shown: Ints, now: Query) -> Items:
        """Pictures and feedback captions, ungraded."""
        del now
        rows = self.feedback_captions(query, shown)
        captions = np.where((rows >= 0)[:, None], self._features.texts[rows], np.nan).astype(np.float32)
        return Items(self._images[shown], captions, np.full(len(shown), np.nan))

    def tokens(self, query: int, shown: Ints, now: Query) -> Tokens | None:
        """Tokens of the query, the pictures and the feedback captions."""
        del now
        features = self._features
        if features.image_tokens is None:
            return None
        rows = self.feedback_captions(query, shown)
        items = tuple(
            ItemTokens(features.tokens_of_image(photo), features.tokens_of_text(row) if row >= 0 else None)
            for photo, row in zip(self._photos[shown].tolist(), rows.tolist(), strict=True)
        )
        return Tokens(features.tokens_of_text(self._row(self._asked[query])), items)

    def words(self, query: int, turn: int) -> Vector | None:
        """One of the target's other captions, drawn anew every turn."""
        one = self._asked[query]
        others = [row for row in self._features.captions_of(one.photo) if row != self._row(one)]
        if not others:
            return None
        drawn = np.random.default_rng((self._seed, one.photo, one.place, turn)).integers(len(others))
        words: Vector = self._features.texts[others[drawn]]
        return words

    def said(self, query: int) -> str:
        """The caption that asks."""
        one = self._asked[query]
        return self._data.photos[one.photo].captions[one.place]

    def picture(self, item: int) -> Image.Image | None:
        """The photo."""
        return self._data.picture(int(self._photos[item]))

    def title(self, item: int) -> str:
        """The name of its file."""
        return self._data.photos[int(self._photos[item])].name

    def feedback_captions(self, query: int, shown: Ints) -> Ints:
        """Rows of the texts that caption the ``shown`` photos in feedback to ``query``; -1 where there is none."""
        features, place = self._features, self._asked[query].place
        return np.array([_feedback_caption(features, int(photo), place) for photo in self._photos[shown]], np.int64)

    def _row(self, one: _Asked) -> int:
        return self._features.captions_of(one.photo)[one.place]


def _feedback_caption(features: Features, photo: int, place: int) -> int:
    if features.generated[photo] >= 0:
        return int(features.generated[photo])
    own = features.captions_of(photo)
    return own[(place + 1) % len(own)] if len(own) > 1 else -1
