"""Whatever is said of a list, the real API refines it or names what was wrong, and going on from there works."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from backend.ml.feedback.policy import Policy
from backend.search.refinement.schemas import RefineRequest
from tests.fixtures.api import Keys
from tests.fuzz.strategies import values

FUZZ = settings(
    max_examples=int(os.environ.get("MORELIKE_FUZZ_EXAMPLES", "60")) // 2,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
PRODUCTS = st.sampled_from(["p1", "p2", "p3", "p4", "not-there"])
BOXES = st.sampled_from([[0, 0, 1, 1], [0.1, 0.2, 0.5, 0.6], [0.5, 0.5, 0.500001, 0.9], [0.9, 0, 0.1, 1]])
ITEMS = st.fixed_dictionaries(
    {"product_id": PRODUCTS},
    optional={"value": st.floats(-1, 1), "stars": st.integers(1, 5), "dwell_ms": st.integers(0, 90_000)}
    | {"image": st.integers(0, 2), "box": BOXES, "label": st.text(max_size=5)},
)
MEANT = {
    "feedback": st.lists(ITEMS, max_size=5),
    "text": st.sampled_from(["in blue", "", "\u2028", "toy"]),
    "strategy": st.sampled_from(
        ["auto", "none", "rocchio", "prf", "grf", "afs", "afs_images", "text", "likes", "boxes"]
    ),
    "weights": st.dictionaries(st.sampled_from([*Policy.__dataclass_fields__]), values, max_size=2),
    "exclude_liked": st.booleans(),
    "limit": st.integers(1, 3),
}
REQUESTS = st.fixed_dictionaries({}, optional=MEANT) | st.fixed_dictionaries(
    {}, optional=dict.fromkeys(RefineRequest.model_fields, values)
)


@pytest.fixture
def first(app: FastAPI, stocked: list[str], keys: Keys) -> Iterator[tuple[TestClient, str]]:
    """A client with a server key, and a list that it was served."""
    assert stocked
    with TestClient(app, base_url="http://api.example", client=("203.0.113.9", 50000)) as client:
        client.headers.update(keys.server)
        yield client, client.post("/v1/search", json={"text": "a toy"}).json()["query_id"]


@FUZZ
@given(said=st.lists(REQUESTS, min_size=1, max_size=3))
def test_whatever_is_said_is_answered(first: tuple[TestClient, str], said: list[dict[str, Any]]) -> None:
    client, query_id = first
    for turn in said:
        try:
            answer = client.post(f"/v1/search/{query_id}/refine", json=turn)
        except (ValueError, UnicodeEncodeError):  # NaN and lone surrogates cannot be sent as JSON
            continue
        assert answer.status_code in (200, 404, 409, 422), (turn, answer.text)
        if answer.status_code == 200:
            body = answer.json()
            assert body["parent_id"] == query_id
            assert -1.001 <= body["refine"]["similarity_to_start"] <= 1.001
            query_id = body["query_id"]
        else:
            assert answer.json()["detail"], turn
