"""morelike.js: the modules of static/morelike as one classic script, put together when the API starts."""

import gzip
import json
import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

STATIC = Path(__file__).parent / "static"

MODULES = (
    "client.js",
    "elements.js",
    "texts.js",
    "state.js",
    "journey.js",
    "picture.js",
    "voice.js",
    "box.js",
    "filters.js",
    "grid.js",
    "messages.js",
    "product.js",
    "view.js",
    "shop.js",
    "boot.js",
)
"""In the order in which they need one another. They share one scope, so a name is declared in one of them only."""

_IMPORT = re.compile(r"^import .*?;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


@dataclass(frozen=True)
class Asset:
    """A file as it is served. ``packed`` is its gzip form, a quarter as large; ``etag`` stands for both."""

    content: bytes
    packed: bytes
    media_type: str
    etag: str


@cache
def script(*, transcribes: bool = False) -> Asset:
    """``morelike.js``: nothing is fetched by it but the API, and nothing leaks out of it but ``window.Morelike``.

    Args:
        transcribes: this server turns recordings into words, so that a page may record.
    """
    folder = STATIC / "morelike"
    style = (folder / "style.css").read_text("utf-8")
    parts = [
        f"/* Morelike {version('morelike')}, Apache-2.0. One file, no dependencies; docs/storefront.md says how. */",
        "(() => {",
        '"use strict";',
        f"const STYLE = {json.dumps(style)};",
        f"const TRANSCRIBES = {json.dumps(transcribes)};",
        *(_EXPORT.sub("", _IMPORT.sub("", (folder / name).read_text("utf-8"))) for name in MODULES),
        "})();\n",
    ]
    return asset("\n".join(parts).encode(), "text/javascript; charset=utf-8")


@cache
def page_files() -> dict[str, Asset]:
    """The files of the shop's own page, by the name they are served under."""
    types = {
        "index.html": "text/html; charset=utf-8",
        "style.css": "text/css; charset=utf-8",
        "storefront.js": "text/javascript; charset=utf-8",
        "icon.svg": "image/svg+xml",
    }
    return {name: asset((STATIC / name).read_bytes(), media_type) for name, media_type in types.items()}


def asset(content: bytes, media_type: str) -> Asset:
    """``content`` with the tag by which a browser knows that it has it already; a weak one, for it has two forms."""
    packed = gzip.compress(content, mtime=0)
    return Asset(content, packed, media_type, f'W/"{sha256(content).hexdigest()[:20]}"')
