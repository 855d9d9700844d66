"""An encoder's vectors and tokens: unit rows, the same in any batch, and tokens that lead to the vectors."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from backend.ml.dual_encoder import Encoder, hash_weights
from backend.ml.encoder import build_model, build_tokenizer, load_encoder
from backend.ml.image_tower import Precision
from tests.fixtures.encoders import TINY_CLIP, write_encoder
from tests.ml.pictures import pictures

TEXTS = ["a mug", "", "a small orange plush toy with big eyes", "wow!! 50% off!", "пальто 大きい", "x " * 200]


@pytest.fixture(scope="module")
def exact(tiny_encoder_dir: Path) -> Encoder:
    """The tiny CLIP without reduced precision."""
    return load_encoder(f"local-dir:{tiny_encoder_dir}", device="cpu", threads=1, precision="fp32")


def uncut(directory: Path, texts: list[str]) -> np.ndarray:
    """Unit rows of open_clip's own encode_text over the whole context."""
    model, tokenizer = build_model(directory, pretrained=True), build_tokenizer(directory)
    with torch.inference_mode():
        rows: np.ndarray = model.encode_text(tokenizer(texts), normalize=True).numpy()
    return rows


def test_vectors_are_unit_rows(tiny_encoder: Encoder) -> None:
    for vectors in (tiny_encoder.encode_texts(TEXTS), tiny_encoder.encode_images(pictures(6))):
        assert vectors.dtype == np.float32
        assert vectors.shape == (6, tiny_encoder.dim)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)


def test_nothing_gives_nothing(tiny_encoder: Encoder) -> None:
    layout = tiny_encoder.layout
    assert tiny_encoder.encode_texts([]).shape == (0, tiny_encoder.dim)
    assert tiny_encoder.encode_images([]).shape == (0, tiny_encoder.dim)
    assert tiny_encoder.encode_texts_with_tokens([]).tokens == []
    assert tiny_encoder.encode_images_with_tokens([]).tokens.shape == (0, layout.count, layout.width)


def test_texts_cut_to_their_batch_are_what_the_whole_tower_gives(tiny_encoder: Encoder, tiny_encoder_dir: Path) -> None:
    assert tiny_encoder.causal_text
    assert np.abs(tiny_encoder.encode_texts(TEXTS) - uncut(tiny_encoder_dir, TEXTS)).max() <= 1e-5


@given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=7), batch=st.integers(1, 4))
@settings(max_examples=12, deadline=None)
def test_a_text_has_the_same_vector_and_words_in_any_batch(tiny_encoder: Encoder, texts: list[str], batch: int) -> None:
    together = tiny_encoder.encode_texts_with_tokens(texts, batch=batch)
    for position, text in enumerate(texts):
        alone = tiny_encoder.encode_texts_with_tokens([text])
        assert np.abs(together.vectors[position] - alone.vectors[0]).max() <= 1e-5
        assert together.tokens[position].shape == alone.tokens[0].shape
        assert np.abs(together.tokens[position] - alone.tokens[0]).max() <= 1e-4


def test_an_image_has_the_same_vector_and_patches_in_any_batch(exact: Encoder) -> None:
    images = pictures(5)
    together = exact.encode_images_with_tokens(images, batch=2)
    for position, image in enumerate(images):
        alone = exact.encode_images_with_tokens([image])
        assert np.abs(together.vectors[position] - alone.vectors[0]).max() <= 1e-5
        assert np.abs(together.tokens[position] - alone.tokens[0]).max() <= 1e-4
    assert np.abs(exact.encode_images(images) - together.vectors).max() <= 1e-5


def test_pixels_prepared_ahead_are_as_good_as_images(exact: Encoder) -> None:
    images = pictures(3)
    pixels = torch.stack([exact.preprocess(image) for image in images])
    assert np.array_equal(exact.encode_images(list(pixels)), exact.encode_images(images))


def test_images_of_any_mode_and_shape_are_taken(tiny_encoder: Encoder) -> None:
    images = [
        Image.new(mode, size) for mode, size in [("L", (1, 1)), ("RGBA", (900, 3)), ("P", (3, 900)), ("1", (40, 40))]
    ]
    assert np.isfinite(tiny_encoder.encode_images(images)).all()


def test_the_word_token_at_the_end_of_the_text_leads_to_its_vector(exact: Encoder, tiny_encoder_dir: Path) -> None:
    model = build_model(tiny_encoder_dir, pretrained=True)
    features = exact.encode_texts_with_tokens(TEXTS)
    ends = torch.tensor(np.stack([tokens[-1] for tokens in features.tokens]))
    projected = torch.nn.functional.normalize(ends @ model.text_projection, dim=1).detach().numpy()
    assert np.abs(projected - features.vectors).max() <= 1e-5


