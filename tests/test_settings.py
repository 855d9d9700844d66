"""Settings from variables and from the files that variables name."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_settings import SettingsError
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

from backend.cli import app
from backend.settings import Settings, url_with_password


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("  s3cret/@:\n")
    return path


def test_a_password_in_a_file_becomes_part_of_the_address(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://morelike@db:5432/shop")
    monkeypatch.setenv("REDIS_URL", "redis://cache:6379/0")
    monkeypatch.setenv("DATABASE_PASSWORD_FILE", str(secret))
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(secret))
    settings = Settings()
    assert settings.database_url == "postgresql://morelike:s3cret%2F%40%3A@db:5432/shop"
    assert settings.redis_url == "redis://:s3cret%2F%40%3A@cache:6379/0"
    assert "s3cret" not in repr(settings.database_password)


def test_any_setting_may_come_from_a_file(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret.write_text("9001\n")
    monkeypatch.setenv("MORELIKE_PORT_FILE", str(secret))
    assert Settings().port == 9001


def test_an_empty_file_gives_nothing(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret.write_text(" \n")
    monkeypatch.setenv("MILVUS_TOKEN_FILE", str(secret))
    assert Settings().milvus_token is None


def test_a_setting_given_both_ways_is_refused(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILVUS_TOKEN_FILE", str(secret))
    monkeypatch.setenv("MILVUS_TOKEN", "other")
    with pytest.raises(SettingsError, match="Both MILVUS_TOKEN and MILVUS_TOKEN_FILE are set"):
        Settings()


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("MILVUS_TOKEN_FILE", str(path))
    with pytest.raises(SettingsError, match=f"MILVUS_TOKEN_FILE names {path}, which cannot be read"):
        Settings()


def test_files_that_other_programs_name_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    assert Settings().port == 8000


def test_an_address_with_a_password_keeps_it() -> None:
    assert url_with_password("redis://:own@cache/0", "other") == "redis://:own@cache/0"


@given(password=st.text(st.characters(exclude_categories=["Cs"]), min_size=1), user=st.sampled_from(["", "u", "a.b"]))
def test_whatever_the_password_is_it_is_read_back(password: str, user: str) -> None:
    url = make_url(url_with_password(f"postgresql://{user}@db:5432/shop?sslmode=disable", password))
    assert (url.password, url.host, url.port, url.database) == (password, "db", 5432, "shop")
    assert (url.username or "") == user


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("MORELIKE_NIGHTLY_AT", "", "String should match pattern"),
        ("MORELIKE_PORT", "many", "a valid integer"),
        ("MORELIKE_NIGHTLY_WINDOW_DAYS", "inf", "less than or equal to 3660"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_sentence(
    name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["nightly", "status"])
    assert done.exit_code == 1
    assert f"{name} cannot be used. Found: {value!r}. Expected: {expected}" in done.output
    assert done.output.count("\n") == 1
