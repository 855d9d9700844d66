"""From answers to captions."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.catalog.captioning.captioners import PictureFailed
from backend.catalog.captioning.wording import caption_of


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        ('"A small orange plush toy."', "A small orange plush toy."),
        ("Caption: a red\n  cup ", "a red cup"),
        ("**A red cup**", "A red cup"),
        ("<think>The user wants\nfew words.</think>\n\na red cup", "a red cup"),
        ("\u201cEine rote Tasse\u201d", "Eine rote Tasse"),
        ("a\x00 red\u200b cup", "a red cup"),
        ("a red cup" + " and a saucer" * 40, ("a red cup" + " and a saucer" * 40)[:295].rpartition(" ")[0]),
        ("A Sorry! board game", "A Sorry! board game"),
    ],
)
def test_a_caption_is_the_words_alone(answer: str, caption: str) -> None:
    assert caption_of(answer).startswith(caption)
    assert len(caption_of(answer)) <= 300


@pytest.mark.parametrize("answer", ["", " \n", '""', "...", "<think>I wonder", "\ud800"])
def test_an_answer_without_words_may_be_asked_for_again(answer: str) -> None:
    with pytest.raises(PictureFailed) as failed:
        caption_of(answer)
    assert not failed.value.permanent


@pytest.mark.parametrize(
    "answer", ["I'm sorry, but I can't help.", "Sorry, no.", "I cannot see a picture", "I\u2019m unable to"]
)
def test_a_model_that_declines_is_not_asked_again(answer: str) -> None:
    with pytest.raises(PictureFailed) as failed:
        caption_of(answer)
    assert failed.value.permanent


@given(st.text(max_size=400))
def test_any_answer_gives_one_storable_line_or_none(answer: str) -> None:
    with suppress(PictureFailed):
        caption = caption_of(answer)
        assert 2 <= len(caption) <= 300
        assert "\n" not in caption
        assert "\x00" not in caption
        caption.encode()
