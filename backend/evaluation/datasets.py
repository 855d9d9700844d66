"""Pictures with captions, as benchmarks come: Karpathy's JSON, or a folder or zip beside a table of captions."""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from backend.catalog.feeds.pictures import PictureMissing, PictureSource, open_pictures
from backend.errors import NotFound, Unprocessable

PICTURE_MAX_BYTES = 64 * 2**20
PIXELS_MAX = 100_000_000

NAME_COLUMNS = ("image", "file_name", "filename", "path")
CAPTION_COLUMNS = ("captions", "caption", "text", "title", "description")
HELD_BACK = ("test", "val", "valid", "validation", "dev")
"""Splits that a model is judged on, the first found is taken where none is named."""


class DatasetUnreadable(Unprocessable):
    """The captions are of no format that is read here, or say nothing."""

    title = "Dataset unreadable"


@dataclass(frozen=True)
class Photo:
    """A picture and what people say it shows.

    Args:
        name: its name below the folder or in the zip.
        captions: by people, in the order of the file; queries are taken from them.
        generated: by a model, what generative feedback reads; None where no model looked.
    """

    name: str
    captions: tuple[str, ...]
    generated: str | None = None


@dataclass(frozen=True)
class CaptionedPhotos:
    """One split of a benchmark.

    Args:
        name: of the file and the split, for people.
        photos: in the order of the file.
        pictures: where their bytes are.
        key: digest of the names, the captions and the place and age of the pictures.
    """

    name: str
    photos: tuple[Photo, ...]
    pictures: PictureSource
    key: str

    def picture(self, place: int) -> Image.Image:
        """The picture of photo ``place``, in RGB.

        Raises:
            PictureMissing: there is none, or it is none that can be read.
        """
        name = self.photos[place].name
        try:
            data = self.pictures.read(name)
        except PictureMissing:
            data = self.pictures.read(name.rpartition("/")[2])  # COCO's file names the folder, a copy often lacks it
        return decoded(data, name)


def decoded(data: bytes, name: str) -> Image.Image:
    """The picture in ``data``, in RGB.

    Raises:
        PictureMissing: it is none, or larger than 100 million pixels.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > PIXELS_MAX:
                raise PictureMissing("The picture is too large.", found=f"{name}: {image.size}", expected=PIXELS_MAX)
            return image.convert("RGB")
    except PictureMissing:
        raise
    except Exception as error:  # Pillow's readers raise whatever damaged bytes lead them to
        raise PictureMissing("The picture cannot be read.", found=f"{name}: {error}"[:200]) from error


def open_dataset(
    captions: Path,
    *,
    images: Path | None = None,
    split: str | None = None,
    caption_column: str | None = None,
    generated: Path | None = None,
) -> CaptionedPhotos:
    """Read one split of a benchmark; pictures are opened when they are needed.

    Args:
        captions: Karpathy's JSON (Flickr8k, Flickr30k, COCO), or JSON lines or CSV with a row for each picture or for
            each caption.
        images: folder or zip; by default the zip of the same name beside the captions, else their folder.
        split: value of `split` to take; by default the first of test, val, ... that there is, else all rows.
        caption_column: where the captions are; by default ``captions``, ``caption``, ``text``, ``title`` or
            ``description``.
        generated: what a model wrote: JSON or JSON lines that give each picture's name a caption.

    Raises:
        NotFound: a file is not there.
        DatasetUnreadable: the captions are of no known format, or no row is of this split.
    """
    rows = list(_rows(captions, caption_column))
    if not rows:
        raise DatasetUnreadable("There are no captions.", found=str(captions), expected="rows with picture and caption")
    taken, chosen = _of_split(rows, split)
    written = read_generated(generated) if generated else {}
    photos = tuple(_photos(chosen, written))
    place = images or _beside(captions)
    name = f"{captions.stem} {taken}" if taken else captions.stem
    return CaptionedPhotos(name, photos, open_pictures(place, PICTURE_MAX_BYTES), _key(photos, place))


def read_generated(path: Path) -> dict[str, str]:
    """Captions that a model wrote, by the picture's name: a JSON object, or JSON lines as datasets have them.

    Raises:
        DatasetUnreadable: it is neither.
    """
    text = _text(path)
    try:
        if path.suffix == ".json" and isinstance(found := json.loads(text), dict):
            return {str(name): _one(caption) for name, caption in found.items()}
        rows = (json.loads(line) for line in text.splitlines() if line.strip())
        return {row[_present(row, NAME_COLUMNS)]: _one(row[_present(row, CAPTION_COLUMNS)]) for row in rows}
    except (ValueError, TypeError, KeyError) as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class _Row:
    name: str
    split: str | None
    captions: tuple[str, ...]
    generated: str | None = None


def _rows(path: Path, caption_column: str | None) -> Iterator[_Row]:
    columns = (caption_column,) if caption_column else CAPTION_COLUMNS
    text = _text(path)
    try:
        if path.suffix == ".csv":
            yield from (_row(row, columns) for row in csv.DictReader(io.StringIO(text)))
        elif path.suffix == ".json":
            yield from (_karpathy_row(image) for image in json.loads(text)["images"])
        else:
            yield from (_row(json.loads(line), columns) for line in text.splitlines() if line.strip())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error


def _karpathy_row(image: dict[str, Any]) -> _Row:
    """A picture of Karpathy's files; what COCO's call restval belongs to nobody's split but its own."""
    name = "/".join(part for part in (image.get("filepath"), image["filename"]) if part)
    return _Row(name, image.get("split"), tuple(sentence["raw"].strip() for sentence in image["sentences"]))


