"""Sentences about pictures: the search for the likeliest one, and a CoCa that learned four of them."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.ml.captioner import beam_search
from backend.ml.encoder import EncoderUnavailableError, build_model, fetch_encoder, open_captioner
from tests.fixtures.captioners import SENTENCES, TINY_COCA, WEIGHTS, plain, save_weights
from tests.fixtures.encoders import write_encoder


def test_it_says_what_it_learned_of_each_picture_in_any_batch(taught_coca: Path) -> None:
    captioner = open_captioner(f"local-dir:{taught_coca}", device="cpu", threads=1)
    pictures = [plain(colour) for colour in SENTENCES]
    assert captioner.caption(pictures) == list(SENTENCES.values())
    assert [captioner.caption([one])[0] for one in reversed(pictures)] == list(reversed(SENTENCES.values()))
    assert captioner.precision == "fp32"


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_in_half_precision_it_says_the_same(taught_coca: Path, precision: Any) -> None:
    captioner = open_captioner(f"local-dir:{taught_coca}", device="cpu", threads=1, precision=precision)
    assert captioner.precision == precision
    assert captioner.caption([plain(colour) for colour in SENTENCES]) == list(SENTENCES.values())


def test_precision_that_changes_the_scores_is_not_used(taught_coca: Path, tmp_path: Path) -> None:
    """Weights that overflow half precision: the check finds it, and the captioner goes on in fp32."""
    directory = tmp_path / "large"
    directory.mkdir()
    for file in taught_coca.iterdir():
        (directory / file.name).write_bytes(file.read_bytes())
    model: Any = build_model(directory, pretrained=True)
    with torch.no_grad():
        model.text_decoder.text_projection.mul_(1e6)
    save_weights(model, directory)
    assert open_captioner(f"local-dir:{directory}", device="cpu", threads=1, precision="fp16").precision == "fp32"


def test_extreme_pictures_are_captioned_too(random_coca: Path) -> None:
    captioner = open_captioner(f"local-dir:{random_coca}", device="cpu", threads=1)
    shapes = [(1, 1), (1, 4000), (4000, 1), (31, 33)]
    assert len(captioner.caption([plain((1, 2, 3), shape) for shape in shapes])) == 4


def test_an_encoder_is_no_captioner_and_the_error_says_so(tiny_encoder_dir: Path) -> None:
    with pytest.raises(EncoderUnavailableError, match="expected a CoCa of open_clip"):
        open_captioner(f"local-dir:{tiny_encoder_dir}", device="cpu", threads=1)


START, END, VOCABULARY = 5, 4, 6


def likelihoods(seed: int) -> torch.Tensor:
    """Log probabilities of the next word, by place and the word before, of two subjects: (2, 8, V, V)."""
    generator = np.random.default_rng(seed)
    raw = torch.from_numpy(generator.normal(scale=2.0, size=(2, 8, VOCABULARY, VOCABULARY)))
    return torch.log_softmax(raw, dim=-1)


def search(table: torch.Tensor, *, beams: int, least: int, most: int) -> list[list[int]]:
    def scores(rows: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        return table[rows, words.shape[1] - 1, words[:, -1]]

    return beam_search(
        scores, len(table), start=START, end=END, beams=beams, least=least, most=most, device=torch.device("cpu")
    )


def mean_likelihood(table: torch.Tensor, sentence: tuple[int, ...]) -> float:
    path = (START, *sentence, END)
    total = sum(table[place, before, word].item() for place, (before, word) in enumerate(itertools.pairwise(path)))
    return total / (len(path) - 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 3))
def test_with_enough_beams_the_likeliest_of_all_sentences_is_found(seed: int, least: int) -> None:
    table, most = likelihoods(seed), 3
    found = search(table, beams=VOCABULARY**most, least=least, most=most)
    allowed = [word for word in range(VOCABULARY) if word not in (START, END)]
    every = [s for length in range(least, most + 1) for s in itertools.product(allowed, repeat=length)]
    for subject, sentence in enumerate(found):
        best = max(mean_likelihood(table[subject], one) for one in every)
        assert mean_likelihood(table[subject], tuple(sentence)) == pytest.approx(best)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(0, 3), st.integers(3, 6))
def test_any_sentence_keeps_to_its_length_and_has_no_marks_inside(seed: int, beams: int, least: int, most: int) -> None:
    for sentence in search(likelihoods(seed), beams=beams, least=least, most=most):
        assert least <= len(sentence) <= most
        assert not {START, END} & set(sentence)


def test_one_beam_takes_the_likeliest_word_at_each_step() -> None:
    table = likelihoods(3)
    (first, _), greedy, word = search(table, beams=1, least=0, most=7), [], START
    for place in range(7):
        step = table[0, place, word].clone()
        step[START] = -torch.inf
        word = int(step.argmax())
        if word == END:
            break
        greedy.append(word)
    assert first == greedy


def test_a_coca_that_open_clip_knows_by_name_is_fetched_into_a_directory_that_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip.factory

    config = {**TINY_COCA, "text_cfg": TINY_COCA["text_cfg"] | {"vocab_size": 49408}}
    config["multimodal_cfg"] = TINY_COCA["multimodal_cfg"] | {"vocab_size": 49408}
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", [*open_clip.factory._MODEL_CONFIG_PATHS])
    (tmp_path / "coca_tiny.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "coca_tiny.json")
    try:
        directory = write_encoder(tmp_path / "weights", config, bpe_merges=None)
        model: Any = build_model(directory, pretrained=True)
        torch.nn.init.normal_(model.text_decoder.text_projection, std=0.1)
        save_weights(model, directory)
        source = f"coca_tiny:{directory / WEIGHTS}"
        fetched = fetch_encoder(source, tmp_path / "fetched")
        pictures = [plain(colour) for colour in SENTENCES]
        by_name = open_captioner(source, device="cpu", threads=1).caption(pictures)
        assert open_captioner(f"local-dir:{fetched}", device="cpu", threads=1).caption(pictures) == by_name
    finally:
        del open_clip.factory._MODEL_CONFIGS["coca_tiny"]
