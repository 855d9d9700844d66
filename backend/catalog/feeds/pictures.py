"""Pictures that lie beside a feed, in a folder or a zip, by the names the feed gives them."""

import stat
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from backend.blobs import BlobStore
from backend.catalog.schemas import IMAGES_MAX, short, web_address
from backend.errors import NotFound, Unprocessable

RATIO_MAX = 200
"""Most that a member of a zip may grow when unpacked. Pictures are compressed already; only bombs grow so much."""


class PictureMissing(Unprocessable):
    """No usable file has this name; the product is kept without the picture."""

    title = "Picture missing"


class PictureSource(Protocol):
    """Where pictures lie."""

    def read(self, name: str) -> bytes:
        """Bytes of the picture ``name``; ``PictureMissing`` where there is none."""
        ...


def open_pictures(path: Path, max_bytes: int) -> PictureSource:
    """The folder or zip at ``path``."""
    if path.is_dir():
        return Folder(path, max_bytes)
    if not path.is_file():
        raise NotFound("There are no pictures here.", found=str(path), expected="a folder or a zip")
    try:
        return Zip(path, max_bytes)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise PictureMissing("This is no zip.", found=str(path), expected="a folder or a zip") from error


class Folder:
    """Pictures in a folder and its sub-folders; nothing outside of it is read, not by ``..`` nor by a link."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root.resolve()
        self._max_bytes = max_bytes

    def read(self, name: str) -> bytes:
        """Bytes of the picture ``name``."""
        try:
            path = (self._root / name.replace("\\", "/")).resolve()
            inside = path.is_relative_to(self._root) and path.is_file()
            size = path.stat().st_size if inside else 0
        except (OSError, ValueError) as error:
            raise _missing(name) from error
        if not inside:
            raise _missing(name)
        if size > self._max_bytes:
            raise _too_large(name, size, self._max_bytes)
        return path.read_bytes()


class Zip:
    """Pictures in a zip, read one at a time: nothing is unpacked to disk, and no more of one than allowed."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._zip = zipfile.ZipFile(path)
        self._max_bytes = max_bytes
        self._members = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}
        # a zip often holds one folder that the feed does not mention
        self._by_last: dict[str, list[zipfile.ZipInfo]] = {}
        for info in self._members.values():
            self._by_last.setdefault(info.filename.rpartition("/")[2], []).append(info)

    def read(self, name: str) -> bytes:
        """Bytes of the picture ``name``, or of the only one that is so called in any folder of the zip."""
        info = self._find(name.replace("\\", "/").removeprefix("./"))
        if info is None or stat.S_ISLNK(info.external_attr >> 16):
            raise _missing(name)
        if info.file_size > self._max_bytes or info.file_size > RATIO_MAX * max(info.compress_size, 1):
            raise _too_large(name, info.file_size, self._max_bytes)
        try:
            with self._zip.open(info) as member:
                data = member.read(self._max_bytes + 1)  # the size in the directory may lie
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError) as error:
            raise PictureMissing(
                "The zip's member cannot be read.", found=f"{name}: {error}"[:200], expected="a whole, plain member"
            ) from error
        if len(data) > self._max_bytes:
            raise _too_large(name, len(data), self._max_bytes)
        return data

    def _find(self, name: str) -> zipfile.ZipInfo | None:
        if (exact := self._members.get(name)) is not None:
            return exact
        alike = self._by_last.get(name.rpartition("/")[2], [])
        return alike[0] if len(alike) == 1 else None


def _missing(name: str) -> PictureMissing:
    return PictureMissing("There is no such picture.", found=name[:200], expected="a file under --images")


def _too_large(name: str, size: int, most: int) -> PictureMissing:
    return PictureMissing("The picture is too large.", found=f"{name[:200]}: {size} bytes", expected=f"at most {most}")


@dataclass(frozen=True)
class Lost:
    """A picture that a feed names and that cannot be had."""

    name: str
    reason: str


def with_sources(
    images: Sequence[Any], pictures: PictureSource | None, blobs: BlobStore
) -> tuple[list[str], list[Lost]]:
    """Sources of ``images``, addresses as they are and files as blobs; and those that cannot be had."""
    sources: list[str] = []
    lost: list[Lost] = []
    for image in images:
        try:
            sources.append(_source(image, pictures, blobs))
        except PictureMissing as missing:
            lost.append(Lost(str(missing.found), f"{missing.detail} Expected: {missing.expected}."))
        except ValueError as error:
            lost.append(Lost(str(short(image)), str(error)))
    sources = list(dict.fromkeys(sources))
    lost += [Lost(source, f"at most {IMAGES_MAX} pictures a product") for source in sources[IMAGES_MAX:]]
    return sources[:IMAGES_MAX], lost


def _source(image: Any, pictures: PictureSource | None, blobs: BlobStore) -> str:
    if isinstance(image, bytes):
        return f"blob:{blobs.put(image)}"
    name = str(image).strip()
    if name.startswith("//"):
        name = f"https:{name}"
    if "://" in name:
        return web_address(name)
    if name.startswith("blob:"):
        raise ValueError("an address or the name of a file")
    if pictures is None:
        raise PictureMissing("This is the name of a file.", found=name[:200], expected="an address, or --images PATH")
    return f"blob:{blobs.put(pictures.read(name))}"
