"""Whatever stands in a batch of products, each line has one verdict, and what was written can be read back."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.batch import write_batch
from backend.catalog.reads import get_product
from backend.catalog.schemas import PRODUCT_EXAMPLE
from backend.db import session_scope
from tests.fuzz.strategies import altered, json_lines, values

FUZZ = settings(
    max_examples=int(os.environ.get("MORELIKE_FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
FIELDS = st.sampled_from([*PRODUCT_EXAMPLE, "deleted", "unknown"])


@st.composite
def products(draw: st.DrawFn) -> dict[str, Any]:
    """The product of the documentation with some of its fields, or parts of its variant, made anything."""
    product = json.loads(json.dumps(PRODUCT_EXAMPLE)) | draw(st.dictionaries(FIELDS, values, max_size=3))
    variants = product["variants"]
    if isinstance(variants, list) and variants and isinstance(variants[0], dict) and draw(st.booleans()):
        variants[0] |= draw(
            st.dictionaries(st.sampled_from(["sku", "price", "attributes", "title"]), values, max_size=2)
        )
    return product


class Batches:
    """Writes batches into a real catalogue."""

    def __init__(self, sessions: sessionmaker[Session], blobs: BlobStore) -> None:
        self._sessions, self._blobs = sessions, blobs

    def written(self, body: bytes) -> int:
        """Number of verdicts, once all that was accepted has been read back."""
        with session_scope(self._sessions) as session:
            verdicts = write_batch(session, body, blobs=self._blobs)
        with session_scope(self._sessions) as session:
            for result in verdicts.results:
                if result.status in ("created", "updated"):
                    assert result.id is not None
                    get_product(session, result.id)
                elif result.status == "rejected":
                    assert result.detail
            json.dumps(verdicts.model_dump()).encode()
        return len(verdicts.results)


@pytest.fixture
def batches(sessions: sessionmaker[Session], tmp_path: Path) -> Batches:
    return Batches(sessions, BlobStore(tmp_path))


@FUZZ
@given(found=st.lists(products(), min_size=1, max_size=4))
def test_products_of_any_values(batches: Batches, found: list[dict[str, Any]]) -> None:
    assert batches.written(json_lines(found)) == len(found)


@FUZZ
@given(body=altered([json_lines([PRODUCT_EXAMPLE, {"id": "p1", "deleted": True}])]))
def test_a_batch_that_was_cut_or_altered(batches: Batches, body: bytes) -> None:
    lines = [line for line in body.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    assert batches.written(body) == len(lines)
