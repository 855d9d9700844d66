"""Saliency maps show what was attended to, where it is on the picture and in the words of the caption."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.ml.encoder import Encoder, load_encoder
from backend.ml.image_tower import PatchLayout
from backend.ml.regions import Framing
from backend.ml.saliency import over_picture, patch_saliency, word_saliency
from backend.ml.word_spans import WordSpan, word_spans
from tests.fixtures.encoders import write_encoder
from tests.ml.test_encoder_families import TINY_SIGLIP

LAYOUT = PatchLayout(rows=2, columns=3, prefix=1, width=4)


def test_patches_of_all_items_share_one_scale_and_cls_has_none() -> None:
    """Of 1..11 without the CLS tokens' 99 and 0: (x - 1) / 10."""
    first, second = np.array([99.0, 1, 2, 3, 4, 5, 6]), np.array([0.0, 11, 6, 6, 6, 6, 6])
    grids = patch_saliency([first, np.zeros(0), second, np.array([7.0])], LAYOUT)
    assert grids[0] == pytest.approx(np.array([[0, 0.1, 0.2], [0.3, 0.4, 0.5]]))
    assert grids[2] == pytest.approx(np.array([[1, 0.5, 0.5], [0.5, 0.5, 0.5]]))
    assert (grids[1], grids[3]) == (None, None)  # no picture; pooled


def test_a_word_gets_what_its_pieces_got() -> None:
    """Sums .1 + .2, .05 and .4; then (x - .05) / .35."""
    words = [[WordSpan(0, 5, (1, 2)), WordSpan(6, 9, (3,))], [WordSpan(0, 3, (0,))]]
    first, second = word_saliency([np.array([0.9, 0.1, 0.2, 0.05]), np.array([0.4])], words)
    assert first == pytest.approx([0.25 / 0.35, 0])
    assert second == pytest.approx([1])


def test_even_attention_is_no_saliency() -> None:
    grids = patch_saliency([np.full(7, 0.1)], LAYOUT)
    assert grids[0] is not None
    assert not grids[0].any()
    assert word_saliency([np.zeros(0)], [[]])[0].shape == (0,)


def test_a_map_lies_where_the_encoder_looked() -> None:
    """Of 40 x 20 the middle 20 x 20 is seen: half a patch of 10 inside its middle the value is that of the patch."""
    grid = np.array([[0, 1], [0.5, 0]], np.float32)
    drawn = over_picture(grid, Framing(8, 8, "shortest"), (40, 20))
    assert drawn.shape == (20, 40)
    assert not drawn[:, :10].any()
    assert not drawn[:, 30:].any()
    assert drawn[2, 27] == 1
    assert drawn[17, 12] == 0.5
    assert drawn[2, 20] == pytest.approx(0.55)  # linear from 0 at 15 to 1 at 25; the pixel's centre is at 20.5
    assert over_picture(grid, Framing(8, 8, "longest"), (40, 20))[:, 0].any()


def spanned(encoder: Encoder, text: str) -> list[tuple[str, int]]:
    """Words as they stand in the text, and how many pieces each has."""
    pieces = encoder.word_pieces(text)
    assert len(pieces) == len(encoder.encode_texts_with_tokens([text]).tokens[0])
    return [(text[word.start : word.end], len(word.tokens)) for word in word_spans(text, pieces)]


def test_words_have_all_their_pieces_and_stand_where_they_were_written(tiny_encoder: Encoder) -> None:
    """With 1,000 merges few words are whole: "the" and "a" are, "plush" is not."""
    text = "The PLUSH\ttoy, a T-shirt: Größe 42!"
    found = dict(spanned(tiny_encoder, text))
    assert list(found) == ["The", "PLUSH", "toy", "a", "T-shirt", "Größe", "42"]
    assert found["The"] == found["a"] == 1
    assert found["PLUSH"] > 1
    assert found["42"] == 2  # a token each digit
    places = [place for word in word_spans(text, tiny_encoder.word_pieces(text)) for place in word.tokens]
    assert places == sorted(set(places))
    assert 0 not in places  # the start of the text


def test_what_the_tokenizer_repairs_does_not_move_the_words_around_it(tiny_encoder: Encoder) -> None:
    """It reads &lt; as one sign, and straightens quotes."""
    assert [word for word, _ in spanned(tiny_encoder, "big &lt; \u201cblue\u201d mugs")] == ["big", "blue", "mugs"]


def test_words_behind_the_context_length_have_no_tokens(tiny_encoder: Encoder) -> None:
    assert len(spanned(tiny_encoder, "zebra " * 40)) < 24


@given(st.text(max_size=60))
def test_any_text_has_words_in_order_inside_it(tiny_encoder: Encoder, text: str) -> None:
    pieces = tiny_encoder.word_pieces(text)
    words = word_spans(text, pieces)
    ends = [place for word in words for place in (word.start, word.end)]
    assert ends == sorted(ends)
    assert all(0 <= place < len(pieces) for word in words for place in word.tokens)


def test_another_vocabulary_is_read_as_well(tmp_path: Path) -> None:
    """Needs the extra `siglip`: a tokenizer of transformers that drops punctuation."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    own = {"vocab_size": 8, "hf_tokenizer_name": "nobody/nothing", "tokenizer_kwargs": {"clean": "canonicalize"}}
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<pad>": 1, "<unk>": 2, "a": 3, "mug": 4}, "<unk>"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", unk_token="<unk>")
    directory = tmp_path / "own-words"
    fast.save_pretrained(directory)
    config = TINY_SIGLIP | {"text_cfg": TINY_SIGLIP["text_cfg"] | own}
    write_encoder(directory, config, bpe_merges=None)
    encoder = load_encoder(f"local-dir:{directory}", device="cpu", threads=1, precision="fp32")
    assert spanned(encoder, "A (mug)!") == [("A", 1), ("mug", 1)]
