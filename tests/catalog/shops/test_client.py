"""The client keeps credentials at home, waits as it is asked to, and takes nothing for granted."""

import contextlib
import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.catalog.feeds.drafts import FeedBroken
from backend.catalog.shops import client as module
from backend.catalog.shops.client import NotThere, ShopClient, ShopRefused, ShopSilent
from backend.catalog.shops.listing import Listed, Listing
from backend.catalog.shops.opening import open_shop
from tests.catalog.shops.conftest import access
from tests.fixtures.hostile import Stranger, answer, drip, endless, redirect
from tests.fixtures.shop_server import ShopServer

OK = answer(b'{"ok": true}', "application/json")


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def ask(stranger: Stranger, pauses: list[float]) -> Callable[..., Any]:
    """Asks the stranger with credentials, without waiting; the pauses it would have made are kept."""
    client = ShopClient(
        f"http://{stranger.host}", patience_s=100, headers={"X-Token": "secret"}, auth=("u", "p"), timeout_s=1.0
    )
    client._pause = pauses.append
    return client.get


def test_a_redirect_on_the_same_host_is_followed(stranger: Stranger, ask: Callable[..., Any]) -> None:
    stranger.serve("/a?page=1", redirect("/b?page=1"))
    stranger.serve("/b?page=1", OK)
    assert ask("/a", page=1).data == {"ok": True}


@pytest.mark.parametrize(
    "target", ["http://localhost:{port}/b", "http://127.0.0.1:1/b", "//evil.example/b", "ftp://x/"]
)
def test_credentials_do_not_follow_a_redirect_elsewhere(
    stranger: Stranger, ask: Callable[..., Any], target: str
) -> None:
    stranger.serve("/a", redirect(target.format(port=stranger.port)))
    stranger.serve("/b", OK)
    with pytest.raises(ShopRefused, match="another address"):
        ask("/a")
    assert stranger.paths() == ["/a"]


def test_a_circle_of_redirects_ends(stranger: Stranger, ask: Callable[..., Any]) -> None:
    stranger.serve("/a", redirect("/a"))
    with pytest.raises(ShopRefused, match="in a circle"):
        ask("/a")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        (timedelta(seconds=90), 89.0),
        (timedelta(days=-40), 0.0),
        ("soon", 1.0),
        ("-5", 1.0),
        ("nan", 1.0),
        ("", 1.0),
    ],
)
def test_retry_after_is_kept(
    stranger: Stranger, ask: Callable[..., Any], pauses: list[float], said: str | timedelta, expected: float
) -> None:
    shown = format_datetime(datetime.now(UTC) + said) if isinstance(said, timedelta) else said
    limited = answer(b"{}", status="429 Too Many Requests", Retry_After=shown)

    def once(connection: Any) -> None:
        (OK if pauses else limited)(connection)

    stranger.serve("/a", once)
    assert ask("/a").data == {"ok": True}
    assert pauses[0] == pytest.approx(expected, abs=60 if expected == 89 else 0)


def test_pauses_grow_until_patience_ends(stranger: Stranger, ask: Callable[..., Any], pauses: list[float]) -> None:
    stranger.serve("/a", answer(b"", status="503 Service Unavailable"))
    with pytest.raises(ShopSilent) as silent:
        ask("/a")
    assert pauses == [1, 2, 4, 8, 16, 32]
    assert "503" in str(silent.value.found)
    stranger.serve("/b", answer(b"{}", status="429 Too Many", Retry_After="101"))
    with pytest.raises(ShopSilent):
        ask("/b")  # longer than patience lasts: no use in beginning to wait


@pytest.mark.parametrize(
    ("path", "behaviour", "error"),
    [
        ("/html", answer(b"<html>", "text/html"), ShopRefused),
        ("/gone", answer(b"{}", status="410 Gone"), NotThere),
        ("/no", answer(b'{"message": "no"}', status="403 Forbidden"), ShopRefused),
        ("/bad", answer(b'{"errors": "bad"}', status="400 Bad Request"), ShopRefused),
        ("/broken", answer(b'{"products": [', "application/json"), ShopSilent),
        ("/cut", lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), ShopSilent),
        ("/slow", drip, ShopSilent),
        ("/endless", endless, ShopRefused),
    ],
)
def test_what_is_no_answer(
    stranger: Stranger,
    ask: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    behaviour: Any,
    error: type[Exception],
) -> None:
    monkeypatch.setattr(module, "ANSWER_MAX_BYTES", 10**6)
    if path == "/slow":
        monkeypatch.setattr(module, "ANSWER_MAX_S", 0.2)
    stranger.serve(path, behaviour)
    with pytest.raises(error):
        ask(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda below: (
        st.lists(below, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "products",
                        "data",
                        "nodes",
                        "pageInfo",
                        "hasNextPage",
                        "endCursor",
                        "legacyResourceId",
                        "updatedAt",
                    ),
                    *(
                        "publishedAt",
                        "variants",
                        "media",
                        "options",
                        "position",
                        "name",
                        "id",
                        "variations",
                        "attributes",
                    ),
                    *(
                        "prices",
                        "price",
                        "images",
                        "src",
                        "errors",
                        "extensions",
                        "code",
                        "cost",
                        "shop",
                        "currencyCode",
                    ),
                    *("categories", "terms", "title", "selectedOptions", "inventoryItem", "category", "tags", "status"),
                ]
            ),
            below,
            max_size=6,
        )
    ),
    max_leaves=25,
)


def everything(shop: Listing) -> None:
    """Ask all that a reading asks."""
    shop.count()
    for page in shop.pages():
        listed = [one for one in page if isinstance(one, Listed)]
        list(shop.changes(listed))
        shop.still_sold([one.id for one in listed])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything in ``value``."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, one in below for place in places(one, (*path, name)))]


def spoilt(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """``value`` with ``other`` at ``path``; without what is there, where ``other`` is a function."""
    if not path:
        return None if callable(other) else other
    copy = value.copy()
    if len(path) == 1 and callable(other):
        del copy[path[0]]
    else:
        copy[path[0]] = spoilt(value[path[0]], path[1:], other)
    return copy


@pytest.mark.parametrize("way", ["shopify", "shopify-admin", "woocommerce", "woo-store"])
def test_whatever_a_shop_answers_is_read_or_refused(way: str, shopify: ShopServer, woocommerce: ShopServer) -> None:
    """Right answers with something wrong somewhere in them: another type, or nothing at all."""
    shop = shopify if way.startswith("shopify") else woocommerce
    shop.stock(3)
    listing = open_shop(access(shop, keys=way in ("shopify-admin", "woocommerce"), patience_s=0))
    right = shop.answer

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(st.integers(0, 10**6), min_size=1, max_size=8),
        st.lists(JSON | st.just(len), min_size=1, max_size=3),
    )
    def holds(numbers: list[int], others: list[Any]) -> None:
        asked = itertools.count()

        def answered(*request: Any) -> Any:
            status, headers, value = right(*request)
            number = next(asked)
            found = places(value)
            wrong = spoilt(value, found[numbers[number % len(numbers)] % len(found)], others[number % len(others)])
            return status, headers, json.dumps(wrong).encode("utf-8", "replace")

        shop.answer = answered  # type: ignore[method-assign]
        with contextlib.suppress(FeedBroken):
            everything(listing)

    holds()
