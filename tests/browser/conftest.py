"""A shop of drawings on the real components, and a real browser that looks at it."""

import base64
import io
import math
import os
import shutil
import struct
import threading
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from sqlalchemy.orm import Session, sessionmaker

from backend.access.callers import Scope
from backend.access.keys import create_key
from backend.blobs import BlobStore
from backend.catalog.images import FetchLimits
from backend.catalog.repository import upsert_products
from backend.catalog.schemas import ProductIn
from backend.db import connect, session_factory, session_scope
from backend.demo.catalogue import picture_items, picture_seed, products, row
from backend.demo.drawing import draw
from backend.generations.bootstrap import ensure_live
from backend.generations.encoders import open_encoder
from backend.generations.ingest import Ingest
from backend.http import SafeFetcher
from backend.main import create_app
from backend.settings import Settings
from backend.vector_index import VectorIndex
from tests.fixtures.components import free_port
from tests.fixtures.database import fresh_database
from tests.fixtures.stacks import wait_for

PATIENCE_MS = 60_000
"""Only a bound: a page on a machine that is busy with other things is slow, and not broken."""
PRODUCTS = 150
SIDE = 160
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
"""A shopper's: what a headless browser calls itself is taken for a robot."""
FLAGS = (
    "--use-fake-ui-for-media-stream --use-fake-device-for-media-stream"
    " --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
).split()

SCRIPT = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
HOSTILE: dict[str, Any] = {
    "id": '"><svg/onload=window.hacked=1>/../x?y#z',
    "title": f"Zyzzyva {SCRIPT}",
    "description": SCRIPT,
    "brand": SCRIPT,
    "category": [SCRIPT],
    "attributes": {"colour": SCRIPT, SCRIPT: "x", "material": "red;background:url(//evil.example)"},
    "variants": [{"sku": "ZYZ-1", "title": SCRIPT}, {"sku": SCRIPT, "title": "'\"><b>"}],
    "captions": [SCRIPT],
    "price": 1,
    "currency": "EUR",
}
"""A product whose every text is markup."""


@dataclass(frozen=True)
class Stack:
    """The running shop: its address, its database for what a test adds, and its settings for another API over it."""

    url: str
    sessions: sessionmaker[Session]
    settings: Settings

    def key_for(self, origin: str) -> str:
        """A storefront key that lists ``origin``."""
        with session_scope(self.sessions) as session:
            return create_key(session, name="browser test", scope=Scope.STOREFRONT, origins=[origin]).secret


