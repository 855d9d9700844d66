"""Product images for browsers: the original, or a WebP of one of a few widths that is made once and kept."""

from typing import Final

from backend.blobs import BlobStore
from backend.catalog.pictures import probe, thumbnail
from backend.errors import NotFound

WIDTHS: Final = (96, 160, 320, 640, 1024)
"""Widths that are made. A fixed list, so that nobody can fill the disk by asking for every number."""

MEDIA_TYPES: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}


class NoSuchImage(NotFound):
    """No image of this content hash is kept."""

    title = "No such image"


def original(blobs: BlobStore, content_hash: str, max_pixels: int) -> tuple[bytes, str]:
    """Bytes and media type of an image as it came."""
    data = _kept(blobs, content_hash)
    return data, MEDIA_TYPES[probe(data, max_pixels).format]


def scaled(blobs: BlobStore, content_hash: str, width: int, max_pixels: int) -> bytes:
    """WebP whose longer side has at most ``width`` pixels."""
    key = f"{content_hash}-w{width}"
    try:
        return blobs.get(key)
    except FileNotFoundError:
        made = thumbnail(_kept(blobs, content_hash), width, max_pixels)
        blobs.put_as(key, made)
        return made


def _kept(blobs: BlobStore, content_hash: str) -> bytes:
    try:
        return blobs.get(content_hash)
    except (FileNotFoundError, ValueError) as error:
        raise NoSuchImage(
            "no image of this hash is kept", found=content_hash, expected="the content hash of a ready image"
        ) from error
