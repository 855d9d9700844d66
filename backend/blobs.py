"""Image bytes by content hash in a folder; written whole or not at all."""

import os
import tempfile
from hashlib import sha256
from pathlib import Path


def content_hash(data: bytes) -> str:
    """SHA-256 of ``data`` in hexadecimal, the name of a blob."""
    return sha256(data).hexdigest()


class BlobStore:
    """Folder of immutable blobs, fanned out over 256 sub-folders."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """Where the blob ``key`` lies. ``key`` is a hexadecimal hash, with an optional ``-variant`` behind it."""
        if len(key) < 64 or not all(c in "0123456789abcdef" for c in key[:64]) or "/" in key or ".." in key:
            raise ValueError(f"blob key {key!r}: expected 64 hexadecimal digits")
        return self.root / key[:2] / key

    def put(self, data: bytes) -> str:
        """Keep ``data`` and return its key; keeping it twice keeps it once."""
        key = content_hash(data)
        self.put_as(key, data)
        return key

    def put_as(self, key: str, data: bytes) -> None:
        """Keep ``data`` under ``key`` (a derived blob, such as a thumbnail)."""
        path = self.path(key)
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def get(self, key: str) -> bytes:
        """Bytes of the blob ``key``; ``FileNotFoundError`` where there is none."""
        return self.path(key).read_bytes()

    def has(self, key: str) -> bool:
        """Whether the blob ``key`` is kept."""
        return self.path(key).exists()
