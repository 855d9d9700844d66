"""Stage B: towers taken apart give what the whole gives, and only what was unfrozen changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.ml.encoder import EncoderUnavailableError, load_encoder, open_parts, write_encoder
from backend.ml.partial_unfreezing import Unfreezing, UnfreezingPlan, unfreeze
from backend.ml.unfrozen_towers import Pictures, TowerNotDivisible
from tests.fixtures import encoders
from tests.fixtures.encoders import TINY_CLIP
from tests.ml.pictures import pictures
from tests.ml.test_encoder_families import TINY_CONVOLUTIONS, TINY_SIGLIP

COUNT = 24
PICTURES = pictures(COUNT)
SIZES, COLOURS = ("big", "small", "tall", "round"), ("red", "blue", "grey", "pink", "tan", "teal")
TEXTS = [f"{size} {colour} mug" for size in SIZES for colour in COLOURS]
LEARNED, CHOSEN_BY = np.arange(16), np.arange(16, COUNT)
CPU = torch.device("cpu")

Open = Callable[..., Unfreezing]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Opens an encoder of a configuration for training."""

    def open_one(config: dict[str, Any] = TINY_CLIP, **plan: Any) -> Unfreezing:
        place = tmp_path_factory.mktemp("unfreezing")
        parts = open_parts(f"local-dir:{encoders.write_encoder(place / 'tiny', config)}")
        own = np.arange(COUNT)
        shown = Pictures(COUNT, lambda row: PICTURES[row])
        return unfreeze(parts, TEXTS, shown, (own, own), UnfreezingPlan(**plan), place, device=CPU)

    return open_one


@pytest.mark.parametrize("config", [TINY_CLIP, TINY_CONVOLUTIONS])
@pytest.mark.parametrize("blocks", [None, 0, 1])
def test_untrained_parts_give_the_vectors_of_the_encoder(
    opened: Open, config: dict[str, Any], blocks: int | None
) -> None:
    held = opened(config, text_blocks=1 if blocks is None else blocks, image_blocks=blocks)
    encoder = load_encoder(held.parts.source, device="cpu", threads=1, precision="fp32")
    made = held.pairs()
    np.testing.assert_allclose(made.texts, encoder.encode_texts(TEXTS), atol=1e-5)
    np.testing.assert_allclose(made.images, encoder.encode_images(PICTURES), atol=1e-5)


def test_only_what_is_unfrozen_changes_and_is_written(opened: Open, tmp_path: Path) -> None:
    held = opened(image_blocks=0, rate=1e-3, epochs=6, batch=8, patience=9)
    before = {name: weight.clone() for name, weight in held.parts.model.state_dict().items()}
    epochs = held.train(LEARNED, LEARNED)
    assert epochs[-1].loss < epochs[1].loss
    changed = {name for name, weight in held.parts.model.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed
    expected = ("transformer.resblocks.1.", "ln_final.", "text_projection", "visual.ln_post.", "visual.proj")
    assert all(name.startswith(expected) for name in changed)

    directory = write_encoder(held.parts, tmp_path / "adapted", name="tiny-adapted")
    encoder = load_encoder(f"local-dir:{directory}", device="cpu", threads=1, precision="fp32")
    assert encoder.name == "tiny-adapted"
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), held.pairs().texts, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_images(PICTURES), held.pairs().images, atol=1e-5)
    with pytest.raises(EncoderUnavailableError, match="not free"):
        write_encoder(held.parts, directory, name="again")


def test_the_way_back_ends_at_the_pretrained_weights(opened: Open) -> None:
    held = opened(rate=1e-3, epochs=2, batch=8)
    start = held.trained()
    held.train(LEARNED, LEARNED)
    goal = held.trained()
    held.scale_to(0.5, goal)
    half = held.trained()
    held.scale_to(0.0, goal)
    assert all(torch.equal(weight, start[name]) for name, weight in held.trained().items())
    for name, weight in half.items():
        torch.testing.assert_close(weight, (start[name] + goal[name]) / 2)


def test_training_begins_at_the_pretrained_weights_each_time(opened: Open) -> None:
    held = opened(rate=1e-3, epochs=2, batch=8, ema=0.5)
    first = (held.train(LEARNED, CHOSEN_BY), held.trained())
    again = (held.train(LEARNED, CHOSEN_BY), held.trained())
    assert str(first[0]) == str(again[0])
    assert all(torch.equal(weight, first[1][name]) for name, weight in again[1].items())


def test_what_does_not_help_is_not_kept(opened: Open) -> None:
    """A rate that wrecks the tower: on what it is chosen by, the untouched encoder is the best there was."""
    held = opened(rate=1.0, epochs=2, batch=8)
    start = held.trained()
    epochs = held.train(LEARNED, CHOSEN_BY)
    best = max(epochs, key=lambda epoch: (epoch.recall_at_10 + epoch.mrr, -epoch.number))
    assert [epoch.number for epoch in epochs if epoch.best][-1] == best.number
    assert best.number or all(torch.equal(weight, start[name]) for name, weight in held.trained().items())


def test_a_pull_keeps_weights_near_where_they_began(opened: Open) -> None:
    """With 10 times the weight of the loss, they stay nearer than without."""
    moved = []
    for pull in (0.0, 10.0):
        held = opened(rate=1e-3, epochs=4, batch=8, patience=9, pull=pull)
        start = held.trained()
        held.train(LEARNED, LEARNED)
        moved.append(sum(float((weight - start[name]).square().sum()) for name, weight in held.trained().items()))
    assert 0 < moved[1] < moved[0]


def test_what_cannot_be_unfrozen_is_refused(opened: Open) -> None:
    with pytest.raises(TowerNotDivisible, match="so many blocks"):
        opened(text_blocks=2)
    with pytest.raises(TowerNotDivisible, match="text tower"):
        opened(TINY_SIGLIP, text_blocks=1)
    with pytest.raises(ValueError, match="no tower"):
        UnfreezingPlan(text_blocks=None)
