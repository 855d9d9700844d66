"""Pictures and captions lie in one space but apart in it: the modality gap, and the means that tell them apart."""

from dataclasses import dataclass

import numpy as np

from backend.ml.feedback.fitted import Fitted
from backend.ml.feedback.geometry import Floats, Wide, cosine, known, unit


@dataclass(frozen=True)
class Modalities:
    """Feedback vectors as they are mixed.

    Args:
        fitted: the means of both modalities; unknown ones change nothing.
        remove_mean: take them off and normalise again ("Closing the Modality Gap for Mixed Modality Search",
            arXiv 2507.19054), so that what differs between the vectors counts and not what all of a kind share.
    """

    fitted: Fitted
    remove_mean: bool

    def images(self, vectors: Floats) -> Wide:
        """Image vectors (..., d), without their mean where that is removed."""
        return self._without(vectors, self.fitted.image_mean)

    def captions(self, vectors: Floats) -> Wide:
        """Caption vectors (..., d) likewise."""
        return self._without(vectors, self.fitted.caption_mean)

    def words(self, vectors: Floats) -> Wide:
        """Vectors (..., d) of what a shopper wrote, likewise."""
        mean = self.fitted.words_mean
        return self._without(vectors, self.fitted.caption_mean if mean is None else mean)

    def query(self, vector: Floats) -> Wide:
        """A query (d,) as it compares with such vectors: without the mean of the modality that it is closer to."""
        image, caption, words = self.fitted.image_mean, self.fitted.caption_mean, self.fitted.words_mean
        if image is None or caption is None:
            return unit(vector)
        means = [caption, image] if words is None else [words, caption, image]
        return self._without(vector, max(means, key=lambda mean: cosine(vector, mean)))

    def image_side(self, images: Floats, captions: Floats) -> Wide:
        """``images`` (n, d) as mixed; where one is missing, the caption of the same product, brought to images."""
        return _filled(self.images(images), self._across(captions, self.fitted.caption_mean, self.fitted.image_mean))

    def caption_side(self, images: Floats, captions: Floats) -> Wide:
        """``captions`` (n, d) as mixed; where one is missing, the image of the same product, brought to captions."""
        return _filled(self.captions(captions), self._across(images, self.fitted.image_mean, self.fitted.caption_mean))

    def average(self, mean: Floats | None) -> Floats | None:
        """The average product on the side of ``mean`` (d,): the origin, None, where means are removed."""
        return None if self.remove_mean else mean

    def _without(self, vectors: Floats, mean: Floats | None) -> Wide:
        if not self.remove_mean or mean is None:
            return np.asarray(vectors, dtype=np.float64)
        return unit(vectors - mean)

    def _across(self, vectors: Floats, mean: Floats | None, other: Floats | None) -> Wide:
        if self.remove_mean:
            return self._without(vectors, mean)
        if mean is None or other is None:
            return np.asarray(vectors, dtype=np.float64)
        return unit(vectors - mean + other)


def _filled(own: Wide, others: Wide) -> Wide:
    return np.where(known(own)[:, None], own, others)
