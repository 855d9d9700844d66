"""Pictures from strangers: decoded within limits, upright, opaque, in RGB."""

import io
import struct
import zlib
from dataclasses import dataclass

from PIL import Image, ImageOps
from PIL.Image import DecompressionBombError

from backend.errors import Unprocessable

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
"""Formats that are opened, told by content and never by name or declared type."""

MAX_PIXELS = 50_000_000
"""Default limit; the setting ``image_max_pixels`` is handed to every call that decodes a stranger's file."""

# Pillow's own limit is one number for the whole process; every call here checks its own against the header first.
Image.MAX_IMAGE_PIXELS = None

_ORIENTATION = 0x0112
"""EXIF's tag for how the camera was held."""

_LYING = (5, 6, 7, 8)
"""Values of it by which width and height change places."""

# what Pillow's plugins were seen to raise on files that were cut or altered
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    struct.error,
    zlib.error,
)


class PictureRefused(Unprocessable):
    """The bytes are not a picture that can be used, and never will be."""

    title = "Picture refused"


@dataclass(frozen=True)
class PictureFacts:
    """What the header of a picture says."""

    format: str
    width: int
    height: int


def probe(data: bytes, max_pixels: int = MAX_PIXELS) -> PictureFacts:
    """Format and size as the header says; nothing is decoded."""
    with _opened(data, max_pixels) as image:
        return PictureFacts(str(image.format), image.width, image.height)


def upright_size(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height of what ``decode`` gives, from the header alone."""
    with _opened(data, max_pixels) as image:
        try:
            turned = image.getexif().get(_ORIENTATION) in _LYING
        except _BROKEN:
            turned = False
        return (image.height, image.width) if turned else (image.width, image.height)


def verify(data: bytes, max_pixels: int = MAX_PIXELS) -> PictureFacts:
    """Format and size of a picture whose every byte was read: one that is cut off is refused.

    Raises:
        PictureRefused: not one of the formats, more pixels than allowed, or broken.
    """
    with _opened(data, max_pixels) as image:
        facts = PictureFacts(str(image.format), image.width, image.height)
        image.draft("RGB", (64, 64))  # a JPEG is read to its end, but only an eighth of its pixels is made
        _loaded(image, found=facts.format)
        return facts


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture in RGB: upright by its EXIF orientation, on white where it is transparent, a GIF's first frame.

    Raises:
        PictureRefused: not one of the formats, more pixels than allowed, or broken.
    """
    with _opened(data, max_pixels) as image:
        return _upright_rgb(image, found=str(image.format))


def thumbnail(data: bytes, side: int, max_pixels: int = MAX_PIXELS) -> bytes:
    """WebP of the picture, its longer side at most ``side`` pixels."""
    with _opened(data, max_pixels) as image:
        # a JPEG is decoded at an eighth, a quarter or half of its size where that is enough
        image.draft("RGB", (side * 2, side * 2))
        picture = _upright_rgb(image, found=str(image.format))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=82, method=4)
    return out.getvalue()


def _opened(data: bytes, max_pixels: int) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (*_BROKEN, DecompressionBombError) as error:
        raise PictureRefused(
            "These bytes are not a picture.",
            found=f"{len(data)} bytes beginning with {data[:12]!r}",
            expected="JPEG, PNG, WebP or GIF",
        ) from error
    _check_pixels(image, max_pixels)
    return image


def _check_pixels(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels or image.width < 1 or image.height < 1:
        raise PictureRefused(
            "This picture has more pixels than allowed.",
            found=f"{image.width} x {image.height}",
            expected=f"at most {max_pixels} pixels",
        )


def _upright_rgb(image: Image.Image, *, found: str) -> Image.Image:
    _loaded(image, found=found)
    return _opaque(_upright(image))


def _loaded(image: Image.Image, *, found: str) -> None:
    try:
        image.load()
    except (*_BROKEN, MemoryError) as error:
        raise PictureRefused(
            "This picture is cut off or broken.", found=f"{found}: {error}"[:200], expected="a complete picture"
        ) from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _BROKEN:  # broken EXIF says nothing about the pixels
        return image


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":  # 16 bits a pixel: RGB would clip all but the darkest
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")
