"""Hard negatives: within the band of what the model ranks, and never one that may be right."""

import numpy as np

from backend.ml.hard_negatives import HardNegatives
from backend.ml.pairs import Pairs, examine


def on_a_circle(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(np.array(degrees))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def mined(pairs: Pairs, band: tuple[int, int], alike: float | None = None, margin: float = 0.0) -> HardNegatives:
    return HardNegatives.mined(
        examine(pairs),
        text=None,
        image=None,
        count=2,
        band=band,
        alike=alike,
        margin=margin,
        rng=np.random.default_rng(0),
    )


def test_they_are_of_the_band_and_none_is_of_the_same_product_or_text() -> None:
    """Pictures at 0, 10, 20, ... degrees, texts on their pictures; 0 and 10 are one product, 30 says what 0 says."""
    images = on_a_circle(*range(0, 80, 10))
    texts = images.copy()
    texts[3] = texts[0]
    pairs = Pairs(texts, images, np.arange(8), np.array([0, 0, 2, 3, 4, 5, 6, 7]))
    drawn = mined(pairs, (1, 2)).of(np.array([0]))
    assert sorted(drawn[0]) == [2, 4]  # the nearest two of 20, 40, 50, 60 and 70
    assert sorted(mined(pairs, (2, 3)).of(np.array([0]))[0]) == [4, 5]


def test_a_picture_that_the_raw_text_is_as_near_to_is_none() -> None:
    """The text at 25 degrees asks for 0, cos .906; 20 is nearer by .090, 60 and 80 are further by .087 and .333."""
    pairs = Pairs(on_a_circle(25, 60, 80, 20), on_a_circle(0, 60, 80, 20), np.arange(4), np.arange(4))
    assert sorted(mined(pairs, (1, 3)).of(np.array([0]))[0]) == [1, 2]
    assert sorted(mined(pairs, (1, 3), margin=0.1).of(np.array([0]))[0]) == [-1, 2]


def test_a_picture_that_looks_like_the_right_one_is_none() -> None:
    """cos 17 degrees is .956, cos 19 is .946."""
    pairs = Pairs(on_a_circle(-60, 40, 60), on_a_circle(0, 17, 19), np.arange(3), np.arange(3))
    assert sorted(mined(pairs, (1, 2), alike=0.95).of(np.array([0]))[0]) == [-1, 2]


def test_pictures_of_pairs_that_were_held_out_are_never_drawn() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(40, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = Pairs(vectors, vectors, np.arange(40), np.arange(40)).only(np.arange(0, 40, 2))
    drawn = mined(pairs, (1, 10)).of(pairs.rows)
    assert (drawn[drawn >= 0] % 2 == 0).all()
    assert (drawn >= 0).any()
