import pytest
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from backend.access import keyring
from backend.access.callers import Scope
from backend.access.keys import create_key, revoke_key
from backend.db import session_scope
from tests.fixtures.api import SHOP, Keys


def preflight(api: TestClient, origin: str, method: str = "POST") -> tuple[int, dict[str, str]]:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization",
    }
    answer = api.options("/probe/echo", headers=asked)
    return answer.status_code, dict(answer.headers)


@pytest.mark.usefixtures("keys")
def test_a_preflight_of_a_listed_origin_is_answered(api: TestClient) -> None:
    status, headers = preflight(api, SHOP)
    assert status == 204
    assert headers["access-control-allow-origin"] == SHOP
    assert "authorization" in headers["access-control-allow-headers"].lower()
    assert "POST" in headers["access-control-allow-methods"]
    assert int(headers["access-control-max-age"]) > 0
    assert "Origin" in headers["vary"]


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    "origin", ["https://attacker.example", "http://shop.example", f"{SHOP}.attacker.example", "null"]
)
def test_a_preflight_of_any_other_origin_is_refused(api: TestClient, origin: str) -> None:
    status, headers = preflight(api, origin)
    assert status == 403
    assert "access-control-allow-origin" not in headers


def test_an_origin_is_known_as_long_as_a_live_key_lists_it(
    api: TestClient, sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "MAX_AGE_S", 0.0)
    monkeypatch.setattr(keyring, "UNKNOWN_KEY_AGE_S", 0.0)
    origin = "https://other.example"
    assert preflight(api, origin)[0] == 403
    with session_scope(sessions) as session:
        key_id = create_key(session, name="k", scope=Scope.STOREFRONT, origins=[origin]).row.id
    assert preflight(api, origin)[0] == 204
    with session_scope(sessions) as session:
        revoke_key(session, key_id)
    assert preflight(api, origin)[0] == 403


def test_a_listed_origin_may_use_the_key_and_read_the_answer(api: TestClient, keys: Keys) -> None:
    answer = api.get("/probe/storefront", headers=keys.storefront | {"Origin": SHOP})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
    assert "Origin" in answer.headers["vary"]


def test_another_origin_may_not_use_the_key(api: TestClient, keys: Keys) -> None:
    answer = api.get("/probe/storefront", headers=keys.storefront | {"Origin": "https://attacker.example"})
    assert answer.status_code == 403
    assert answer.json()["found"] == "https://attacker.example"
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("scope", ["server", "admin"])
def test_keys_that_are_no_storefront_keys_do_not_work_from_pages(api: TestClient, keys: Keys, scope: str) -> None:
    assert api.get("/probe/storefront", headers=getattr(keys, scope) | {"Origin": SHOP}).status_code == 403
    own = {"Origin": "http://api.example"}
    assert api.get("/probe/storefront", headers=getattr(keys, scope) | own).status_code == 200


@pytest.mark.usefixtures("keys")
def test_a_page_of_a_listed_origin_can_read_why_it_was_refused(api: TestClient) -> None:
    wrong = api.get("/probe/storefront", headers={"Authorization": "Bearer mk_pub_x", "Origin": SHOP})
    broken = api.post("/probe/echo", headers={"Origin": SHOP, "Content-Type": "application/json"}, content=b"{")
    failed = TestClient(api.app, base_url="http://api.example", raise_server_exceptions=False).get(
        "/probe/broken", headers={"Origin": SHOP}
    )
    for answer, status in ((wrong, 401), (broken, 400), (failed, 500)):
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == SHOP


def test_answers_vary_by_origin_even_without_one(api: TestClient) -> None:
    assert api.get("/probe/open").headers["vary"] == "Origin"


def test_no_answer_lets_any_origin_in_or_carries_credentials(api: TestClient, keys: Keys) -> None:
    for headers in ({}, {"Origin": SHOP}, keys.storefront | {"Origin": SHOP}):
        answer = api.get("/probe/open", headers=headers)
        assert answer.headers.get("access-control-allow-origin") in (None, SHOP)
        assert "access-control-allow-credentials" not in answer.headers
