"""The files of the pages for administrators."""

from functools import cache
from pathlib import Path

from backend.assets import Asset, asset

STATIC = Path(__file__).parent / "static"


@cache
def page_files() -> dict[str, Asset]:
    """The files by the name they are served under."""
    return {path.name: asset(path.read_bytes(), path.suffix.removeprefix(".")) for path in sorted(STATIC.iterdir())}
