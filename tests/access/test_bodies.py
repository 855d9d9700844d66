from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

JSON = {"Content-Type": "application/json"}
LIMIT = 2048  # of this room's test settings


def text_of(size: int) -> bytes:
    """A JSON text of ``size`` bytes."""
    return b'"' + b"a" * (size - 2) + b'"'


def in_chunks(data: bytes, size: int = 100) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize(("size", "status"), [(LIMIT - 1, 200), (LIMIT, 200), (LIMIT + 1, 413), (100 * LIMIT, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_limit_is_the_largest_body_that_passes(api: TestClient, size: int, status: int, chunked: bool) -> None:
    body = in_chunks(text_of(size)) if chunked else text_of(size)
    answer = api.post("/probe/echo", content=body, headers=JSON)
    assert answer.status_code == status
    if status == 413:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["connection"] == "close"
        assert answer.json()["expected"] == f"at most {LIMIT} bytes"


def test_an_endless_body_is_not_read_to_its_end(api: TestClient) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 1000 * LIMIT:
            sent += 100
            yield b"a" * 100

    # the test client itself reads ahead, the server side must have stopped: the answer is 413 either way
    assert api.post("/probe/echo", content=endless(), headers=JSON).status_code == 413


def test_a_length_that_lies_does_not_get_more_through(api: TestClient) -> None:
    lying = JSON | {"Content-Length": "10"}
    assert api.post("/probe/echo", content=in_chunks(text_of(LIMIT * 2)), headers=lying).status_code == 413


@pytest.mark.parametrize("length", ["99999999999999999999999", "٣", "-5", "1e9"])
def test_strange_lengths_are_no_failure(api: TestClient, length: str) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", length.encode())]
    answer = api.build_request("POST", "http://api.example/probe/echo", content=b"1")
    answer.headers = type(answer.headers)(headers)
    assert api.send(answer).status_code in (200, 413)


@pytest.mark.parametrize("address", ["/probe/%00", "/probe/open?a=%00", "/v1/products/a%00b", "/%00"])
def test_nul_in_the_address_is_422(api: TestClient, address: str) -> None:
    answer = api.get(address)
    assert answer.status_code == 422
    assert "NUL" in answer.json()["detail"]
