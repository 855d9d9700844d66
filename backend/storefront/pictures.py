"""Product images for browsers: the original, or a WebP of one of a few widths that is made once and kept."""

from enum import IntEnum
from typing import Final

from backend.blobs import BlobStore
from backend.catalog.pictures import probe, thumbnail
from backend.errors import NotFound


class Width(IntEnum):
    """Widths that are made: a fixed list, so that nobody can fill the disk by asking for every number."""

    W96 = 96
    W160 = 160
    W320 = 320
    W640 = 640
    W1024 = 1024


MEDIA_TYPES: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}


class NoSuchImage(NotFound):
    """No image of this content hash is kept."""

    title = "No such image"


def original(blobs: BlobStore, content_hash: str, max_pixels: int) -> tuple[bytes, str]:
    """Bytes and media type of an image as it came."""
    data = _kept(blobs, content_hash)
    return data, MEDIA_TYPES[probe(data, max_pixels).format]


def scaled(blobs: BlobStore, content_hash: str, width: Width, max_pixels: int) -> bytes:
    """WebP whose longer side has at most ``width`` pixels."""
    key = f"{content_hash}-w{int(width)}"
    try:
        return blobs.get(key)
    except FileNotFoundError:
        made = thumbnail(_kept(blobs, content_hash), int(width), max_pixels)
        blobs.put_as(key, made)
        return made


def _kept(blobs: BlobStore, content_hash: str) -> bytes:
    try:
        return blobs.get(content_hash)
    except (FileNotFoundError, ValueError) as error:
        raise NoSuchImage(
            "no image of this hash is kept", found=content_hash, expected="the content hash of a ready image"
        ) from error
