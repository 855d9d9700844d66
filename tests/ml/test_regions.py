"""A box drawn on the original lands on the patches that see what it holds, whatever is cut off or stretched."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from backend.ml.encoder import Encoder
from backend.ml.image_tower import PatchLayout
from backend.ml.regions import Box, Framing, ResizeMode, pad_to_frame, steer_patches
from tests.ml.pictures import pictures

B32 = PatchLayout(rows=7, columns=7, prefix=1, width=768)
SQUARE = Framing(224, 224, "shortest")


def touched(box: Box, size: tuple[int, int] = (224, 224), framing: Framing = SQUARE) -> list[tuple[int, int]]:
    """Rows and columns of the patches that one box touches."""
    grid = steer_patches([(box, 1.0)], framing, B32, size)[1:].reshape(7, 7)
    return [(int(row), int(column)) for row, column in np.argwhere(grid)]


def test_a_box_inside_one_patch_touches_that_one() -> None:
    """On 224 pixels a patch has 32: 40..60 is inside patch 1, 70..90 inside patch 2."""
    assert touched((40 / 224, 70 / 224, 60 / 224, 90 / 224)) == [(2, 1)]


def test_edges_are_included() -> None:
    """floor(32/32)..floor(64/32) = 1..2, and with 63.9 1..1."""
    assert touched((32 / 224, 0.01, 64 / 224, 0.02)) == [(0, 1), (0, 2)]
    assert touched((32 / 224, 0.01, 63.9 / 224, 0.02)) == [(0, 1)]


def test_the_right_and_the_bottom_edge_belong_to_the_last_patches() -> None:
    assert touched((0.95, 0.95, 1, 1)) == [(6, 6)]
    assert len(touched((0, 0, 1, 1))) == 49


def test_what_the_crop_cuts_off_is_on_no_patch() -> None:
    """448 x 224 keeps the middle half: 0.25 to 0.75 of the width."""
    assert touched((0, 0, 0.2, 1), (448, 224)) == []
    assert touched((0.8, 0, 1, 1), (448, 224)) == []
    assert touched((0, 0.5, 0.26, 0.51), (448, 224)) == [(3, 0)]
    assert len(touched((0.25, 0, 0.75, 1), (448, 224))) == 49


def test_a_squashed_and_a_padded_picture_are_whole() -> None:
    squashed, fitted = (Framing(224, 224, mode) for mode in ("squash", "longest"))
    assert touched((0, 0, 0.1, 0.1), (448, 224), squashed) == [(0, 0)]
    # 448 x 224 fits as 224 x 112 between rows of padding, 56 pixels each: 1.75 patches
    assert touched((0, 0, 0.1, 0.1), (448, 224), fitted) == [(1, 0), (2, 0)]
    assert {row for row, _ in touched((0, 0, 1, 1), (448, 224), fitted)} == {1, 2, 3, 4, 5}


def test_later_boxes_overwrite_and_grades_stay() -> None:
    steer = steer_patches([((0, 0, 1, 1), -1.0), ((0, 0, 0.1, 0.1), 0.5)], SQUARE, B32, (224, 224))
    assert steer[:3].tolist() == [0, 0.5, -1]
    assert steer_patches([], SQUARE, B32, (224, 224), prefix=1).tolist() == [1] + [0] * 49


@settings(max_examples=40)
@given(
    st.sampled_from(["shortest", "longest", "squash"]),
    st.tuples(st.integers(40, 400), st.integers(40, 400)),
    st.sampled_from([(64, 64), (96, 64), (64, 80)]),
)
def test_seen_is_what_open_clip_leaves(mode: ResizeMode, size: tuple[int, int], frame: tuple[int, int]) -> None:
    """A picture whose colours say where each pixel lies, through open_clip's own preprocessing, is read off again."""
    width, height = size
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    colours = np.stack([*np.meshgrid(x, y), np.ones((height, width))], axis=2)
    stated = {"size": frame, "mean": (0, 0, 0), "std": (1, 1, 1), "interpolation": "bilinear", "resize_mode": mode}
    pixels = image_transform_v2(PreprocessCfg(**stated), is_train=False)(
        Image.fromarray(np.round(colours * 255).astype(np.uint8))
    ).numpy()
    framing = Framing.of(stated)
    left, top, right, bottom = framing.seen(width, height)
    assert pixels.shape == (3, framing.height, framing.width)
    across = left + (np.arange(framing.width) + 0.5) / framing.width * (right - left)
    down = top + (np.arange(framing.height) + 0.5) / framing.height * (bottom - top)
    # resampling looks a pixel and a half far, of whichever picture has the larger ones; padding shows in all channels
    reach_x, reach_y = 1.5 * max(1 / width, across[1] - across[0]), 1.5 * max(1 / height, down[1] - down[0])
    seen = np.outer(abs(down - 0.5) < 0.5 - reach_y, abs(across - 0.5) < 0.5 - reach_x)
    assert np.abs(pixels[:2] - np.stack(np.meshgrid(across, down)))[:, seen].max(initial=0) < 0.005
    padded = np.logical_or.outer(abs(down - 0.5) > 0.5 + reach_y, abs(across - 0.5) > 0.5 + reach_x)
    assert (pixels[2][padded] == 0).all()


def test_a_tall_crop_is_whole_in_the_frame_on_the_colour_of_its_corners() -> None:
    """20 x 60 with corners of (90 ± 10, 120, 30): 60 x 60, and the frame sees all of it."""
    tall = Image.new("RGB", (20, 60), (0, 0, 200))
    for place, red in (((0, 0), 80), ((19, 0), 100), ((0, 59), 80), ((19, 59), 100)):
        tall.putpixel(place, (red, 120, 30))
    padded = pad_to_frame(tall, SQUARE)
    assert padded.size == (60, 60)
    assert padded.crop((20, 0, 40, 60)).tobytes() == tall.tobytes()
    assert {padded.getpixel((0, 0)), padded.getpixel((59, 30))} == {(90, 120, 30)}
    assert SQUARE.seen(*padded.size) == (0, 0, 1, 1)
    assert pad_to_frame(tall, Framing(224, 112, "squash")).size == (120, 60)
    assert pad_to_frame(tall, Framing(224, 224, "longest")) is tall


@given(st.tuples(st.integers(1, 300), st.integers(1, 300)), st.sampled_from([(64, 64), (96, 64), (64, 80)]))
def test_whatever_was_padded_is_seen_whole(size: tuple[int, int], frame: tuple[int, int]) -> None:
    padded = pad_to_frame(Image.new("RGB", size), Framing(*frame, "shortest"))
    left, top, right, bottom = Framing(*frame, "shortest").seen(*padded.size)
    # a pixel of the picture and one of the frame may be lost to rounding
    assert abs(np.array([left, top, right - 1, bottom - 1])).max() <= 1 / min(size) + 1.5 / min(frame)


def test_an_encoder_says_how_it_frames(tiny_encoder: Encoder) -> None:
    assert tiny_encoder.framing == Framing(32, 32, "shortest")
    assert tiny_encoder.preprocess(pictures(1)[0]).shape == (3, 32, 32)
