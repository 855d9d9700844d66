"""A benchmark as a summarizer learns from it: pictures with the captions that people wrote of them."""

import numpy as np

from backend.evaluation.features import Features
from backend.ml.encoder import Encoder
from backend.ml.feedback_examples import CaptionedPictures
from backend.ml.token_table import TokenTable


def captioned_pictures(features: Features, encoder: Encoder) -> CaptionedPictures:
    """Pictures that can be read, with all captions of theirs, those that a model wrote included.

    Tokens are kept as the token store keeps them by default, int8.
    """
    photos = features.gallery
    rows, owners = list[int](), list[int]()
    for place, photo in enumerate(photos):
        own = [
            *features.captions_of(int(photo)),
            *([features.generated[photo]] if features.generated[photo] >= 0 else []),
        ]
        rows += [int(row) for row in own]
        owners += [place] * len(own)
    return CaptionedPictures(
        pictures=features.images[photos],
        patches=TokenTable.of((features.tokens_of_image(int(photo)) for photo in photos), encoder.layout.width),
        captions=features.texts[rows],
        words=TokenTable.of((features.tokens_of_text(row) for row in rows), encoder.word_width),
        owners=np.array(owners, np.int64),
        texts=_same(features.texts[rows]),
    )


def _same(vectors: "np.ndarray[tuple[int, int], np.dtype[np.float32]]") -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """A number for each row, equal for equal rows: the encoder gives one text one vector."""
    return np.asarray(np.unique(vectors, axis=0, return_inverse=True)[1].reshape(-1), np.int64)
