"""Every family of open_clip: which tokens it gives, that they lead to its vectors, and whether its texts may be cut."""

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from torch.nn.functional import normalize

from backend.ml.dual_encoder import Encoder
from backend.ml.encoder import build_model, build_tokenizer, load_encoder
from backend.ml.image_tower import ImageTower, PatchLayout, _rows
from tests.fixtures.encoders import TINY_CLIP, write_encoder
from tests.ml.pictures import pictures

TEXTS = ["a mug", "a small orange plush toy with big eyes", "wow!!"]

# open_clip's ViT-*-SigLIP configurations, scaled down: a timm trunk with an attention pool, a text tower without a
# causal mask that pools its last position
TINY_SIGLIP: dict[str, Any] = {
    "embed_dim": 96,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {"image_size": 160, "timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "none"},
    "text_cfg": {
        **TINY_CLIP["text_cfg"],
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
    },
}
TINY_CONVOLUTIONS = TINY_CLIP | {
    "vision_cfg": {"image_size": 160, "timm_model_name": "test_efficientnet", "timm_pool": "avg", "timm_proj": "mlp"}
}
TINY_RESNET = TINY_CLIP | {"vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64}}
TINY_COCA: dict[str, Any] = TINY_CLIP | {
    "custom_text": True,
    "vision_cfg": TINY_CLIP["vision_cfg"] | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
    "text_cfg": TINY_CLIP["text_cfg"] | {"embed_cls": True, "output_tokens": True},
    "multimodal_cfg": TINY_CLIP["text_cfg"] | {"attn_pooler_heads": 2},
}


def load(directory: Path) -> tuple[Encoder, Any]:
    """The encoder in fp32, and open_clip's own model of the same directory to compare it with."""
    encoder = load_encoder(f"local-dir:{directory}", device="cpu", threads=1, precision="fp32")
    return encoder, build_model(directory, pretrained=True)


def assert_same(found: np.ndarray, expected: torch.Tensor) -> None:
    assert np.abs(found - normalize(expected, dim=1).numpy()).max() <= 1e-5


@pytest.mark.parametrize("config", [TINY_CLIP, TINY_SIGLIP, TINY_CONVOLUTIONS, TINY_RESNET, TINY_COCA])
@torch.inference_mode()
def test_vectors_are_those_of_open_clip(tmp_path: Path, config: dict[str, Any]) -> None:
    directory = write_encoder(tmp_path / "family", config)
    encoder, model = load(directory)
    pixels = torch.stack([encoder.preprocess(image) for image in pictures(3)])
    assert_same(encoder.encode_texts(TEXTS), model.encode_text(build_tokenizer(directory)(TEXTS)))
    assert_same(encoder.encode_images(list(pixels)), model.encode_image(pixels))
    features = encoder.encode_images_with_tokens(list(pixels))
    assert_same(features.vectors, model.encode_image(pixels))
    assert features.tokens.shape == (3, encoder.layout.count, encoder.layout.width)
    words = encoder.encode_texts_with_tokens(TEXTS)
    assert_same(words.vectors, model.encode_text(build_tokenizer(directory)(TEXTS)))
    assert {tokens.shape[1] for tokens in words.tokens} == {encoder.word_width}


@pytest.mark.parametrize(
    ("config", "causal"),
    [
        (TINY_CLIP, True),
        (TINY_CLIP | {"custom_text": True}, True),
        (TINY_SIGLIP, False),
        # CLIP in all but the mask: the family would not tell
        (TINY_CLIP | {"custom_text": True, "text_cfg": TINY_CLIP["text_cfg"] | {"no_causal_mask": True}}, False),
        (TINY_COCA, False),  # its appended CLS reads the whole row
    ],
)
def test_texts_are_cut_only_where_nothing_behind_their_end_counts(
    tmp_path: Path, config: dict[str, Any], causal: bool
) -> None:
    encoder, _ = load(write_encoder(tmp_path / "family", config))
    assert encoder.causal_text is causal


@torch.inference_mode()
def test_siglip_patches_come_after_the_last_norm_and_pool_to_the_vector(tmp_path: Path) -> None:
    encoder, model = load(write_encoder(tmp_path / "siglip", TINY_SIGLIP))
    features = encoder.encode_images_with_tokens(pictures(2))
    trunk = model.visual.trunk
    assert encoder.layout.prefix == trunk.num_prefix_tokens
    assert (encoder.layout.rows, encoder.layout.columns) == (10, 10)
    # rows that went through a LayerNorm with its initial weights have mean 0 and variance 1
    assert np.abs(features.tokens.mean(axis=2)).max() <= 1e-5
    assert features.tokens.var(axis=2) == pytest.approx(1, abs=1e-2)
    assert_same(features.vectors, trunk.forward_head(torch.tensor(features.tokens)))


@torch.inference_mode()
def test_siglip_keeps_the_words_and_the_position_it_pools(tmp_path: Path) -> None:
    directory = write_encoder(tmp_path / "siglip", TINY_SIGLIP)
    encoder, model = load(directory)
    features = encoder.encode_texts_with_tokens(TEXTS[:2])
    expected = [len(build_tokenizer(directory).encode(text)) + 2 + 1 for text in TEXTS[:2]]
    assert [len(tokens) for tokens in features.tokens] == expected
    ends = torch.tensor(np.stack([tokens[-1] for tokens in features.tokens]))
    assert_same(features.vectors, model.text.text_projection(ends))


@torch.inference_mode()
def test_the_grid_of_convolutions_comes_as_rows_whose_mean_leads_to_the_vector(tmp_path: Path) -> None:
    encoder, model = load(write_encoder(tmp_path / "convolutions", TINY_CONVOLUTIONS))
    features = encoder.encode_images_with_tokens(pictures(2))
    layout = encoder.layout
    assert (layout.rows, layout.columns, layout.prefix) == (5, 5, 0)
    assert_same(features.vectors, model.visual.head(torch.tensor(features.tokens).mean(dim=1)))


@pytest.mark.slow
def test_siglip_of_its_real_size_has_196_patches_and_no_cls() -> None:
    config = open_clip.get_model_config("ViT-B-16-SigLIP") | {"text_cfg": TINY_SIGLIP["text_cfg"]}
    config.pop("custom_text")
    tower = ImageTower(open_clip.CustomTextCLIP(**config).visual, torch.device("cpu"), "fp32")
    assert tower.layout == PatchLayout(rows=14, columns=14, prefix=0, width=768)


def test_rows_are_the_grid_read_line_by_line_wherever_the_channels_lie() -> None:
    grid = torch.arange(24).reshape(1, 4, 2, 3)  # (n, Dv, h, w)
    assert torch.equal(_rows(grid, 4)[0, 4], grid[0, :, 1, 1])
    assert torch.equal(_rows(grid.permute(0, 2, 3, 1), 4), _rows(grid, 4))


@torch.inference_mode()
def test_a_vocabulary_of_its_own_is_read_from_the_directory(tmp_path: Path) -> None:
    """Needs the extra `siglip`. Padding has the id of the end of text, as in SigLIP's own tokenizer."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    config = TINY_SIGLIP | {
        "text_cfg": TINY_SIGLIP["text_cfg"]
        | {"vocab_size": 8, "hf_tokenizer_name": "nobody/nothing", "tokenizer_kwargs": {"clean": "canonicalize"}}
    }
    words = {"<pad>": 1, "<unk>": 2, "a": 3, "mug": 4, "red": 5}
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    directory = tmp_path / "own-words"
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", unk_token="<unk>")
    fast.save_pretrained(directory)
    write_encoder(directory, config, bpe_merges=None)
    encoder, _ = load(directory)
    assert [len(tokens) for tokens in encoder.encode_texts_with_tokens(["A red mug!", "mug"]).tokens] == [4, 2]
