import asyncio
import threading

import pytest
from sqlalchemy.orm import Session, sessionmaker

from backend.access import keyring
from backend.access.callers import Caller, Scope
from backend.access.keyring import Keyring
from backend.access.keys import create_key, revoke_key
from backend.db import connect, session_factory, session_scope
from backend.errors import Unavailable


def make(sessions: sessionmaker[Session], **options: object) -> tuple[int, str]:
    with session_scope(sessions) as session:
        made = create_key(session, name="k", scope=Scope.STOREFRONT, **options)  # type: ignore[arg-type]
        return made.row.id, made.secret


def test_a_key_is_found_with_its_own_limit_or_the_default(sessions: sessionmaker[Session]) -> None:
    key_id, plain = make(sessions)
    _, limited = make(sessions, rate_limit_per_minute=7, origins=["https://shop.example"])
    _, unlimited = make(sessions, rate_limit_per_minute=0)

    async def ask() -> list[Caller | None]:
        ring = Keyring(sessions, default_rate=1200)
        return [await ring.find(secret) for secret in (plain, limited, unlimited, "mk_pub_guess", "", "ü\ud800")]

    found = asyncio.run(ask())
    assert found[0] == Caller(Scope.STOREFRONT, key_id, "k", 1200, frozenset())
    assert found[1] is not None
    assert (found[1].rate_limit, found[1].origins) == (7, frozenset({"https://shop.example"}))
    assert found[2] is not None
    assert found[2].rate_limit == 0
    assert found[3:] == [None, None, None]


def test_a_revoked_key_is_refused_once_the_keys_are_read_again(
    sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "MAX_AGE_S", 0.05)
    key_id, secret = make(sessions)

    async def ask() -> tuple[Caller | None, Caller | None]:
        ring = Keyring(sessions, default_rate=0)
        before = await ring.find(secret)
        with session_scope(sessions) as session:
            revoke_key(session, key_id)
        await asyncio.sleep(0.1)
        return before, await ring.find(secret)

    before, after = asyncio.run(ask())
    assert before is not None
    assert after is None
    assert keyring.UNKNOWN_KEY_AGE_S < 3
    monkeypatch.undo()
    assert keyring.MAX_AGE_S <= 5  # "within seconds"


def test_a_new_key_works_before_the_old_snapshot_expires(
    sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "UNKNOWN_KEY_AGE_S", 0.0)

    async def ask() -> Caller | None:
        ring = Keyring(sessions, default_rate=0)
        assert await ring.find("mk_pub_nobody") is None
        _, secret = make(sessions)
        return await ring.find(secret)

    assert asyncio.run(ask()) is not None


def test_guesses_do_not_reach_the_database_each(sessions: sessionmaker[Session]) -> None:
    reads = 0

    async def ask() -> None:
        nonlocal reads
        ring = Keyring(sessions, default_rate=0)
        read = ring._read

        def counted() -> keyring._Snapshot:
            nonlocal reads
            reads += 1
            return read()

        ring._read = counted  # type: ignore[method-assign]
        await asyncio.gather(*(ring.find(f"mk_srv_{n}") for n in range(200)))

    asyncio.run(ask())
    assert reads == 1
    assert threading.active_count() < 50


def test_a_database_that_is_down_is_an_error_and_not_an_unknown_key() -> None:
    sessions = session_factory(connect("postgresql://nobody@127.0.0.1:1/none"))
    with pytest.raises(Unavailable, match="keys"):
        asyncio.run(Keyring(sessions, default_rate=0).find("mk_pub_x"))
