"""Opening and fetching encoders: by name, from a directory, and what is said when that cannot be."""

import json
import shutil
import threading
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import open_clip
import pytest
import torch

from backend.ml.encoder import (
    EncoderUnavailableError,
    build_model,
    build_tokenizer,
    fetch_encoder,
    load_encoder,
)
from tests.fixtures.encoders import TINY_CLIP, write_encoder
from tests.ml.pictures import pictures


def test_a_model_by_name_and_its_fetched_directory_are_the_same_encoder(named_source: str, tmp_path: Path) -> None:
    directory = fetch_encoder(named_source, tmp_path / "deep" / "fetched")
    named = load_encoder(named_source, device="cpu", threads=1)
    fetched = load_encoder(f"local-dir:{directory}", device="cpu", threads=1)
    assert fetched.id == named.id
    assert fetched.name == "tiny-named:open_clip_model.safetensors"
    assert np.array_equal(fetched.encode_texts(["a mug"]), named.encode_texts(["a mug"]))
    assert np.array_equal(fetched.encode_images(pictures(2)), named.encode_images(pictures(2)))
    assert [path.name for path in directory.parent.iterdir()] == ["fetched"]  # nothing half-written is left


def test_fetching_into_a_directory_that_holds_something_touches_nothing(named_source: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("keep")
    with pytest.raises(EncoderUnavailableError, match="not free"):
        fetch_encoder(named_source, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes"]


def test_weights_of_openai_get_the_activation_they_were_trained_with() -> None:
    """ViT-B-32 is configured with GELU, its tag openai was trained with the quick one: open_clip would only warn."""
    from backend.ml.encoder import _model_config

    assert _model_config("ViT-B-32", "openai")["quick_gelu"] is True
    assert "quick_gelu" not in _model_config("ViT-B-32", "laion2b_s34b_b79k")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("ViT-B-23:openai", ["no model 'ViT-B-23'", "Found: ViT-B-23:openai", "ViT-B-32"]),
        ("ViT-B-32:opnai", ["no weights 'opnai' for ViT-B-32", "laion2b_s34b_b79k"]),
        ("ViT-B-32", ["names no weights", "ViT-B-32:TAG"]),
        ("", ["no model ''", "NAME:PRETRAINED"]),
        ("local-dir:/nowhere/at/all", ["no such directory", "open_clip_config.json"]),
        ("demo", ["demo names no directory"]),
        ("ViT-B-32:openai", ["cannot be loaded", "morelike encoder fetch ViT-B-32:openai", "local-dir:PATH"]),
        ("hf-hub:nobody/nothing", ["cannot be loaded", "morelike encoder fetch hf-hub:nobody/nothing"]),
    ],
)
def test_what_cannot_be_opened_is_named_with_what_can(
    source: str, said: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EncoderUnavailableError) as raised:
        load_encoder(source, device="cpu", threads=1)
    for part in said:
        assert part in str(raised.value)


