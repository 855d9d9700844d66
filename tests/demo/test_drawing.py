from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.demo.attributes import COLOURS, KINDS, PATTERNS, Item, training_items
from backend.demo.drawing import draw

SIDE = 96


def pixels(item: Item, seed: int = 3) -> NDArray[np.int16]:
    return np.asarray(draw(item, seed, SIDE), dtype=np.int16)


def plain(kind: str) -> Item:
    attributes = KINDS[kind]
    return Item(kind, "orange", "plain", None, "large", attributes.materials[0], attributes.details[:1], "cream")


def visible_change(first: Item, second: Item) -> float:
    """Share of pixels of which some channel differs by more than 12 of 255, the seed's variations averaged out."""
    mean = [np.mean([pixels(item, seed) for seed in range(6)], axis=0) for item in (first, second)]
    return float((np.abs(mean[0] - mean[1]).max(axis=-1) > 12).mean())


def test_draw_is_the_same_for_the_same_seed() -> None:
    for item in islice(training_items(4), 12):
        assert np.array_equal(pixels(item), pixels(item))
        assert not np.array_equal(pixels(item, 1), pixels(item, 2))


def test_draw_has_the_size_asked_for() -> None:
    picture = draw(plain("mug"), 1, 64)
    assert (picture.size, picture.mode) == ((64, 64), "RGB")


@pytest.mark.parametrize("kind", list(KINDS))
def test_drawings_show_colour_pattern_and_size(kind: str) -> None:
    item = plain(kind)
    assert visible_change(item, replace(item, colour="blue")) > 0.04
    assert visible_change(item, replace(item, pattern="dotted", second="white")) > 0.01
    assert visible_change(item, replace(item, size="small")) > 0.04


@pytest.mark.parametrize("kind", list(KINDS))
def test_drawings_show_every_detail_and_material(kind: str) -> None:
    item, attributes = plain(kind), KINDS[kind]
    for detail in attributes.details[1:]:
        assert visible_change(item, replace(item, details=(detail,))) > 0.002, detail
    for material in attributes.materials[1:]:
        assert np.abs(pixels(item) - pixels(replace(item, material=material))).mean() > 0.3, material


def test_drawings_stay_inside_the_picture() -> None:
    for kind in KINDS.values():
        for size in kind.sizes:
            for detail in kind.details:
                item = replace(plain(kind.name), size=size, details=(detail,), background="pale grey")
                empty = pixels(replace(item, colour="grey"), 5)[:2].max(axis=(0, 2))
                assert np.abs(pixels(item, 5)[:2].max(axis=(0, 2)) - empty).max() <= 12, (kind.name, size, detail)


def test_patterns_differ_from_each_other() -> None:
    cushion = replace(plain("cushion"), second="white")
    drawn = [pixels(replace(cushion, pattern=pattern, second="white")) for pattern in PATTERNS[1:]]
    for index, first in enumerate(drawn):
        for second in drawn[index + 1 :]:
            assert np.abs(first - second).mean() > 3


def test_colours_are_told_apart() -> None:
    values = np.array(list(COLOURS.values()))
    gaps = np.abs(values[:, None] - values[None]).sum(axis=-1) + 999 * np.eye(len(values), dtype=int)
    assert gaps.min() > 80
