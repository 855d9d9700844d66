"""The API as a whole: its answers to what fails, its description of itself, its health."""

from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest
from httpx import Response
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine, make_url
from starlette.testclient import TestClient

import backend
from backend.access.provided import lookup
from backend.errors import AppError, slug
from backend.generations.serving import ServingHolder
from backend.main import create_app
from backend.settings import Settings
from backend.vector_index import VectorIndex
from tests.fixtures.api import Keys

DOCS = Path(__file__).resolve().parent.parent / "docs"
JSON = {"Content-Type": "application/json"}


def description() -> dict[str, Any]:
    return create_app(Settings(log_level="error")).openapi()


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    paths = description()["paths"]
    return [(path, method, operation) for path, each in paths.items() for method, operation in each.items()]


def has_example(content: dict[str, Any], schemas: dict[str, Any]) -> bool:
    """Whether a media type shows an example, itself or through its schema; a picture without a schema need not."""
    if not content.get("schema") or {"example", "examples"} & set(content):
        return True
    schema = content["schema"]
    schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return bool({"example", "examples"} & set(schema)) or schema.get("format") == "binary"


def test_every_operation_shows_an_example_of_what_is_sent_and_answered() -> None:
    schemas = description()["components"]["schemas"]
    bare = []
    for path, method, operation in operations():
        for media, content in operation.get("requestBody", {}).get("content", {}).items():
            if media != "multipart/form-data" and not has_example(content, schemas):
                bare.append(f"{method} {path} body {media}")
        for media, content in operation["responses"].get("200", {}).get("content", {}).items():
            if not has_example(content, schemas):
                bare.append(f"{method} {path} answer {media}")
    assert bare == []


def test_every_operation_says_which_problems_it_may_answer_with() -> None:
    public = {"/healthz", "/readyz", "/metrics", "/images/{content_hash}", "/v1/webhooks/{source}"}
    for path, _method, operation in operations():
        said = set(operation["responses"])
        assert {"500", "503"} <= said, path
        if "requestBody" in operation:
            assert {"400", "413", "415", "422"} <= said, path
        if "{" in path:
            assert "404" in said, path
        guarded = {"401", "403", "429"} <= said and "security" in operation
        assert guarded is (path not in public), path
        assert operation["operationId"].isidentifier(), path
        assert operation.get("description") or operation.get("summary"), path
    assert "HTTPValidationError" not in description()["components"]["schemas"]


def test_each_scope_is_a_security_scheme() -> None:
    schemes = description()["components"]["securitySchemes"]
    assert {name: scheme["scheme"] for name, scheme in schemes.items()} == dict.fromkeys(
        ("storefront_key", "server_key", "admin_key"), "bearer"
    )


def test_every_type_of_problem_is_documented() -> None:
    for module in walk_packages(backend.__path__, "backend."):
        import_module(module.name)
    kinds, waiting = set(), [AppError]
    while waiting:
        below = waiting.pop().__subclasses__()
        waiting += below
        kinds |= {f"`{slug(kind.__name__)}` | {kind.status}" for kind in below if kind.__module__.startswith("backend")}
    documented = (DOCS / "errors.md").read_text()
    assert sorted(kind for kind in kinds if kind not in documented) == []


def test_every_metric_is_documented() -> None:
    from prometheus_client import REGISTRY

    names = {family.name for family in REGISTRY.collect() if family.name.startswith("morelike_")}
    documented = (DOCS / "metrics.md").read_text()
    assert names
    assert sorted(name for name in names if name not in documented) == []


