"""Who may do what, over HTTP."""

import pytest
from starlette.testclient import TestClient

from tests.fixtures.api import Keys


@pytest.mark.parametrize(
    ("key", "route", "status"),
    [
        ("storefront", "storefront", 200),
        ("storefront", "server", 403),
        ("storefront", "admin", 403),
        ("server", "storefront", 200),
        ("server", "server", 200),
        ("server", "admin", 403),
        ("admin", "storefront", 200),
        ("admin", "server", 200),
        ("admin", "admin", 200),
    ],
)
def test_a_key_may_do_what_its_scope_covers(api: TestClient, keys: Keys, key: str, route: str, status: int) -> None:
    answer = api.get(f"/probe/{route}", headers=getattr(keys, key))
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["found"] == key
        assert answer.json()["expected"] == f"scope {route} or above"


@pytest.mark.parametrize(
    "shown", ["Bearer mk_adm_guess", "Bearer ", "Bearer", "Basic YTpi", "mk_adm_guess", "Bearer a b", "bearer \x7f"]
)
def test_what_is_no_key_is_401_everywhere_a_key_is_needed(api: TestClient, shown: str) -> None:
    answer = api.get("/probe/storefront", headers={"Authorization": shown})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "unknown" in answer.json()["detail"]
    assert api.get("/probe/open", headers={"Authorization": shown}).status_code == 200


def test_no_key_is_401_and_says_what_to_send(api: TestClient) -> None:
    answer = api.get("/probe/storefront")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Authorization: Bearer" in answer.json()["expected"]


def test_the_scheme_is_written_in_any_case(api: TestClient, keys: Keys) -> None:
    secret = keys.server["Authorization"].split()[1]
    assert api.get("/probe/server", headers={"Authorization": f"bEARER {secret}"}).status_code == 200


def test_the_demo_needs_no_key_on_its_own_machine_for_storefront_things(visitor: TestClient) -> None:
    assert visitor.get("/probe/storefront").json() == "demo visitor"
    own = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
    assert visitor.get("/probe/storefront", headers=own).status_code == 200
    assert visitor.post("/probe/admin").status_code == 403
    assert visitor.delete("/probe/admin").status_code == 403


def test_the_demo_shows_administrators_things_on_its_own_machine_while_it_has_no_other_address(
    visitor: TestClient, public_visitor: TestClient
) -> None:
    assert visitor.get("/probe/admin").json() == "demo visitor"
    assert public_visitor.get("/probe/storefront").status_code == 200
    assert public_visitor.get("/probe/admin").status_code == 403
    assert public_visitor.get("/probe/server").status_code == 403


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "127.0.0.9", "[::1]:8000", "localhost"])
def test_every_name_of_this_machine_is_its_own(visitor: TestClient, host: str) -> None:
    assert visitor.get("/probe/storefront", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.attacker.example:8000"},  # DNS rebinding: the name resolves to 127.0.0.1
        {"Host": "127.0.0.1.attacker.example"},
        {"Host": "localhost.attacker.example"},
        {"Host": "[bad"},
        {"Host": "user@127.0.0.1.attacker.example"},
        {"Host": "10.0.0.1"},
        {"Host": ""},
        {"Origin": "https://attacker.example"},  # another page in this machine's browser
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "https://127.0.0.1:8000"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"X-Forwarded-For": "127.0.0.1"},  # a proxy on this machine, forwarding a stranger
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
        {"X-Real-IP": "127.0.0.1"},
        {"Authorization": "Bearer mk_adm_wrong"},  # a wrong key is wrong everywhere
    ],
)
def test_strangers_are_no_visitors_of_the_demo(visitor: TestClient, headers: dict[str, str]) -> None:
    assert visitor.get("/probe/storefront", headers=headers).status_code == 401


def test_another_machine_is_no_visitor(visitor: TestClient) -> None:
    away = TestClient(visitor.app, base_url="http://127.0.0.1:8000", client=("192.168.1.7", 50000))
    assert away.get("/probe/storefront").status_code == 401


def test_without_the_demo_this_machine_needs_a_key_as_well(api: TestClient) -> None:
    local = TestClient(api.app, base_url="http://127.0.0.1:8000", client=("127.0.0.1", 50000))
    assert local.get("/probe/storefront").status_code == 401
