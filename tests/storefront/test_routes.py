"""The page, the script and the pictures, through the real API."""

import io
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from PIL import Image
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from backend.access.provided import lookup
from backend.blobs import BlobStore
from backend.catalog.repository import delete_product, upsert_products
from backend.catalog.schemas import ProductIn
from backend.db import session_scope
from backend.storefront.bundle import shop_page
from tests.fixtures.api import Keys

Keep = Callable[[Image.Image, str], str]


@pytest.fixture
def keep(app: FastAPI, api: TestClient) -> Keep:  # noqa: ARG001  (the client starts the app)
    """Keeps a picture in a format and returns its content hash."""

    def kept(picture: Image.Image, form: str) -> str:
        out = io.BytesIO()
        picture.save(out, form)
        return lookup(app, BlobStore).put(out.getvalue())

    return kept


def test_the_page_needs_no_key_and_runs_nothing_that_others_sent(api: TestClient) -> None:
    answer = api.get("/")
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "<script>" not in answer.text
    assert "onclick" not in answer.text


def test_the_page_shows_the_way_to_the_loop_where_there_is_one(api: TestClient) -> None:
    way = b'href="/demo/learn"'
    assert (way in api.get("/").content) == (api.get("/demo/learn").status_code == 200)
    assert way in shop_page(demo=True).content
    assert b"demo-only" not in shop_page(demo=False).content


@pytest.mark.parametrize("name", ["style.css", "storefront.js", "icon.svg"])
def test_each_file_of_the_page_is_there(api: TestClient, name: str) -> None:
    assert api.get(f"/static/{name}").status_code == 200


@pytest.mark.parametrize("name", ["bundle.py", "..%2Froutes.py", "%2e%2e/routes.py", "morelike", "index.htm"])
def test_nothing_else_is(api: TestClient, name: str) -> None:
    assert api.get(f"/static/{name}").status_code == 404


@pytest.mark.parametrize("path", ["/morelike.js", "/morelike-instantsearch.js"])
def test_a_script_may_be_loaded_from_anywhere_and_is_not_sent_twice(api: TestClient, path: str) -> None:
    first = api.get(path, headers={"Origin": "https://any.example"})
    assert first.headers["Access-Control-Allow-Origin"] == "*"
    assert first.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    again = api.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_script_is_packed_for_those_who_unpack(api: TestClient) -> None:
    packed = api.get("/morelike.js", headers={"Accept-Encoding": "gzip"})
    plain = api.get("/morelike.js", headers={"Accept-Encoding": "identity"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.text == plain.text
    assert int(packed.headers["Content-Length"]) * 3 < int(plain.headers["Content-Length"])


def test_an_image_comes_as_it_was_kept(api: TestClient, keep: Keep) -> None:
    key = keep(Image.new("RGB", (60, 40), "orange"), "PNG")
    answer = api.get(f"/images/{key}")
    assert answer.headers["Content-Type"] == "image/png"
    assert "immutable" in answer.headers["Cache-Control"]
    assert Image.open(io.BytesIO(answer.content)).size == (60, 40)


def test_a_width_gives_a_webp_whose_longer_side_it_is_and_which_is_made_once(
    app: FastAPI, api: TestClient, keep: Keep
) -> None:
    key = keep(Image.new("RGB", (800, 400), "orange"), "JPEG")
    answer = api.get(f"/images/{key}", params={"w": 320})
    assert answer.headers["Content-Type"] == "image/webp"
    assert Image.open(io.BytesIO(answer.content)).size == (320, 160)
    kept = lookup(app, BlobStore).path(f"{key}-w320")
    made_at = kept.stat().st_mtime_ns
    assert api.get(f"/images/{key}", params={"w": 320}).content == answer.content
    assert kept.stat().st_mtime_ns == made_at


def test_a_small_image_is_not_blown_up(api: TestClient, keep: Keep) -> None:
    key = keep(Image.new("RGB", (50, 50), "orange"), "PNG")
    assert Image.open(io.BytesIO(api.get(f"/images/{key}", params={"w": 320}).content)).size == (50, 50)


@pytest.mark.parametrize("width", ["0", "321", "-320", "1e3", "99999", "x", ""])
def test_only_the_widths_of_the_list_are_made(api: TestClient, keep: Keep, width: str) -> None:
    key = keep(Image.new("RGB", (8, 8), "orange"), "PNG")
    answer = api.get(f"/images/{key}", params={"w": width})
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_an_image_that_the_browser_has_is_not_sent_again(api: TestClient, keep: Keep) -> None:
    key = keep(Image.new("RGB", (8, 8), "orange"), "PNG")
    first = api.get(f"/images/{key}", params={"w": 96})
    again = api.get(f"/images/{key}", params={"w": 96}, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert api.get(f"/images/{key}", headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


@pytest.mark.parametrize("name", ["0" * 64, "0" * 64 + "-w320", "../../etc/passwd", "A" * 64, "0" * 63])
def test_what_is_no_image_is_a_problem_and_never_a_file(api: TestClient, name: str) -> None:
    answer = api.get(f"/images/{name}")
    assert answer.status_code in (404, 422)
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_bytes_that_are_no_picture_are_refused_with_their_reason(app: FastAPI, api: TestClient) -> None:
    key = lookup(app, BlobStore).put(b"<script>alert(1)</script>")
    for params in ({}, {"w": 320}):
        answer = api.get(f"/images/{key}", params=params)
        assert answer.status_code == 422
        assert answer.json()["title"] == "Picture refused"


@pytest.fixture
def titles(sessions: sessionmaker[Session], api: TestClient, app: FastAPI) -> None:  # noqa: ARG001
    """Three titles; what else the products say must not count."""
    rows = [
        {"id": "1", "title": "Toy, Polyester, 5-inch", "captions": ["a small orange plush toy"], "brand": "Orange"},
        {"id": "2", "title": "Orange toys", "description": "plush"},
        {"id": "3", "title": "Orange toy of yesterday"},
    ]
    with session_scope(sessions) as session:
        upsert_products(session, [ProductIn.model_validate(row) for row in rows], blobs=lookup(app, BlobStore))
        delete_product(session, "3")


@pytest.mark.usefixtures("titles")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("toy", 2),  # by its stem, and not in what was deleted
        ("orange toy", 1),  # every word has to be in the title: not in the brand
        ("a small orange plush toy with big eyes", 0),
        ("plush", 0),  # only in captions and descriptions
        ("the with a", 0),
        ("", 0),
        ("toy' | orange:* & !", 1),  # operators are words without letters
    ],
)
def test_keywords_are_counted_over_titles_only(api: TestClient, keys: Keys, text: str, found: int) -> None:
    answer = api.get("/demo/keyword-count", params={"text": text}, headers=keys.storefront)
    assert answer.json()["products"] == found


def test_counting_needs_a_key(api: TestClient) -> None:
    assert api.get("/demo/keyword-count", params={"text": "toy"}).status_code == 401
