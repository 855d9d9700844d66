"""What other products' events are understood as: the shapes as their specifications print them."""

from typing import Any

import pytest

from backend.events.bots import is_bot
from backend.events.dialects import understand
from backend.events.schemas import EventIn

LIST = "q_7kX2mfbTQ3qVn0aJ8rYw"


def ubi(action: str, object_id: Any = "p1", **more: Any) -> dict[str, Any]:
    return {
        "application": "amazon-shop",
        "action_name": action,
        "query_id": LIST,
        "session_id": "84266fdbd31d4c2c6d0665f7e8380fa3",
        "client_id": "5e3b2a1c-8b7d-4f2e-a3d4-c9b2e1f3a4b5",
        "timestamp": "2026-11-13T20:20:39Z",
        "message_type": "CONVERSION",
        "message": "what the shopper is searching on",
        "event_attributes": {
            "object": {"object_id": object_id, "object_id_type": "product"},
            "position": {"ordinal": 3},
        }
        | more,
    }


def track(event: Any, properties: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": event,
        "messageId": "ajs-next-1700000000000-0001",
        "anonymousId": "507f191e810c19729de860ea",
        "originalTimestamp": "2026-11-21T09:00:00.000Z",
        "properties": properties or {},
        "context": {"library": {"name": "analytics.js", "version": "next-1.70.0"}, "page": {"path": "/"}},
        "integrations": {},
    } | more


def native(sent: dict[str, Any]) -> dict[str, Any]:
    """The event as it is understood, checked by the schema."""
    said = understand(sent).said
    assert said is not None, understand(sent).not_used
    return EventIn.model_validate(said).model_dump(mode="json", exclude_none=True)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (ubi("click"), {"type": "click", "product_id": "p1", "query_id": LIST}),
        (ubi("click_through", 123), {"type": "click", "product_id": "123"}),
        (ubi("view"), {"type": "click", "product_id": "p1"}),
        (ubi("impression"), {"type": "exposure", "product_id": "p1"}),
        (
            ubi("impression", visible_share=0.75, visible_ms=900.0, columns=4),
            {"type": "exposure", "visible_share": 0.75, "visible_ms": 900, "columns": 4},
        ),
        (ubi("add_to_cart", price=9.5, currency="eur"), {"type": "add_to_cart", "price": "9.50", "currency": "EUR"}),
        (
            ubi("purchase", quantity="2", price="12.50", currency="EUR"),
            {
                "type": "purchase",
                "currency": "EUR",
                "items": [{"product_id": "p1", "quantity": 2, "price": "12.50"}],
                "query_id": LIST,
            },
        ),
        (ubi("dwell", dwell_ms=1200), {"type": "dwell", "dwell_ms": 1200}),
        (ubi("rating", stars=4), {"type": "rating", "stars": 4}),
        (
            {"user_query": "orange plush", "client_id": "a7", "timestamp": "2026-11-13T20:20:39"},
            {"type": "search", "attributes": {"query": "orange plush"}, "timestamp": "2026-11-13T20:20:39Z"},
        ),
        (
            {
                "user_query": "x",
                "query_id": "00112233-4455-6677-8899-aabbccddeeff",
                "query_response_objects_ids": [1, "b"],
            },
            {"type": "search", "attributes": {"query": "x", "hits": ["1", "b"]}},
        ),
        (
            track("Product Clicked", {"product_id": 507, "sku": "G-32", "position": 3, "query_id": LIST}),
            {"type": "click", "product_id": "507", "query_id": LIST, "surface": "web"},
        ),
        (track("Product Viewed", {"sku": "G-32"}), {"type": "click", "product_id": "G-32"}),
        (
            track(
                "product added",
                {"product_id": "p1", "quantity": "2", "price": "18.99", "currency": "usd", "cart_id": "c"},
            ),
            {"type": "add_to_cart", "quantity": 2, "price": "18.99", "currency": "USD"},
        ),
        (track("Product Added to Wishlist", {"product_id": "p1"}), {"type": "wishlist", "product_id": "p1"}),
        (
            track(
                "Order Completed",
                {
                    "order_id": "50314b8e9bcf000000000000",
                    "total": 27.5,
                    "currency": "USD",
                    "products": [
                        {"product_id": "p1", "price": 19, "quantity": 1, "queryID": LIST},
                        {
                            "product_id": "p2",
                            "price": 3,
                            "quantity": 2.0,
                            "query_id": "00112233-4455-6677-8899-aabbccddeeff",
                        },
                    ],
                },
                userId="u1",
            ),
            {
                "type": "purchase",
                "user_id": "u1",
                "items": [
                    {"product_id": "p1", "price": "19.00", "quantity": 1, "query_id": LIST},
                    {"product_id": "p2", "price": "3.00", "quantity": 2},
                ],
            },
        ),
        (
            track(
                "Product List Viewed", {"list_id": "todays_deals", "products": [{"product_id": "p1"}, {"sku": "p2"}]}
            ),
            {"type": "exposure", "items": [{"product_id": "p1"}, {"product_id": "p2"}]},
        ),
        (
            track("Products Searched", {"query": "blue roses"}),
            {"type": "search", "attributes": {"event": "Products Searched", "query": "blue roses"}},
        ),
        (track("Product Reviewed", {"product_id": "p1", "rating": "5"}), {"type": "rating", "stars": 5}),
        (
            track("Product Clicked", {"product_id": "p1"}, channel="mobile", context={"sessionId": 1700000000}),
            {"surface": "app", "session_id": "1700000000"},
        ),
    ],
)
def test_what_is_said_in_other_shapes_is_understood(sent: dict[str, Any], expected: dict[str, Any]) -> None:
    said = native(sent)
    assert {name: said.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    "sent",
    [
        ubi("brand_filter"),
        track("Checkout Started", {"order_id": "o"}),
        track("My Own Event"),
        track("Product List Viewed", {"products": []}),
        {"type": "identify", "userId": "u1", "traits": {"email": "a@b.example"}},
        {"type": "page", "name": "Home"},
    ],
)
def test_what_says_nothing_of_products_is_not_used_and_says_why(sent: dict[str, Any]) -> None:
    heard = understand(sent)
    assert heard.said is None
    assert heard.not_used
    assert heard.message_id


