import numpy as np
import pytest

from backend.ml.feedback_examples import CaptionedPictures
from backend.ml.summarizer_examples import first_found
from backend.ml.token_table import TokenTable


def unit(*rows: tuple[float, float]) -> np.ndarray:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def held() -> CaptionedPictures:
    """Three pictures: the first with two captions and a repetition, the second with one, the third with none."""
    pictures = unit((1, 0), (1, 1), (0, 1))
    captions = unit((1, 0.1), (1, 0.3), (0.6, 1), (1, 0.1))
    tokens = TokenTable.of([one[None] for one in captions], 2)
    owners, texts = np.array([0, 0, 1, 0]), np.array([10, 11, 12, 10])
    return CaptionedPictures(
        pictures, TokenTable.of([one[None] for one in pictures], 2), captions, tokens, owners, texts
    )


def test_a_caption_looks_for_its_picture_and_never_meets_itself(held: CaptionedPictures) -> None:
    found = held.examples(np.ones(3, bool))
    assert found.asked.tolist() == [0, 1, 2, 3]
    assert found.targets.tolist() == [0, 0, 1, 0]
    assert found.shown[:, :3].tolist() == [[0, 1, 2], [0, 1, 2], [1, 2, 0], [0, 1, 2]]
    assert found.shown[:, 3:].max() == -1
    assert found.captions_shown is not None
    # caption 0 and its repetition 3 are answered by 1, caption 1 by 0, and the only caption of picture 1 by nothing
    assert found.captions_shown[:, :3].tolist() == [[1, 2, -1], [0, 2, -1], [-1, -1, 1], [1, 2, -1]]


def test_only_what_is_chosen_is_asked_for_and_shown(held: CaptionedPictures) -> None:
    found = held.examples(np.array([False, True, True]))
    assert found.asked.tolist() == [2]
    assert found.shown[0, :3].tolist() == [1, 2, -1]


def test_the_mean_of_the_other_captions(held: CaptionedPictures) -> None:
    others = held.examples(np.ones(3, bool)).other_captions
    assert others is not None
    np.testing.assert_allclose(others[1], held.captions[[0, 3]].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(others[2], held.captions[2])  # it has no other


def test_first_found_is_a_sort_in_blocks() -> None:
    rng = np.random.default_rng(1)
    queries, pictures = rng.normal(size=(7, 4)).astype(np.float32), rng.normal(size=(9, 4)).astype(np.float32)
    expected = np.argsort(-queries @ pictures.T, axis=1)[:, :4]
    assert np.array_equal(first_found(queries, pictures, 4, at_once=3), expected)
    assert first_found(queries, pictures, 12)[0, 9:].tolist() == [-1] * 3
