"""morelike.js: the modules of static/morelike as one classic script, put together when the API starts."""

import json
import re
from functools import cache
from importlib.metadata import version
from pathlib import Path

from backend.assets import Asset, asset

STATIC = Path(__file__).parent / "static"

MODULES = (
    "client.js",
    "elements.js",
    "texts.js",
    "turns.js",
    "state.js",
    "journey.js",
    "picture.js",
    "voice.js",
    "box.js",
    "filters.js",
    "thumbs.js",
    "glide.js",
    "move.js",
    "grid.js",
    "messages.js",
    "boxes.js",
    "heat.js",
    "lightbox.js",
    "product.js",
    "trail.js",
    "memory.js",
    "consent.js",
    "outbox.js",
    "exposure.js",
    "lists.js",
    "collect.js",
    "rewording.js",
    "why.js",
    "view.js",
    "session.js",
    "refiner.js",
    "shop.js",
    "boot.js",
)
"""In the order in which they need one another. They share one scope, so a name is declared in one of them only."""

_IMPORT = re.compile(r"^import .*?;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


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
    return asset("\n".join(parts).encode(), "js")


@cache
def page_files() -> dict[str, Asset]:
    """The files of the shop's own page, by the name they are served under."""
    names = ("index.html", "style.css", "storefront.js", "icon.svg")
    return {name: asset((STATIC / name).read_bytes(), name.rpartition(".")[2]) for name in names}
