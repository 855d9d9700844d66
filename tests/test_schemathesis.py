"""Whatever fits, or does not fit, the description of the API: the real API answers it, and never with a 500."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from backend.db import connect, session_factory
from backend.main import create_app
from backend.ml.encoder import Encoder
from backend.settings import Settings
from tests.fixtures.api import make_keys, served, stocking
from tests.fixtures.database import fresh_database

EXAMPLES = 12
CHECKS = (not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance)

OPERATIONS = sorted(
    (method, path)
    for path, operations in create_app(Settings(log_level="error")).openapi()["paths"].items()
    for method in operations
)


@schemathesis.serializer("application/x-ndjson")
def as_lines(_context: Any, value: Any) -> bytes:
    """A batch is sent as generated: a text of lines."""
    return str(value).encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Subject:
    """The API that is asked: where it is, what it says of itself, and a key that may do anything."""

    address: str
    schema: Any
    headers: dict[str, str]


@pytest.fixture(scope="module")
def subject(
    postgres_uri: str,
    redis_server: str,
    milvus_uri: str,
    tiny_encoder: Encoder,
    tiny_encoder_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Subject]:
    with fresh_database(postgres_uri) as database_url:
        settings = Settings(
            home=tmp_path_factory.mktemp("asked"),
            database_url=database_url,
            redis_url=redis_server,
            milvus_uri=milvus_uri,
            encoder=f"local-dir:{tiny_encoder_dir}",
            log_level="error",
            image_timeout_s=0.3,  # addresses of pictures are made up: nobody has to wait for them
            rate_limit_per_minute=0,
        )
        engine = connect(database_url)
        sessions = session_factory(engine)
        with stocking(settings, sessions, tiny_encoder), served(create_app(settings)) as address:
            schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
            yield Subject(address, schema, make_keys(sessions).admin)
        engine.dispose()


def test_each_operation_that_is_described_is_asked(subject: Subject) -> None:
    found = [operation.ok() for operation in subject.schema.get_all_operations()]
    assert sorted((operation.method, operation.path) for operation in found) == OPERATIONS


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_operation_fails_on_what_fits_or_does_not_fit_its_description(
    subject: Subject, method: str, path: str, mode: GenerationMode
) -> None:
    ask(subject.schema[path][method], mode, subject.address, subject.headers)


def ask(operation: Any, mode: GenerationMode, address: str, headers: dict[str, str]) -> None:
    """Ask one operation ``EXAMPLES`` times, the same way in every run."""

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def asked(case: Any) -> None:
        answer = case.call(base_url=address, headers=headers, timeout=300)
        case.validate_response(answer, checks=CHECKS)

    try:
        asked()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # without parameters and body nothing can be wrong
