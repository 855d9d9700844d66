"""Heat maps are warm where a summarizer looked and leave the picture as it is elsewhere."""

import io

import numpy as np
import pytest
from PIL import Image

from backend.search.explanations.overlay import as_png, heat_map, overlay

QUARTER = np.zeros((32, 32), np.float32)
QUARTER[:16, :16] = 1


def test_heat_is_opaque_by_its_degree_and_nothing_where_it_is_cold() -> None:
    opacity = np.asarray(heat_map(np.linspace(0, 1, 101, dtype=np.float32)[None]))[0, :, 3].astype(int)
    assert (opacity[0], opacity[-1]) == (0, 205)
    assert (np.diff(opacity) >= 0).all()


def test_a_picture_stays_as_it_is_where_it_is_cold_and_comes_as_png() -> None:
    picture = Image.new("RGB", (32, 32), (10, 200, 30))
    drawn = Image.open(io.BytesIO(as_png(overlay(picture, QUARTER))))
    assert (drawn.format, drawn.mode, drawn.size) == ("PNG", "RGB", (32, 32))
    pixels = np.asarray(drawn)
    assert (pixels[16:] == (10, 200, 30)).all()
    assert (pixels[:16, 16:] == (10, 200, 30)).all()
    # 205 of 255 parts of (176, 0, 66), the rest the picture
    np.testing.assert_allclose(pixels[:16, :16].reshape(-1, 3).mean(axis=0), (143.4, 39.2, 58.9), atol=1)


@pytest.mark.parametrize("saliency", [np.array([[1.2]]), np.array([[np.nan]]), np.ones(4), np.ones((0, 3))])
def test_what_is_no_saliency_is_refused(saliency: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected a table of numbers in"):
        heat_map(saliency.astype(np.float32))
