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

INSTANTSEARCH_MODULES = ("asked.js", "answered.js", "connection.js")
"""Of the second script, which needs the first one on its page."""

_IMPORT = re.compile(r"^import .*?;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)
_DEMO_ONLY = re.compile(r'^ *<p class="demo-only">.*</p>\n', re.MULTILINE)


@cache
def script(*, transcribes: bool = False) -> Asset:
    """``morelike.js``: nothing is fetched by it but the API, and nothing leaks out of it but ``window.Morelike``.

    Args:
        transcribes: this server turns recordings into words, so that a page may record.
    """
    style = (STATIC / "morelike" / "style.css").read_text("utf-8")
    return _joined(
        "One file, no dependencies; docs/storefront.md says how.",
        f"const STYLE = {json.dumps(style)};",
        f"const TRANSCRIBES = {json.dumps(transcribes)};",
        *_classic("morelike", MODULES),
    )


@cache
def instantsearch_script() -> Asset:
    """``morelike-instantsearch.js``: adds ``Morelike.instantSearch`` to a page that has ``morelike.js``."""
    return _joined(
        "For InstantSearch; docs/instantsearch.md says how.", *_classic("instantsearch", INSTANTSEARCH_MODULES)
    )


def _classic(folder: str, names: tuple[str, ...]) -> list[str]:
    """Modules without what a classic script does not know."""
    sources = ((STATIC / folder / name).read_text("utf-8") for name in names)
    return [_EXPORT.sub("", _IMPORT.sub("", source)) for source in sources]


def _joined(about: str, *parts: str) -> Asset:
    """One script with a scope of its own."""
    head = f"/* Morelike {version('morelike')}, Apache-2.0. {about} */"
    return asset("\n".join([head, "(() => {", '"use strict";', *parts, "})();\n"]).encode(), "js")


@cache
def page_files() -> dict[str, Asset]:
    """The files of the shop's own page, by the name they are served under."""
    names = ("style.css", "storefront.js", "icon.svg")
    return {name: asset((STATIC / name).read_bytes(), name.rpartition(".")[2]) for name in names}


@cache
def shop_page(*, demo: bool) -> Asset:
    """The shop's own page; only that of the demo shows the way to ``/demo/learn``, which no other server has."""
    page = (STATIC / "index.html").read_text("utf-8")
    return asset((page if demo else _DEMO_ONLY.sub("", page)).encode(), "html")
