"""Boxes that shoppers draw on pictures: found, cut out of the stored original and encoded, once for each box."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import Connection
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.pictures import decode, upright_size
from backend.errors import Conflict, Unprocessable
from backend.generations.serving import Serving
from backend.ml.feedback.inputs import Regions
from backend.ml.regions import Box, pad_to_frame, steer_patches
from backend.prepared import prepared
from backend.search.kept_vectors import KeptVectors
from backend.search.query_encoders import QueryEncoders
from backend.search.query_vectors import PictureLimits
from backend.search.vector_cache import VectorCache

Vector = NDArray[np.float32]

LARGEST = 1024
"""Pixels of the longer side of a crop that waits to be encoded: more than any encoder looks at."""


class NoSuchPicture(Unprocessable):
    """A box names a picture that its product does not have."""

    title = "No such picture"


class PictureGone(Conflict):
    """The picture that a box was drawn on is no longer kept, and nothing was made of the box while it was."""

    title = "Picture no longer kept"


@dataclass(frozen=True)
class DrawnBox:
    """One box of a turn, as it is kept with it.

    Args:
        picture: content hash of the picture.
        box: where on it, x1 < x2 and y1 < y2.
        grade: what the shopper says of it, in [-1, 1].
    """

    picture: str
    box: Box
    grade: float


def find_pictures(connection: Connection, named: Sequence[tuple[str, int]]) -> list[str]:
    """Content hashes of the pictures named by product id and place among its ready pictures, the first being 0.

    Raises:
        NoSuchPicture: a product has no such picture, or does not exist.
    """
    rows = _PICTURES.rows(connection, {"ids": sorted({product_id for product_id, _ in named})})
    pictures: dict[str, list[str]] = {row.id: row.pictures for row in rows}
    for product_id, place in named:
        count = len(pictures.get(product_id, ()))
        if not 0 <= place < count:
            raise NoSuchPicture(
                "a box names a picture that this product does not have",
                found={"product_id": product_id, "image": place},
                expected=f"an image below {count}" if count else "a product with a picture",
            )
    return [pictures[product_id][place] for product_id, place in named]


class RegionCrops:
    """Turns boxes into what a refinement is computed from.

    Args:
        encoders: for crops.
        cache: vectors of crops; they are kept among the features, too, so that a turn can be replayed.
        sessions: where features are.
        blobs: where pictures are. No session is held while one is read or encoded.
        limits: of pictures.
    """

    def __init__(
        self,
        encoders: QueryEncoders,
        cache: VectorCache,
        sessions: sessionmaker[Session],
        blobs: BlobStore,
        limits: PictureLimits,
    ) -> None:
        self._encoders = encoders
        self._kept = KeptVectors(cache, sessions)
        self._blobs = blobs
        self._limits = limits

    def regions(self, serving: Serving, boxes: Sequence[DrawnBox]) -> Regions:
        """Vectors of what ``boxes`` hold, and their grades.

        A box says what is looked for, so its crop goes through the head of queries by picture.

        Raises:
            PictureGone: a picture is not kept, and its box was never encoded.
        """
        keys = {_key(box): box for box in boxes}
        known = self._kept.find(serving, keys)
        missing = {key: box for key, box in keys.items() if key not in known}
        if missing:
            known |= self._encoded(serving, missing)
        vectors = np.stack([known[_key(box)] for box in boxes])
        grades = np.array([box.grade for box in boxes], dtype=np.float64)
        return Regions(serving.query_heads.adapt("image", vectors), grades)

    def steer(self, serving: Serving, boxes: Sequence[DrawnBox]) -> dict[str, Vector]:
        """What ``boxes`` say of each patch token (Np,) of a picture, by its content hash; not of one that is gone."""
        encoder = self._encoders.serving(serving).encoder
        masks = {}
        for picture in sorted({box.picture for box in boxes}):
            try:
                size = upright_size(self._blobs.get(picture), self._limits.max_pixels)
            except FileNotFoundError:
                continue
            drawn = [(box.box, box.grade) for box in boxes if box.picture == picture]
            masks[picture] = steer_patches(drawn, encoder.framing, encoder.layout, size)
        return masks

    def _encoded(self, serving: Serving, boxes: Mapping[str, DrawnBox]) -> dict[str, Vector]:
        thread = self._encoders.serving(serving)
        crops: dict[str, Image.Image] = {}
        # one picture after the other: a hundred large ones would not fit into memory
        for picture in sorted({box.picture for box in boxes.values()}):
            decoded = self._picture(picture)
            for key, box in boxes.items():
                if box.picture == picture:
                    crops[key] = _small(pad_to_frame(crop(decoded, box.box), thread.encoder.framing))
        vectors = dict(zip(crops, thread.encode_images(list(crops.values())), strict=True))
        self._kept.keep(serving, vectors)
        return self._kept.remember(serving, vectors)

    def _picture(self, picture: str) -> Image.Image:
        try:
            data = self._blobs.get(picture)
        except FileNotFoundError as error:
            raise PictureGone(
                "the picture that this box was drawn on is no longer kept; draw it on another", found=picture
            ) from error
        return decode(data, self._limits.max_pixels)


def crop(picture: Image.Image, box: Box) -> Image.Image:
    """What ``box`` holds of ``picture``, every pixel that it touches."""
    x1, y1, x2, y2 = box
    width, height = picture.size
    left, upper = min(math.floor(x1 * width), width - 1), min(math.floor(y1 * height), height - 1)
    return picture.crop((left, upper, max(math.ceil(x2 * width), left + 1), max(math.ceil(y2 * height), upper + 1)))


def _small(picture: Image.Image) -> Image.Image:
    """``picture`` with its longer side at most ``LARGEST``."""
    if max(picture.size) > LARGEST:
        picture.thumbnail((LARGEST, LARGEST), Image.Resampling.BICUBIC)
    return picture


def _key(drawn: DrawnBox) -> str:
    edges = ",".join(f"{edge:.4f}" for edge in drawn.box)
    return sha256(f"region:{drawn.picture}:{edges}".encode()).hexdigest()


_PICTURES = prepared("""
    SELECT p.id, ARRAY(SELECT i.content_hash FROM product_images i WHERE i.product = p.number AND i.state = 'ready'
                       ORDER BY i.position) AS pictures
    FROM products p WHERE p.id = ANY(CAST(:ids AS text[])) AND p.deleted_at IS NULL
""")