def test_a_position_that_a_client_claims_and_its_free_text_go_nowhere() -> None:
    said = str(native(ubi("click")))
    assert "ordinal" not in said
    assert "searching on" not in said


def test_an_event_without_an_id_has_one_of_its_content() -> None:
    first, again, other = (native(one)["message_id"] for one in (ubi("click"), ubi("click"), ubi("click", "p2")))
    assert first == again
    assert first != other
    # a query that names neither its time nor itself may be asked twice; both times count
    queries = [native({"user_query": "plush", "client_id": "a7"})["message_id"] for _ in range(2)]
    assert queries[0] != queries[1]


def test_a_call_without_an_id_counts_once_where_it_says_when_and_every_time_where_it_does_not() -> None:
    said = {
        key: value
        for key, value in track("Product Added", {"product_id": "p1"}).items()
        if key not in ("messageId", "originalTimestamp")
    }
    timed = said | {"timestamp": "2026-11-21T09:00:00Z"}
    retries = [native(timed | {"sentAt": f"2026-11-21T09:00:0{second}Z"})["message_id"] for second in (1, 5)]
    assert retries[0] == retries[1]
    assert native(said)["message_id"] != native(said)["message_id"]


@pytest.mark.parametrize("name", ["query_id", "queryID"])
def test_an_id_of_another_search_engine_is_passed_over(name: str) -> None:
    algolia = "43b15df305339e827f0ac0bdc5ebcaa7"
    assert "query_id" not in native(track("Product Clicked", {"product_id": "p1", name: algolia}))
    assert "query_id" not in native(ubi("click") | {"query_id": algolia})


def test_a_batch_of_mixed_shapes_is_told_apart_one_by_one() -> None:
    mixed = [
        ubi("click"),
        track("Product Clicked"),
        {"type": "click"},
        None,
        [],
        {"type": ["track"]},
        {"action_name": 5},
    ]
    dialects = [understand(one).dialect for one in mixed]
    assert dialects == ["ubi", "segment", "native", "native", "native", "native", "ubi"]


SHOPPERS = """
Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36
Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1
Mozilla/5.0 (Linux; Android 9; CUBOT X19 Build/PPR1.180610.011) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36
Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0
okhttp/4.12.0
MyShop/3.1 CFNetwork/1498.700.2 Darwin/23.6.0
Dart/3.5 (dart:io)
""".strip().splitlines()

ROBOTS = """
Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)
Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)
Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)
Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)
Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36
facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)
GPTBot/1.2; +https://openai.com/gptbot
Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)
python-requests/2.32.3
python-httpx/0.28.1
curl/8.9.1
Scrapy/2.11.2 (+https://scrapy.org)
Go-http-client/2.0
Wget/1.21.4
""".strip().splitlines()


@pytest.mark.parametrize("user_agent", SHOPPERS)
def test_browsers_and_apps_are_shoppers(user_agent: str) -> None:
    assert not is_bot(user_agent)


@pytest.mark.parametrize("user_agent", [*ROBOTS, "", None])
def test_who_says_that_it_is_a_program_is_one(user_agent: str | None) -> None:
    assert is_bot(user_agent)
