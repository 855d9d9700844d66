"""The components of a search over the small shop, one by one."""

from collections.abc import Iterator

import pytest

from backend.db import session_scope
from backend.generations.serving import EncoderKey, Serving, load_serving
from backend.search.query_encoders import QueryEncoders
from tests.search.conftest import Shop


@pytest.fixture(scope="module")
def encoders(shop: Shop) -> Iterator[QueryEncoders]:
    """The shop's encoder on its thread."""
    encoders = QueryEncoders(lambda _: shop.encoder)
    encoders.follow([EncoderKey(shop.encoder.id, None)])
    yield encoders
    encoders.stop()


@pytest.fixture(scope="module")
def serving(shop: Shop) -> Serving:
    """What is live in the shop."""
    with session_scope(shop.sessions) as session:
        found = load_serving(session)
    assert found is not None
    return found