def chromium() -> str:
    """The installed Chromium; without one the test is skipped."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed")
    return program


@pytest.fixture(scope="package")  # ends with these tests: its event loop and its collections are in others' way
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The installed Chromium with a profile of its own."""
    program = chromium()
    home = tmp_path_factory.mktemp("chromium")
    microphone = home / "microphone.wav"
    microphone.write_bytes(someone_speaking())
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={microphone}%noloop"]
    environment: dict[str, str | float | bool] = {**os.environ, "HOME": str(home)}
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags, env=environment)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def stack(
    postgres_uri: str, redis_server: str, milvus_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The API on a port of its own, over a catalogue that was ingested for real."""
    with fresh_database(postgres_uri) as database_url:
        settings = Settings(
            home=tmp_path_factory.mktemp("shop"),
            port=free_port(),
            database_url=database_url,
            redis_url=redis_server,
            milvus_uri=milvus_uri,
            demo=True,
            torch_threads=1,
            tokens="off",
            log_level="error",
        )
        engine = connect(database_url)
        sessions = session_factory(engine)
        fill(settings, sessions)
        with serving(settings, sessions) as running:
            yield running
        engine.dispose()


@contextmanager
def serving(settings: Settings, sessions: sessionmaker[Session]) -> Iterator[Stack]:
    """An API over a catalogue that is there."""
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=settings.port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{settings.port}"
    wait_until_ready(url)
    yield Stack(url, sessions, settings)
    server.should_exit = True
    thread.join(20)


def someone_speaking() -> bytes:
    """A WAV for the microphone: a second and a half of sound, then silence."""
    rate, out = 48000, io.BytesIO()
    tone = (9000 * math.sin(n / 30) for n in range(rate * 3 // 2))
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(b"".join(struct.pack("<h", int(one)) for one in tone) + bytes(2 * rate * 20))
    return out.getvalue()


def fill(settings: Settings, sessions: sessionmaker[Session]) -> None:
    """Import and ingest the drawings, through the same code as a shop's import."""
    blobs = BlobStore(settings.blob_dir)
    encoder = open_encoder(settings)
    index = VectorIndex(str(settings.milvus_uri))
    rows = [row(product) | {"images": list(pictures_of(product))} for product in products(PRODUCTS, 7)]
    with session_scope(sessions) as session:
        ensure_live(session, index, encoder)
        upsert_products(session, [ProductIn.model_validate(one) for one in [*rows, HOSTILE]], blobs=blobs)
    Ingest(sessions, blobs, SafeFetcher(), encoder, index, FetchLimits(), "off", 64).run_due()


def pictures_of(product: Any) -> Iterator[dict[str, str]]:
    """The drawings of a product of the demo, as an import would send them."""
    for name, item in picture_items(product).items():
        yield {"data": base64.b64encode(drawing(name, item)).decode()}


def drawing(name: str, item: Any) -> bytes:
    """WebP of one drawing."""
    out = io.BytesIO()
    draw(item, picture_seed(name), SIDE).save(out, "WEBP", quality=86)
    return out.getvalue()


def wait_until_ready(url: str) -> None:
    """Until a search would be answered."""

    def ready() -> bool:
        try:
            return httpx.get(f"{url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    wait_for(ready, f"{url} would answer a search")


@dataclass
class Tab:
    """A page of the browser, and everything it complained about."""

    page: Page
    complaints: list[str]


OpenTab = Callable[..., Tab]


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[OpenTab]:
    """Opens pages in contexts of their own; keyword arguments are Playwright's for a context."""
    contexts: list[BrowserContext] = []

    def opened(**options: Any) -> Tab:
        context = browser.new_context(
            **({"viewport": {"width": 1280, "height": 900}, "user_agent": USER_AGENT} | options)
        )
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        tab = Tab(context.new_page(), [])
        tab.page.on("console", lambda said: said.type in ("error", "warning") and tab.complaints.append(said.text))
        tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        return tab

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def shop(stack: Stack, open_tab: OpenTab) -> Iterator[Page]:
    """The shop's page with its first results; at the end it must not have complained."""
    tab = open_tab()
    tab.page.goto(stack.url)
    settled(tab.page)
    yield tab.page
    assert tab.complaints == []


def settled(page: Page) -> None:
    """Until the search that was begun is answered and shown."""
    page.locator(".shop:not([aria-busy])").wait_for(state="attached")
    page.locator(".grid .card-link, .message").first.wait_for()


def search(page: Page, text: str) -> None:
    """Type and press Enter."""
    page.locator(".box-input").fill(text)
    with page.expect_response(lambda answer: answer.url.endswith("/v1/search") and not is_partial(answer)):
        page.keyboard.press("Enter")
    settled(page)


def is_partial(answer: Any) -> bool:
    """Whether the answer was to someone still typing."""
    return bool(answer.request.post_data_json.get("partial"))


def shown(page: Page) -> list[str]:
    """Ids of the products on the page, in order."""
    ids: list[str] = page.eval_on_selector_all(".grid > .card", "cards => cards.map((card) => card.dataset.product)")
    return ids


def kept_picture(tmp_path: Path, product_number: int) -> tuple[str, Path]:
    """(product id, file) of a drawing that the shop has."""
    product = products(PRODUCTS, 7)[product_number]
    name, item = next(iter(picture_items(product).items()))
    path = tmp_path / name
    path.write_bytes(drawing(name, item))
    return product.id, path


Serve = Callable[..., str]


@pytest.fixture
def serve(stack: Stack) -> Iterator[Serve]:
    """Serves a page, and others by their paths, from an origin of its own under the policy of docs/storefront.md.

    In a page, ``API`` stands for the address of the API, ``KEY`` for a key that lists the origin, ``PRODUCT`` for the
    ``id`` in the page's address. Returns the origin.
    """
    api = stack.url
    policy = f"default-src 'none'; script-src {api}; connect-src {api}; img-src {api} data:; style-src 'none'"
    servers: list[ThreadingHTTPServer] = []
    pages: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            page = pages.get(address.path, pages["/"])
            self.send_response(200)
            kind = "javascript" if address.path.endswith(".js") else "html"
            self.send_header("Content-Type", f"text/{kind}; charset=utf-8")
            if "<script>" not in page:
                self.send_header("Content-Security-Policy", policy)
            self.end_headers()
            named = parse_qs(address.query).get("id", ["PRODUCT"])[0]
            self.wfile.write(page.replace("PRODUCT", named).encode())

        def log_message(self, *_: object) -> None:
            """Not to the terminal."""

    def served(page: str, others: dict[str, str] | None = None) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        origin = f"http://127.0.0.1:{server.server_port}"
        key = stack.key_for(origin)
        for path, one in {"/": page, **(others or {})}.items():
            pages[path] = one if path.endswith(".js") else one.replace("KEY", key).replace("API", stack.url)
        return origin

    yield served
    for server in servers:
        server.shutdown()
        server.server_close()
