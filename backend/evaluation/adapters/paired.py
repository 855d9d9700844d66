"""Pairs of texts and pictures with what people see of them: from files of vectors, from datasets, from a catalogue."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.catalog.feeds.pictures import PictureMissing, open_pictures
from backend.errors import NotFound, Unprocessable
from backend.evaluation.datasets import PICTURE_MAX_BYTES, CaptionedPhotos, decoded
from backend.evaluation.features import Features
from backend.ml.pairs import Pairs, Rows, Vectors

SAID_COLUMNS = ("query", "caption", "title", "description")
NAME_COLUMNS = ("image_name", "file_name", "id")
PRODUCT_COLUMNS = ("product", "id")
KIND_COLUMNS = ("article_type", "product_type", "kind", "category")

HALF = 5e-3
"""How far the length of a vector kept in half precision may be from 1."""


class EmbeddingsUnreadable(Unprocessable):
    """A file that holds no pairs of vectors."""

    title = "Embeddings unreadable"


@dataclass(frozen=True)
class PairedTexts:
    """Pairs of one encoder's vectors, and what people see of them.

    Args:
        name: for people.
        pairs: all of them.
        said: (n,) each text in words.
        titles: (m,) what each picture is called.
        picture: the picture of a row of ``pairs.images``; None where there is none.
        kinds: words that name a kind of product here, beside those known anyway.
        encoder: its id, where it is known.
        left_out: pictures that could not be read.
    """

    name: str
    pairs: Pairs
    said: Sequence[str]
    titles: Sequence[str]
    picture: Callable[[int], Image.Image | None] = lambda _: None
    kinds: frozenset[str] = field(default_factory=frozenset)
    encoder: str = "not recorded"
    left_out: int = 0


def read_embeddings(path: Path, images: Path | None = None) -> PairedTexts:
    """Pairs of a ``.npz`` file of vectors: ``image`` (m, d) and ``text`` (n, d), unit rows in any precision.

    Text i belongs to row ``text_image[i]``, or to row i where there is no such column. Rows of equal ``product`` (or
    ``id``) are pictures of one product. ``query``, ``caption``, ``title`` or ``description`` is what a text says.

    Args:
        path: the file.
        images: folder or zip of the pictures, called ``image_name``, ``file_name``, or ``id`` with ``.jpg``.

    Raises:
        NotFound: there is no such file.
        EmbeddingsUnreadable: it holds something else.
    """
    columns = _columns(path)
    pictures, texts = (_unit(columns[name]) for name in ("image", "text"))
    if "text_image" not in columns and len(texts) != len(pictures):
        found = f"{len(texts)} texts, {len(pictures)} pictures and no column text_image"
        raise EmbeddingsUnreadable(f"{path} pairs nothing.", found=found, expected="a picture for each text")
    image_of = np.asarray(columns.get("text_image", np.arange(len(texts))), dtype=np.int64)
    products = _column(columns, PRODUCT_COLUMNS, len(pictures))
    product_of = np.arange(len(pictures)) if products is None else np.unique(products, return_inverse=True)[1]
    pairs = Pairs(texts, pictures, image_of, np.asarray(product_of, dtype=np.int64))
    said = _column(columns, SAID_COLUMNS, len(texts))
    names = _column(columns, NAME_COLUMNS, len(pictures))
    known = _column(columns, KIND_COLUMNS, len(pictures))
    written = [str(row) for row in range(len(texts))] if said is None else [str(one) for one in said]
    return PairedTexts(
        name=path.stem,
        pairs=pairs,
        said=written,
        titles=_titles(columns, written, image_of, len(pictures)),
        picture=_reader(images, names),
        kinds=frozenset() if known is None else frozenset(str(kind).lower() for kind in known),
    )


def paired_photos(data: CaptionedPhotos, features: Features) -> PairedTexts:
    """Pairs of a dataset: every caption of every picture that can be read; each photo is a product of its own."""
    photos = features.gallery
    rows = [(int(photo), row) for photo in photos for row in features.captions_of(int(photo))]
    places = {int(photo): place for place, photo in enumerate(photos)}
    pairs = Pairs(
        np.ascontiguousarray(features.texts[[row for _, row in rows]], dtype=np.float32),
        np.ascontiguousarray(features.images[photos], dtype=np.float32),
        np.array([places[photo] for photo, _ in rows], np.int64),
        np.arange(len(photos)),
    )
    said = [data.photos[photo].captions[row - features.captions_of(photo)[0]] for photo, row in rows]

    def picture(row: int) -> Image.Image | None:
        with suppress(PictureMissing):
            return data.picture(int(photos[row]))
        return None

    titles = [data.photos[int(photo)].name for photo in photos]
    left_out = len(data.photos) - len(photos)
    return PairedTexts(data.name, pairs, said, titles, picture, encoder=features.encoder_id, left_out=left_out)


def alone(pairs: Pairs) -> Pairs:
    """A copy of these pairs with the pictures of their own products only: nothing of another is seen through it."""
    pictures = np.flatnonzero(np.isin(pairs.product_of, pairs.products))
    places = np.full(len(pairs.images), -1, np.int64)
    places[pictures] = np.arange(len(pictures))
    rows = pairs.rows
    return Pairs(
        np.ascontiguousarray(pairs.texts[rows]),
        np.ascontiguousarray(pairs.images[pictures]),
        places[pairs.image_of[rows]],
        np.asarray(pairs.product_of[pictures]),
    )


def groups(pairs: Pairs) -> Rows:
    """A number (k,) for each of these pairs: equal where products are, or where texts are word for word the same.

    Folds part groups, not products: no query that is tested was a text that was learned from, whatever it was for.
    """
    texts = np.unique(pairs.texts[pairs.rows], axis=0, return_inverse=True)[1].reshape(-1)
    numbers = np.asarray(pairs.products)
    while True:
        joined = _least(_least(numbers, texts), np.asarray(pairs.products))
        if np.array_equal(joined, numbers):
            return joined
        numbers = joined


def _least(numbers: Rows, keys: Rows) -> Rows:
    """The least of the ``numbers`` (k,) among those of equal ``keys`` (k,)."""
    _, places = np.unique(keys, return_inverse=True)
    least = np.full(places.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(least, places, numbers)
    return np.asarray(least[places], dtype=np.int64)


def _columns(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            columns = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise NotFound("The file cannot be read.", found=str(path), expected="a .npz file") from error
    except (OSError, ValueError, TypeError) as error:
        raise EmbeddingsUnreadable(f"{path} cannot be read.", found=str(error)[:200], expected="a .npz file") from error
    shapes = {name: column.shape for name, column in columns.items() if name in {"image", "text"}}
    widths = {shape[1:] for shape in shapes.values()}
    if len(shapes) < 2 or len(widths) > 1 or any(len(width) != 1 for width in widths):
        raise EmbeddingsUnreadable(f"{path} holds no pairs.", found=shapes, expected="image (m, d) and text (n, d)")
    return columns


def _unit(rows: NDArray[Any]) -> Vectors:
    """Rows in single precision, at unit length where half precision alone kept them from it."""
    vectors = np.ascontiguousarray(rows, dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    near = np.abs(lengths - 1) <= HALF
    return np.asarray(vectors / np.where(near, lengths, 1), dtype=np.float32)


def _column(columns: dict[str, NDArray[Any]], names: Sequence[str], count: int) -> NDArray[Any] | None:
    """The first of these columns that has a value for each of ``count`` rows."""
    return next((columns[name] for name in names if name in columns and columns[name].shape == (count,)), None)


def _titles(columns: dict[str, NDArray[Any]], said: Sequence[str], image_of: Rows, count: int) -> list[str]:
    """What each picture is called: its own column, else the first text about it."""
    own = _column(columns, ("title", "description", *NAME_COLUMNS), count)
    if own is not None:
        return [str(one) for one in own]
    titles = [str(row) for row in range(count)]
    for text, row in zip(reversed(said), image_of[::-1].tolist(), strict=True):
        titles[row] = text
    return titles


def _reader(images: Path | None, names: NDArray[Any] | None) -> Callable[[int], Image.Image | None]:
    if images is None or names is None:
        return lambda _: None
    source = open_pictures(images, PICTURE_MAX_BYTES)

    def picture(row: int) -> Image.Image | None:
        name = str(names[row])
        for candidate in (name, f"{name}.jpg"):
            with suppress(PictureMissing):
                return decoded(source.read(candidate), candidate)
        return None

    return picture
