from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.access.callers import Scope
from backend.access.keys import create_key, list_keys, normal_origin, revoke_key
from backend.access.models import ApiKey
from backend.errors import NotFound, Unprocessable


@pytest.mark.parametrize(("scope", "begins"), [("storefront", "mk_pub_"), ("server", "mk_srv_"), ("admin", "mk_adm_")])
def test_a_key_names_its_scope_and_only_its_hash_is_kept(session: Session, scope: str, begins: str) -> None:
    made = create_key(session, name="shop", scope=Scope(scope))
    assert made.secret.startswith(begins)
    assert len(made.secret) == len(begins) + 43  # 32 bytes in base64 without padding
    kept = session.scalars(select(ApiKey).where(ApiKey.id == made.row.id)).one()
    assert kept.secret_hash == sha256(made.secret.encode()).hexdigest()
    assert made.secret[len(begins) + 6 :] not in " ".join(str(value) for value in vars(kept).values())


def test_keys_differ(session: Session) -> None:
    secrets = {create_key(session, name="k", scope=Scope.SERVER).secret for _ in range(20)}
    assert len(secrets) == 20


def test_each_scope_covers_itself_and_those_below() -> None:
    covered = {(a, b) for a in Scope for b in Scope if a.covers(b)}
    assert covered == {
        ("storefront", "storefront"),
        ("server", "storefront"),
        ("server", "server"),
        ("admin", "storefront"),
        ("admin", "server"),
        ("admin", "admin"),
    }


def test_only_storefront_keys_have_origins(session: Session) -> None:
    with pytest.raises(Unprocessable, match="browsers"):
        create_key(session, name="k", scope=Scope.ADMIN, origins=["https://shop.example"])


@pytest.mark.parametrize("name", ["", "x" * 101, "a\x00b"])
def test_names_that_cannot_be_kept_are_refused(session: Session, name: str) -> None:
    with pytest.raises(Unprocessable, match="name"):
        create_key(session, name=name, scope=Scope.SERVER)


@pytest.mark.parametrize("rate", [-1, 2**31])
def test_rates_that_cannot_be_kept_are_refused(session: Session, rate: int) -> None:
    with pytest.raises(Unprocessable, match="rate"):
        create_key(session, name="k", scope=Scope.SERVER, rate_limit_per_minute=rate)


def test_revoking_twice_keeps_the_first_time(session: Session) -> None:
    row = create_key(session, name="k", scope=Scope.SERVER).row
    first = revoke_key(session, row.id).revoked_at
    assert first is not None
    session.commit()
    assert revoke_key(session, row.id).revoked_at == first
    assert list_keys(session, revoked=False) == []
    assert [key.id for key in list_keys(session)] == [row.id]


@pytest.mark.parametrize("key_id", [0, -1, 77, 2**63, 10**30])
def test_revoking_a_key_that_is_not_there_says_so(session: Session, key_id: int) -> None:
    with pytest.raises(NotFound):
        revoke_key(session, key_id)


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [
        ("https://Shop.Example", "https://shop.example"),
        ("https://shop.example:443/", "https://shop.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://localhost:80", "http://localhost"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        (" https://xn--bcher-kva.example ", "https://xn--bcher-kva.example"),
    ],
)
def test_origins_are_kept_as_browsers_send_them(given_text: str, kept: str) -> None:
    assert normal_origin(given_text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "null",
        "",
        "shop.example",
        "ftp://a",
        "https://",
        "https://a/b",
        "https://a?x",
        "https://a#x",
        "https://u@a",
        "https://a b",
        "https://[",
        "https://a:99999",
        "https://a\x00",
        "https://*.a",
        "javascript:alert(1)",
    ],
)
def test_what_is_not_one_origin_is_refused(text: str) -> None:
    with pytest.raises(Unprocessable, match="not a web origin"):
        normal_origin(text)


@given(st.text())
def test_an_origin_is_normal_after_once_or_refused(text: str) -> None:
    try:
        once = normal_origin(text)
    except Unprocessable:
        return
    assert normal_origin(once) == once
