"""Files of pages as they are served: packed once, and known to a browser by their tag."""

import gzip
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

from fastapi import Header, Response

SeenTag = Annotated[str | None, Header(alias="If-None-Match", include_in_schema=False)]
Packing = Annotated[str, Header(alias="Accept-Encoding", include_in_schema=False)]

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob: https:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Nothing runs or draws on our pages that this server did not send; pictures named by address may be anyone's."""

_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Asset:
    """A file as it is served. ``packed`` is its gzip form, a quarter as large; ``etag`` stands for both."""

    content: bytes
    packed: bytes
    media_type: str
    etag: str


def asset(content: bytes, ending: str) -> Asset:
    """``content`` with the tag by which a browser knows that it has it already; a weak one, for it has two forms.

    Args:
        content: the file.
        ending: of its name: html, css, js or svg.
    """
    etag = f'W/"{sha256(content).hexdigest()[:20]}"'
    return Asset(content, gzip.compress(content, mtime=0), _MEDIA_TYPES[ending], etag)


def send(
    file: Asset, seen: str | None, packing: str, cache: str = "no-cache", headers: dict[str, str] | None = None
) -> Response:
    """``file``, packed where the browser unpacks, or the word that the browser has it already."""
    answer = {"ETag": file.etag, "Cache-Control": cache, "Vary": "Accept-Encoding", **(headers or {})}
    if seen is not None and file.etag in seen:
        return Response(status_code=304, headers=answer)
    if "gzip" in packing:
        return Response(file.packed, media_type=file.media_type, headers=answer | {"Content-Encoding": "gzip"})
    return Response(file.content, media_type=file.media_type, headers=answer)


def send_page(file: Asset, seen: str | None, packing: str) -> Response:
    """``file``, a page of ours, under the policy of our pages."""
    return send(file, seen, packing, headers={"Content-Security-Policy": PAGE_POLICY})