def test_nothing_but_json_is_taken_for_json(api: TestClient, keys: Keys) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    bodies: list[tuple[bytes, dict[str, str], set[int]]] = [
        (b"{", JSON, {400}),
        (b"", JSON, {422}),
        (b"\xff\xfe", JSON, {400}),
        (b'{"text": "\xff"}', JSON, {400}),
        (deep, JSON, {400, 422}),
        (b'{"text": ' + b"[" * 900 + b"]" * 900 + b"}", JSON, {422}),
        (b'{"limit": ' + b"9" * 5000 + b"}", JSON, {400, 422}),
        (b'{"limit": 1e400}', JSON, {422}),
        (b'{"limit": NaN}', JSON, {400, 422}),
        (b'{"text": "a"}', {"Content-Type": "text/plain"}, {415}),
        (b'{"text": "a"}', {"Content-Type": "application/xml"}, {415}),
        (b'{"text": "a"}', {"Content-Type": ";;;"}, {415}),
        (b"null", JSON, {422}),
        (b'"text"', JSON, {422}),
    ]
    for body, headers, statuses in bodies:
        answer = api.post("/v1/search", content=body, headers=headers | keys.storefront)
        assert answer.status_code in statuses, (body[:40], answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("wrong", [r"a\u0000b", r"\ud800", r"\udfff\ud800"])
@pytest.mark.usefixtures("stocked")
def test_text_that_cannot_be_kept_is_422_wherever_it_stands(api: TestClient, keys: Keys, wrong: str) -> None:
    lookup(api.app, ServingHolder).refresh()  # type: ignore[arg-type]
    searches = [
        '{"text": "%s"}',
        '{"product_id": "%s"}',
        '{"text": "a", "filters": {"category": "%s"}}',
        '{"text": "a", "filters": {"brand": ["%s"]}}',
        '{"text": "a", "filters": {"attributes.material": ["%s"]}}',
        '{"text": "a", "filters": {"attributes.%s": ["x"]}}',
        '{"text": "a", "facets": ["%s"]}',
        '{"text": "a", "facets": ["attributes.%s"]}',
        '{"text": "a", "cursor": "%s"}',
        '{"text": "a", "shopper_id": "%s"}',
        '{"text": "a", "session_id": "%s"}',
        '{"text": "a", "surface": "%s"}',
        '{"image": {"url": "%s"}}',
        '{"image": {"base64": "%s"}}',
    ]
    for body in searches:
        answer = api.post("/v1/search", content=(body % wrong).encode(), headers=JSON | keys.admin)
        assert answer.status_code in (400, 422), (body, answer.status_code, answer.text)
    products = [
        '{"title": "%s"}',
        '{"title": "t", "description": "%s"}',
        '{"title": "t", "brand": "%s"}',
        '{"title": "t", "category": ["%s"]}',
        '{"title": "t", "attributes": {"%s": "x"}}',
        '{"title": "t", "attributes": {"a": "%s"}}',
        '{"title": "t", "attributes": {"a": ["%s"]}}',
        '{"title": "t", "variants": [{"sku": "%s"}]}',
        '{"title": "t", "images": ["https://a.example/%s"]}',
        '{"title": "t", "captions": ["%s"]}',
        '{"title": "t", "url": "https://a.example/%s"}',
        '{"title": "t", "url": "/%s"}',
    ]
    for body in products:
        answer = api.put("/v1/products/p9", content=(body % wrong).encode(), headers=JSON | keys.admin)
        assert answer.status_code == 422, (body, answer.status_code, answer.text)
        assert answer.json()["errors"][0]["in"] == "body"


def test_a_wrong_value_is_named_with_what_was_found_and_expected(api: TestClient, keys: Keys) -> None:
    body = {"text": "a", "limit": 1000, "filters": {"price": {"lte": "cheap"}}}
    answer = api.post("/v1/search", json=body, headers=keys.storefront)
    assert answer.status_code == 422
    errors = {error["pointer"]: error for error in answer.json()["errors"]}
    assert errors["/limit"]["found"] == 1000
    assert "100" in errors["/limit"]["expected"]
    assert errors["/filters/price/lte"]["found"] == "cheap"


def test_what_is_not_there_and_what_is_not_allowed(api: TestClient) -> None:
    missing = api.get("/nowhere")
    assert (missing.status_code, missing.json()["found"]) == (404, "/nowhere")
    wrong = api.request("PATCH", "/healthz")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")
    assert wrong.json()["type"] == "urn:morelike:problem:method-not-allowed"


def test_a_database_that_is_down_is_503_and_back_again(
    api: TestClient, keys: Keys, engine: Engine, postgres_uri: str
) -> None:
    def product() -> Response:
        return api.get("/v1/products/p1", headers=keys.storefront)

    name = engine.url.database
    other = create_engine(make_url(postgres_uri).set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT")
    assert product().status_code == 404
    with other.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :n"), {"n": name}
        )
        answer = product()
        assert (answer.status_code, answer.json()["component"]) == (503, "database")
        assert answer.headers["retry-after"]
        assert api.get("/readyz").json()["component"] == "database"
        assert api.get("/healthz").json() == {"status": "up"}
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    other.dispose()
    assert product().status_code == 404


def test_ready_means_that_a_search_works(
    api: TestClient, keys: Keys, stocked: list[str], api_settings: Settings
) -> None:
    lookup(api.app, ServingHolder).refresh()  # type: ignore[arg-type]
    ready = api.get("/readyz")
    assert ready.status_code == 200, ready.text
    assert ready.json()["components"] == dict.fromkeys(("database", "serving", "encoder", "index"), "ok")
    found = api.post("/v1/search", json={"text": "red plush"}, headers=keys.storefront)
    assert found.status_code == 200
    assert len(found.json()["hits"]) == len(stocked)
    index = VectorIndex(api_settings.milvus_uri or "")
    index.drop_collection(lookup(api.app, ServingHolder).current.caption_collection)  # type: ignore[arg-type]
    broken = api.get("/readyz")
    assert broken.status_code == 503
    assert broken.json()["component"] == "index"
    assert broken.headers["retry-after"]


def test_not_ready_before_anything_is_live(api: TestClient) -> None:
    answer = api.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["component"] == "serving"
    assert answer.json()["components"]["database"] == "ok"
    assert api.get("/healthz").status_code == 200


def test_metrics_are_for_this_machine_and_admin_keys(api: TestClient, keys: Keys) -> None:
    assert api.get("/metrics").status_code == 403
    assert api.get("/metrics", headers=keys.server).status_code == 403
    shown = api.get("/metrics", headers=keys.admin)
    assert shown.headers["content-type"].startswith("text/plain")
    assert 'morelike_due{what="products"} 0.0' in shown.text
    local = TestClient(api.app, base_url="http://127.0.0.1:8000", client=("127.0.0.1", 1))
    assert local.get("/metrics").status_code == 200
    assert local.get("/metrics", headers={"X-Forwarded-For": "198.51.100.1"}).status_code == 403


def test_due_products_are_counted(api: TestClient, keys: Keys) -> None:
    made = api.put("/v1/products/p1", json={"title": "t", "images": ["https://a.example/1.png"]}, headers=keys.server)
    assert made.status_code == 200
    shown = api.get("/metrics", headers=keys.admin).text
    assert 'morelike_due{what="products"} 1.0' in shown
    assert 'morelike_due{what="images"} 1.0' in shown