def _row(row: dict[str, Any], columns: Sequence[str]) -> _Row:
    found = row[_present(row, columns)]
    captions = tuple(found) if isinstance(found, list) else (found,)
    spoken = tuple(str(caption).strip() for caption in captions if caption and str(caption).strip())
    return _Row(str(row[_present(row, NAME_COLUMNS)]), row.get("split"), spoken, row.get("generated") or None)


def _present(row: dict[str, Any], names: Sequence[str]) -> str:
    for name in names:
        if name in row:
            return name
    raise KeyError(f"found the columns {', '.join(row)}; expected one of {', '.join(names)}")


def _of_split(rows: Sequence[_Row], split: str | None) -> tuple[str | None, list[_Row]]:
    """The split taken and its rows."""
    there = {row.split for row in rows if row.split}
    if split is None:
        split = next((name for name in HELD_BACK if name in there), None)
    chosen = [row for row in rows if split is None or row.split == split]
    if not chosen:
        raise DatasetUnreadable("No row is of this split.", found=split, expected=sorted(there) or "no split")
    return split, chosen


def _photos(rows: Iterable[_Row], generated: dict[str, str]) -> Iterator[Photo]:
    """Rows of the same picture as one photo; a picture that nothing is said of is left out."""
    captions: dict[str, list[str]] = {}
    own: dict[str, str] = {}
    for row in rows:
        captions.setdefault(row.name, []).extend(row.captions)
        if row.generated:
            own[row.name] = row.generated
    for name, spoken in captions.items():
        if spoken:
            wrote = generated.get(name) or generated.get(name.rpartition("/")[2]) or own.get(name)
            yield Photo(name, tuple(spoken), wrote)


def _beside(captions: Path) -> Path:
    archive = captions.with_suffix(".zip")
    return archive if archive.is_file() else captions.parent


def _key(photos: Sequence[Photo], images: Path) -> str:
    age = images.stat()
    digest = hashlib.sha256(f"{images.resolve()} {age.st_mtime_ns} {age.st_size}\n".encode())
    for photo in photos:
        digest.update(json.dumps([photo.name, photo.captions, photo.generated]).encode())
    return digest.hexdigest()[:16]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable(path, str(error)) from error
    except OSError as error:
        raise NotFound("The file cannot be read.", found=str(path), expected=error.strerror) from error


def _one(caption: Any) -> str:
    return str(caption[0] if isinstance(caption, list) else caption).strip()


def _unreadable(path: Path, found: str) -> DatasetUnreadable:
    expected = "Karpathy's JSON, or JSON lines or CSV with the columns image and caption"
    return DatasetUnreadable(f"{path} cannot be read.", found=found[:300], expected=expected)
