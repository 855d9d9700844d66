"""HTTP of the shop's page: the page, ``morelike.js``, product images, and the count it compares itself with."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from backend.access.dependencies import BlobsDep, SessionDep, SettingsDep, StorefrontCaller
from backend.assets import Packing, SeenTag, send, send_page
from backend.errors import NotFound
from backend.storefront.bundle import instantsearch_script, page_files, script, shop_page
from backend.storefront.keyword_count import count_titles
from backend.storefront.pictures import Width, original, scaled

router = APIRouter()

PUBLIC = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATED = "public, max-age=300, stale-while-revalidate=86400"

EXAMPLE_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class NoSuchFile(NotFound):
    """The shop's page has no file of this name."""

    title = "No such file"


class KeywordCount(BaseModel):
    """What a keyword search over the titles would have found."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "a small orange plush toy with big eyes", "products": 0}]}
    )

    text: str
    products: int = Field(description="Products whose title contains every word.")


@router.get("/", include_in_schema=False)
def page(settings: SettingsDep, seen: SeenTag = None, packing: Packing = "") -> Response:
    """The shop."""
    return send_page(shop_page(demo=settings.demo), seen, packing)


@router.get("/static/{name}", include_in_schema=False)
def page_file(name: str, seen: SeenTag = None, packing: Packing = "") -> Response:
    """A file of the shop's page."""
    found = page_files().get(name)
    if found is None:
        raise NoSuchFile("the page has no such file", found=name, expected=sorted(page_files()))
    return send(found, seen, packing)


@router.get("/morelike.js", include_in_schema=False)
def morelike_script(settings: SettingsDep, seen: SeenTag = None, packing: Packing = "") -> Response:
    """The search for any page."""
    asset = script(transcribes=settings.transcriber_url is not None)
    return send(asset, seen, packing, REVALIDATED, PUBLIC)


@router.get("/morelike-instantsearch.js", include_in_schema=False)
def morelike_instantsearch_script(seen: SeenTag = None, packing: Packing = "") -> Response:
    """What lets InstantSearch search here; it stands behind ``morelike.js`` on the page."""
    return send(instantsearch_script(), seen, packing, REVALIDATED, PUBLIC)


_IMAGE_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The image.",
        "content": {"image/webp": {}, "image/jpeg": {}, "image/png": {}, "image/gif": {}},
    }
}


@router.get("/images/{content_hash}", response_class=Response, responses=_IMAGE_ANSWERS, tags=["Catalogue"])
def image(
    blobs: BlobsDep,
    settings: SettingsDep,
    content_hash: Annotated[str, Path(pattern="^[0-9a-f]{64}$", examples=[EXAMPLE_HASH])],
    w: Annotated[Width | None, Query(description="Longer side in pixels, as WebP.", examples=[320])] = None,
    seen: SeenTag = None,
) -> Response:
    """A product image by its content hash: as it came, or scaled. It never changes, so it may be cached for ever."""
    etag = f'"{content_hash}-{int(w or 0)}"'
    headers = {"ETag": etag, "Cache-Control": IMMUTABLE, **PUBLIC}
    if w is None:
        data, media_type = original(blobs, content_hash, settings.image_max_pixels)
    else:
        data, media_type = scaled(blobs, content_hash, w, settings.image_max_pixels), "image/webp"
    if seen is not None and etag in seen:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=media_type, headers=headers)


@router.get("/demo/keyword-count", tags=["Demo"])
def keyword_count(
    _caller: StorefrontCaller,
    session: SessionDep,
    text: Annotated[str, Query(max_length=1000, examples=["a small orange plush toy with big eyes"])],
) -> KeywordCount:
    """How many products a keyword search over the same titles finds: every word has to occur in the title."""
    return KeywordCount(text=text, products=count_titles(session, text))