def test_word_tokens_reach_from_the_start_of_the_text_to_its_end(exact: Encoder, tiny_encoder_dir: Path) -> None:
    tokenizer = build_tokenizer(tiny_encoder_dir)
    expected = [min(len(tokenizer.encode(text)) + 2, 24) for text in TEXTS]  # "!" has the id of the padding
    assert [len(tokens) for tokens in exact.encode_texts_with_tokens(TEXTS).tokens] == expected


def test_the_first_patch_token_leads_to_the_images_vector(exact: Encoder, tiny_encoder_dir: Path) -> None:
    visual = build_model(tiny_encoder_dir, pretrained=True).visual
    features = exact.encode_images_with_tokens(pictures(4))
    assert exact.layout.prefix == 1
    assert (exact.layout.rows, exact.layout.columns) == (4, 4)
    with torch.inference_mode():
        projected = visual.ln_post(torch.tensor(features.tokens[:, 0])) @ visual.proj
        projected = torch.nn.functional.normalize(projected, dim=1)
    assert np.abs(projected.numpy() - features.vectors).max() <= 1e-5


def test_reduced_precision_agrees_with_fp32(exact: Encoder, tiny_encoder_dir: Path) -> None:
    reduced = load_encoder(f"local-dir:{tiny_encoder_dir}", device="cpu", threads=1, precision="bf16")
    images = pictures(8)
    cosines = (reduced.encode_images(images) * exact.encode_images(images)).sum(axis=1)
    assert reduced.precision == "bf16"
    assert "cosine" in reduced.precision_note
    assert cosines.min() >= 0.999
    assert np.array_equal(reduced.encode_texts(TEXTS), exact.encode_texts(TEXTS))  # the text tower stays as it was


@pytest.mark.parametrize(
    ("precision", "weight", "harm"),
    [
        # bf16 keeps 8 bits: beside 1,000 it has steps of 4, and what the patches say is lost before the first LayerNorm
        ("bf16", "visual.positional_embedding", lambda weight: weight.add_(1000)),
        ("fp16", "visual.conv1.weight", lambda weight: weight.mul_(1e7)),  # beyond 65,504 fp16 has only infinity
    ],
)
def test_a_tower_that_reduced_precision_harms_stays_in_fp32(
    tmp_path: Path, precision: Precision, weight: str, harm: Callable[[torch.Tensor], object]
) -> None:
    directory = write_encoder(tmp_path / "fragile", TINY_CLIP)
    edit_weights(directory, lambda weights: harm(weights[weight]))
    encoder = load_encoder(f"local-dir:{directory}", device="cpu", threads=1, precision=precision)
    assert encoder.precision == "fp32"
    assert "below 0.999" in encoder.precision_note


def test_the_hash_names_the_weights_and_nothing_else(tiny_encoder: Encoder, tmp_path: Path) -> None:
    same = write_encoder(tmp_path / "same", TINY_CLIP)
    assert hash_weights(build_model(same, pretrained=True)) == tiny_encoder.weights_hash
    assert tiny_encoder.id == f"tiny@{tiny_encoder.weights_hash[:12]}"

    def change_last_bit(weights: dict[str, torch.Tensor]) -> None:
        bits = weights["token_embedding.weight"].view(torch.int32)
        bits[-1, -1] ^= 1

    edit_weights(same, change_last_bit)
    assert hash_weights(build_model(same, pretrained=True)) != tiny_encoder.weights_hash


def test_an_id_fits_its_column_whatever_the_name(tmp_path: Path) -> None:
    directory = write_encoder(tmp_path / ("long" * 30), TINY_CLIP)
    encoder = load_encoder(f"local-dir:{directory}", device="cpu", threads=1)
    assert len(encoder.id) == 80
    assert encoder.name == "long" * 30


def test_damaged_weights_are_named_not_served(tmp_path: Path) -> None:
    directory = write_encoder(tmp_path / "damaged", TINY_CLIP)
    edit_weights(directory, lambda weights: weights["text_projection"][3].fill_(float("nan")))
    with pytest.raises(ValueError, match="weights text_projection that are not finite"):
        load_encoder(f"local-dir:{directory}", device="cpu", threads=1)


def edit_weights(directory: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(directory / "open_clip_model.safetensors")
    edit(weights)
    save_file(weights, directory / "open_clip_model.safetensors")
