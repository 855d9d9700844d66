"""Files from strangers become upright, opaque RGB pictures, or are refused before they cost anything."""

import contextlib
import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from backend.catalog.pictures import PictureFacts, PictureRefused, decode, probe, thumbnail, verify
from tests.fixtures.hostile import picture_bytes

RED, BLUE = (255, 0, 0), (0, 0, 255)


def saved(image: Image.Image, format_: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format_, **options)
    return out.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(side: int = 50_000) -> bytes:
    """A PNG of ``side`` x ``side`` black pixels: 2.5 GB in RGB, some 300 KB in the file."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    pixels = zlib.compressobj()
    row = b"\x00" * (side // 8 + 1)
    body = b"".join(pixels.compress(row) for _ in range(side)) + pixels.flush()
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF"])
def test_decode_takes_the_four_formats(format_: str) -> None:
    data = picture_bytes(format_, (20, 10))
    assert verify(data) == probe(data) == PictureFacts(format_, 20, 10)
    picture = decode(data)
    assert (picture.mode, picture.size) == ("RGB", (20, 10))


@pytest.mark.parametrize("act", [decode, probe, verify, lambda data: thumbnail(data, 64)])
def test_bombs_are_refused_by_their_header(act: Callable[[bytes], object]) -> None:
    bomb = png_bomb()
    assert len(bomb) < 2**20
    tracemalloc.start()
    with pytest.raises(PictureRefused) as refused:
        act(bomb)
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.stop()
    assert refused.value.found == "50000 x 50000"
    assert "50000000" in str(refused.value.expected)


def test_limit_is_that_of_the_call() -> None:
    data = picture_bytes("PNG", (100, 100))
    assert decode(data, max_pixels=10_000).size == (100, 100)
    with pytest.raises(PictureRefused):
        decode(data, max_pixels=9_999)


def test_gif_whose_first_frame_outgrows_its_screen_is_refused() -> None:
    """The screen says 1 x 1, the frame 60,000 x 60,000: the greater counts."""
    data = bytearray(picture_bytes("GIF", (1, 1)))
    frame = data.index(b",\x00\x00\x00\x00\x01\x00\x01\x00")
    data[frame + 5 : frame + 9] = struct.pack("<HH", 60_000, 60_000)
    with pytest.raises(PictureRefused, match="more pixels"):
        decode(bytes(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html><body>Not found</body></html>",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>',
        b"%PDF-1.7",
        b"\x89PNG\r\n\x1a\n",
        picture_bytes("BMP"),
        picture_bytes("TIFF"),
        picture_bytes("ICO"),
        picture_bytes("PPM"),
    ],
)
def test_other_contents_are_refused_whatever_they_are_called(data: bytes) -> None:
    with pytest.raises(PictureRefused) as refused:
        decode(data)
    assert refused.value.expected == "JPEG, PNG, WebP or GIF"


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF"])
def test_cut_off_files_are_refused(format_: str) -> None:
    noise = Image.effect_noise((128, 128), 80).convert("RGB")
    data = saved(noise, format_)
    for act in (decode, verify):
        with pytest.raises(PictureRefused):
            act(data[: len(data) // 2])


@given(data=st.data(), format_=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]))
@settings(max_examples=150, deadline=None)
def test_altered_files_are_decoded_or_refused_and_nothing_else(data: st.DataObject, format_: str) -> None:
    picture = bytearray(picture_bytes(format_, (33, 17)))
    for _ in range(data.draw(st.integers(1, 8))):
        picture[data.draw(st.integers(0, len(picture) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PictureRefused):
        assert decode(bytes(picture)).mode == "RGB"


def test_exif_orientation_is_applied() -> None:
    """Orientation 6 means: turn a quarter to the right; what was left is then at the top."""
    lying = Image.new("RGB", (20, 10), BLUE)
    lying.paste(RED, (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = decode(saved(lying, "PNG", exif=exif.tobytes()))
    assert upright.size == (10, 20)
    assert (upright.getpixel((5, 2)), upright.getpixel((5, 17))) == (RED, BLUE)


def test_transparency_stands_on_white() -> None:
    image = Image.new("RGBA", (4, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    image.putpixel((2, 0), (0, 0, 0, 128))
    picture = decode(saved(image, "PNG"))
    assert picture.getpixel((0, 0)) == RED
    assert picture.getpixel((1, 0)) == (255, 255, 255)
    assert picture.getpixel((2, 0)) == (127, 127, 127)


def test_palette_with_a_transparent_colour_stands_on_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    picture = decode(saved(image, "PNG", transparency=1))
    assert [picture.getpixel((x, 0)) for x in (0, 1)] == [RED, (255, 255, 255)]


def test_gif_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (6, 6), colour) for colour in (RED, BLUE)]
    assert decode(saved(frames[0], "GIF", save_all=True, append_images=frames[1:])).getpixel((3, 3)) == RED


def test_cmyk_and_sixteen_bit_pictures_keep_their_brightness() -> None:
    cmyk = decode(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert all(abs(a - b) < 12 for a, b in zip(cmyk.getpixel((4, 4)), RED, strict=True))
    grey = decode(saved(Image.new("I;16", (8, 8), 0x8080), "PNG"))
    assert grey.getpixel((4, 4)) == (128, 128, 128)


def test_thumbnail_is_webp_no_larger_than_asked() -> None:
    small = Image.open(io.BytesIO(thumbnail(picture_bytes("JPEG", (1600, 800)), 320)))
    assert (small.format, small.size) == ("WEBP", (320, 160))
    assert Image.open(io.BytesIO(thumbnail(picture_bytes("PNG", (10, 20)), 320))).size == (10, 20)