def test_damaged_directories_are_refused_with_their_damage(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    def damaged(name: str) -> Path:
        return Path(shutil.copytree(tiny_encoder_dir, tmp_path / name))

    no_weights, half, other_shape, no_json, other_card, other_words, no_card = map(damaged, "abcdefg")
    (no_weights / "open_clip_model.safetensors").unlink()
    whole = (half / "open_clip_model.safetensors").read_bytes()
    (half / "open_clip_model.safetensors").write_bytes(whole[: len(whole) // 2])
    config = json.loads((other_shape / "open_clip_config.json").read_text())
    config["model_cfg"]["embed_dim"] = 33
    (other_shape / "open_clip_config.json").write_text(json.dumps(config))
    (no_json / "open_clip_config.json").write_text("{")
    (other_card / "morelike_encoder.json").write_text('{"title": "mine"}')
    (other_words / "morelike_encoder.json").write_text('{"name": "f", "bpe_merges": 999}')
    (no_card / "morelike_encoder.json").write_bytes(b"\xff{")
    for directory, said in [
        (no_weights, "weights"),
        (half, "SafetensorError"),
        (other_shape, "33"),
        (no_json, "valid config"),
        (other_card, "name, bpe_merges, drawings_only"),
        (other_words, "1513 tokens"),
        (no_card, "name, bpe_merges, drawings_only"),
    ]:
        with pytest.raises(EncoderUnavailableError, match=said):
            load_encoder(f"local-dir:{directory}", device="cpu", threads=1)


def test_a_device_that_is_not_there_is_refused(tiny_encoder_dir: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(EncoderUnavailableError, match="no GPU"):
        load_encoder(f"local-dir:{tiny_encoder_dir}", device="cuda")


def test_threads_are_those_asked_for(tiny_encoder_dir: Path) -> None:
    torch.set_num_threads(2)
    load_encoder(f"local-dir:{tiny_encoder_dir}", device="cpu", threads=1)
    assert torch.get_num_threads() == 1


def test_the_demo_is_the_directory_that_the_caller_hands_in(tiny_encoder_dir: Path) -> None:
    encoder = load_encoder("demo", device="cpu", threads=1, demo_dir=tiny_encoder_dir)
    assert encoder.name == "tiny"


def test_a_directory_without_a_card_is_named_after_its_folder(tmp_path: Path) -> None:
    config = TINY_CLIP | {"text_cfg": TINY_CLIP["text_cfg"] | {"vocab_size": 49408}}
    directory = write_encoder(tmp_path / "plain", config, bpe_merges=None)
    (directory / "morelike_encoder.json").unlink()
    encoder = load_encoder(f"local-dir:{directory}", device="cpu", threads=1)
    assert (encoder.name, encoder.drawings_only) == ("plain", False)


def test_a_shortened_vocabulary_reads_the_words_it_keeps_as_the_whole_one_does(tiny_encoder_dir: Path) -> None:
    """Its 1,000 merges come first in the whole one, so words that they spell have the same ids in both."""
    short, whole = build_tokenizer(tiny_encoder_dir), open_clip.SimpleTokenizer(context_length=24)
    words = [word.removesuffix("</w>") for word in short.encoder if word.endswith("</w>") and word[:-4].isascii()]
    words = [word for word in words if word.isalpha()]
    assert len(words) > 300
    assert [short.encode(word) for word in words] == [whole.encode(word) for word in words]
    sentence = "the big red house with a day of love"
    ends = slice(1, 1 + len(whole.encode(sentence)))
    assert torch.equal(short([sentence])[0][ends], whole([sentence])[0][ends])
    assert (short.sot_token_id, short.eot_token_id, short.vocab_size) == (1512, 1513, 1514)
    assert short.eot_token_id == max(short.encoder.values())  # where the tower pools


def test_a_shortened_vocabulary_spells_what_it_does_not_keep(tiny_encoder_dir: Path) -> None:
    tokenizer = build_tokenizer(tiny_encoder_dir)
    for text in ("quintessential upholstery", "дом", "🧸"):
        assert tokenizer.decode(tokenizer.encode(text)).replace(" ", "") == text.replace(" ", "")


def test_tokenizers_built_at_once_are_all_whole(tiny_encoder_dir: Path) -> None:
    found: list[torch.Tensor] = []
    expected = build_tokenizer(tiny_encoder_dir)(["a small red car"])
    builders = [
        threading.Thread(target=lambda: found.append(build_tokenizer(tiny_encoder_dir)(["a small red car"])))
        for _ in range(6)
    ]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert len(found) == 6
    assert all(torch.equal(ids, expected) for ids in found)


def test_an_untrained_model_is_ready_to_be_trained(tiny_encoder_dir: Path) -> None:
    fresh, loaded = (build_model(tiny_encoder_dir, pretrained=pretrained) for pretrained in (False, True))
    assert fresh.training
    assert not loaded.training
    assert not torch.equal(fresh.text_projection, loaded.text_projection)
