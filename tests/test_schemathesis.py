"""Whatever fits, or does not fit, the description of the API: the real API answers it, and never with a 500."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from backend.main import create_app
from backend.settings import Settings
from tests.fixtures.api import Keys, served

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


@pytest.fixture
def api_settings(api_settings: Settings) -> Settings:
    # addresses of pictures are made up: nobody has to wait for them
    return api_settings.model_copy(update={"image_timeout_s": 0.3, "rate_limit_per_minute": 0})


@pytest.fixture
def address(app: FastAPI, stocked: list[str]) -> Iterator[str]:
    assert stocked
    with served(app) as url:
        yield url


@pytest.mark.timeout(180)
def test_no_operation_fails_on_what_fits_or_does_not_fit_its_description(address: str, keys: Keys) -> None:
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert sorted((operation.method, operation.path) for operation in operations) == OPERATIONS
    failures = []
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                ask(operation, mode, address, keys.admin)
            except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001  one that fails must not hide the others
                failures.append(f"{operation.label}, {mode.value}: {error}")
    assert failures == [], "\n\n".join(failures)


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
        answer = case.call(base_url=address, headers=headers, timeout=30)
        case.validate_response(answer, checks=CHECKS)

    try:
        asked()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # without parameters and body nothing can be wrong
