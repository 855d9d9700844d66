"""A benchmark through a frozen encoder, once: vectors and tokens in files that are read as they are needed."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image

from backend.catalog.feeds.pictures import PictureMissing
from backend.evaluation.datasets import CaptionedPhotos
from backend.ml.encoder import Encoder
from backend.ml.feedback.inputs import Matrix
from backend.ml.tokens import FP16_MAX, StoredForm, pack_tokens, unpack_tokens

Ints = NDArray[np.int64]
Halves = NDArray[np.float16]
Progress = Callable[[str, int, int], None]
"""What is encoded, how many are, and of how many."""

PICTURES_AT_ONCE = 64
TEXTS_AT_ONCE = 1024
IMAGES, IMAGE_TOKENS = "images.npy", "image_tokens.npy"
TEXTS, TEXT_TOKENS, TEXT_ENDS = "texts.npy", "text_tokens.f16", "text_ends.npy"


@dataclass(frozen=True)
class Features:
    """What an encoder makes of n photos and the m texts that belong to them.

    Args:
        encoder_id: of the encoder.
        images: (n, d) unit rows; NaN for a picture that cannot be read.
        texts: (m, d) unit rows: the captions of all photos one after another, then the generated ones.
        first: (n + 1,) caption ``j`` of photo ``i`` is row ``first[i] + j``; those of ``i`` end at ``first[i + 1]``.
        generated: (n,) row of the caption that a model wrote of each photo; -1 where none did.
        image_tokens: (n, Np, Dv) patch tokens, or None.
        text_tokens: (T, Dt) word tokens of all texts one after another, or None.
        text_ends: (m + 1,) those of text ``i`` are rows ``text_ends[i]`` to ``text_ends[i + 1]``.
        form: None reads tokens as they were computed, in half precision; else as the token store would keep them.
    """

    encoder_id: str
    images: Matrix
    texts: Matrix
    first: Ints
    generated: Ints
    image_tokens: Halves | None = None
    text_tokens: Halves | None = None
    text_ends: Ints | None = None
    form: StoredForm | None = None

    @property
    def gallery(self) -> Ints:
        """Photos whose pictures can be read."""
        return np.flatnonzero(np.isfinite(self.images).all(axis=1))

    def captions_of(self, photo: int) -> range:
        """Rows of the texts that people wrote of ``photo``."""
        return range(int(self.first[photo]), int(self.first[photo + 1]))

    def tokens_of_image(self, photo: int) -> Matrix:
        """Patch tokens (Np, Dv) of ``photo``."""
        if self.image_tokens is None:
            raise ValueError("patch tokens were not computed; expected features with tokens")
        return self._as_kept(np.asarray(self.image_tokens[photo], dtype=np.float32))

    def tokens_of_text(self, row: int) -> Matrix:
        """Word tokens (L, Dt) of text ``row``, padding not included."""
        if self.text_tokens is None or self.text_ends is None:
            raise ValueError("word tokens were not computed; expected features with tokens")
        return self._as_kept(self.text_tokens[self.text_ends[row] : self.text_ends[row + 1]].astype(np.float32))

    def _as_kept(self, tokens: Matrix) -> Matrix:
        return tokens if self.form is None else unpack_tokens(pack_tokens(tokens, self.form))


def compute_features(
    encoder: Encoder, data: CaptionedPhotos, folder: Path, *, tokens: bool, progress: Progress = lambda *_: None
) -> Features:
    """Features of ``data``, from files below ``folder`` where they were computed before.

    A picture that cannot be read keeps its place, as NaN: nothing shifts.

    Args:
        encoder: what they are computed with.
        data: the photos.
        folder: kept per encoder and dataset; files appear whole or not at all, so an interrupted run is repeated.
        tokens: whether patch and word tokens are needed; 2 bytes a number on disk.
        progress: told how far each of the two parts is.
    """
    place = folder / encoder.id.replace("/", "-").replace(":", "-") / data.key
    place.mkdir(parents=True, exist_ok=True)
    first = np.concatenate([[0], np.cumsum([len(photo.captions) for photo in data.photos])]).astype(np.int64)
    texts = [caption for photo in data.photos for caption in photo.captions]
    generated = np.full(len(data.photos), -1, dtype=np.int64)
    for number, photo in enumerate(data.photos):
        if photo.generated:
            generated[number] = len(texts)
            texts.append(photo.generated)
    _once(
        place,
        (IMAGES, IMAGE_TOKENS) if tokens else (IMAGES,),
        lambda into: _encode_images(encoder, data, into, progress, tokens=tokens),
    )
    _once(
        place,
        (TEXTS, TEXT_TOKENS, TEXT_ENDS) if tokens else (TEXTS,),
        lambda into: _encode_texts(encoder, texts, into, progress, tokens=tokens),
    )
    return _opened(encoder, place, first, generated, tokens=tokens)


def _opened(encoder: Encoder, place: Path, first: Ints, generated: Ints, *, tokens: bool) -> Features:
    vectors = (np.load(place / IMAGES), np.load(place / TEXTS), first, generated)
    if not tokens:
        return Features(encoder.id, *vectors)
    ends = np.load(place / TEXT_ENDS)
    shape = (int(ends[-1]), encoder.word_width)
    words: Halves = np.memmap(place / TEXT_TOKENS, np.float16, "r", shape=shape)
    return Features(encoder.id, *vectors, np.load(place / IMAGE_TOKENS, mmap_mode="r"), words, ends)


def _encode_images(
    encoder: Encoder, data: CaptionedPhotos, place: Path, report: Progress, *, tokens: bool
) -> Iterator[str]:
    """Write vectors, and tokens where they are wanted; the names of the files."""
    count, layout = len(data.photos), encoder.layout
    vectors = open_memmap(place / IMAGES, "w+", np.float32, (count, encoder.dim))
    vectors[:] = np.nan
    shape = (count, layout.count, layout.width) if tokens else (0, 0, 0)
    rows = open_memmap(place / IMAGE_TOKENS, "w+", np.float16, shape)
    for start in range(0, count, PICTURES_AT_ONCE):
        report("Pictures", start, count)
        where, pictures = _readable(data, range(start, min(start + PICTURES_AT_ONCE, count)))
        if where:
            found = encoder.begin_images(pictures, tokens=tokens).result()
            vectors[where] = found.vectors
            if tokens:
                rows[where] = _halves(found.tokens)
    report("Pictures", count, count)
    vectors.flush()
    rows.flush()
    yield from (IMAGES, IMAGE_TOKENS) if tokens else (IMAGES,)


def _readable(data: CaptionedPhotos, places: range) -> tuple[list[int], list[Image.Image]]:
    where, pictures = [], []
    for place in places:
        with suppress(PictureMissing):  # it stays NaN, and whoever evaluates says how many do
            pictures.append(data.picture(place))
            where.append(place)
    return where, pictures


def _encode_texts(
    encoder: Encoder, texts: Sequence[str], place: Path, report: Progress, *, tokens: bool
) -> Iterator[str]:
    """Write vectors, and tokens where they are wanted; the names of the files."""
    vectors = np.empty((len(texts), encoder.dim), dtype=np.float32)
    lengths = np.zeros(len(texts) + 1, dtype=np.int64)
    with (place / TEXT_TOKENS).open("wb") as words:
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            report("Captions", start, len(texts))
            some = texts[start : start + TEXTS_AT_ONCE]
            if not tokens:
                vectors[start : start + len(some)] = encoder.encode_texts(some)
                continue
            found = encoder.encode_texts_with_tokens(some)
            vectors[start : start + len(some)] = found.vectors
            lengths[start + 1 : start + len(some) + 1] = [len(rows) for rows in found.tokens]
            words.writelines(_halves(rows).tobytes() for rows in found.tokens)
    report("Captions", len(texts), len(texts))
    np.save(place / TEXTS, vectors)
    np.save(place / TEXT_ENDS, np.cumsum(lengths))
    yield from (TEXTS, TEXT_TOKENS, TEXT_ENDS) if tokens else (TEXTS,)


def _once(place: Path, names: Sequence[str], write: Callable[[Path], Iterator[str]]) -> None:
    """Have ``write`` make the files ``names`` in ``place`` unless they are there; each appears whole."""
    if all((place / name).is_file() for name in names):
        return
    with tempfile.TemporaryDirectory(dir=place, prefix=".partial-") as scratch:
        for name in list(write(Path(scratch))):
            (Path(scratch) / name).replace(place / name)


def _halves(tokens: NDArray[np.float32]) -> Halves:
    # some large towers carry single values beyond float16's range: they become its largest, not infinity
    halves: Halves = np.clip(tokens, -FP16_MAX, FP16_MAX).astype(np.float16)
    return halves
