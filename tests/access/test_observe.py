import re
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY
from starlette.testclient import TestClient


def test_a_request_id_is_kept_when_given_and_made_otherwise(api: TestClient) -> None:
    assert api.get("/probe/open", headers={"X-Request-ID": "shop-42.a_b"}).headers["x-request-id"] == "shop-42.a_b"
    made = {api.get("/probe/open").headers["x-request-id"] for _ in range(5)}
    assert len(made) == 5
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in made)


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, 'a"b', "<script>", "ü"])
def test_a_request_id_that_could_not_be_logged_plainly_is_replaced(api: TestClient, given: str) -> None:
    answer = api.get("/probe/open", headers=[(b"X-Request-ID", given.encode())])
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])


def test_the_log_has_a_line_without_what_was_typed(api: TestClient, logged: Callable[[], str]) -> None:
    api.get("/probe/open?q=a+private+wish", headers={"X-Request-ID": "known"})
    line = next(line for line in logged().splitlines() if "request_id" in line)
    for part in ("known", "GET", "/probe/open", "200", "ms"):
        assert part in line
    assert "wish" not in line


def test_a_failure_shows_its_id_and_nothing_of_the_inside(api: TestClient, logged: Callable[[], str]) -> None:
    quiet = TestClient(api.app, raise_server_exceptions=False)
    answer = quiet.get("/probe/broken", headers={"X-Request-ID": "r1"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "r1"
    assert "secret detail" not in answer.text
    assert "secret detail" in logged()


def test_every_answer_has_the_safe_headers(api: TestClient) -> None:
    for path, status in (("/probe/open", 200), ("/nowhere", 404), ("/probe/storefront", 401)):
        answer = api.get(path)
        assert answer.status_code == status
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "strict-origin-when-cross-origin"


def test_requests_are_counted_by_route_and_not_by_path(api: TestClient) -> None:
    def counted(route: str, status: str) -> float:
        labels = {"route": route, "method": "GET", "status": status}
        return REGISTRY.get_sample_value("morelike_request_seconds_count", labels) or 0.0

    before = counted("/probe/open", "200"), counted("unmatched", "404")
    api.get("/probe/open")
    api.get("/some/address/1")
    api.get("/some/address/2")
    assert (counted("/probe/open", "200"), counted("unmatched", "404")) == (before[0] + 1, before[1] + 2)
