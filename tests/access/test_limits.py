import asyncio
import time
from collections.abc import Callable

import pytest
import redis
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from backend.access import keyring, limits
from backend.access.callers import Scope
from backend.access.keys import create_key
from backend.access.limits import RateLimiter, Verdict
from backend.db import session_scope
from tests.fixtures.timing import quickest


@pytest.fixture(autouse=True)
def _new_keys_are_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "UNKNOWN_KEY_AGE_S", 0.0)


def take(url: str, times: int, limit: int, bucket: str = "b") -> list[Verdict | None]:
    async def ask() -> list[Verdict | None]:
        limiter = RateLimiter(url)
        answers = [await limiter.take(bucket, limit) for _ in range(times)]
        await limiter.close()
        return answers

    return asyncio.run(ask())


def limited_key(sessions: sessionmaker[Session], rate: int) -> dict[str, str]:
    with session_scope(sessions) as session:
        made = create_key(session, name="k", scope=Scope.SERVER, rate_limit_per_minute=rate)
    return {"Authorization": f"Bearer {made.secret}"}


def test_a_minutes_worth_passes_and_the_next_is_told_when_to_return(redis_url: str) -> None:
    """Three a minute: a token every 20 seconds."""
    answers = take(redis_url, 4, 3)
    assert [a and (a.allowed, a.remaining) for a in answers] == [(True, 2), (True, 1), (True, 0), (False, 0)]
    last = answers[-1]
    assert last is not None
    assert last.retry_after_s == 20


def test_the_bucket_fills_evenly(redis_url: str) -> None:
    """6000 a minute are one in 10 ms: of an empty bucket, 50 ms later between 5 and 60 may pass."""
    take(redis_url, 1, 6000)
    client = redis.Redis.from_url(redis_url)
    now = client.time()
    client.hset("rate:b", mapping={"tokens": 0, "at": now[0] * 1000 + now[1] // 1000})
    time.sleep(0.05)
    [answer] = take(redis_url, 1, 6000)
    assert answer is not None
    assert answer.allowed
    assert 3 <= answer.remaining <= 60


def test_a_clock_that_went_back_takes_nothing_away(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    client.hset("rate:b", mapping={"tokens": 2, "at": (client.time()[0] + 3600) * 1000})
    [answer] = take(redis_url, 1, 3)
    assert answer is not None
    assert (answer.allowed, answer.remaining) == (True, 1)


def test_buckets_are_forgotten_when_they_would_be_full(redis_url: str) -> None:
    take(redis_url, 1, 3)
    assert 0 < redis.Redis.from_url(redis_url).pttl("rate:b") <= 60_000


def test_two_processes_share_one_bucket(redis_url: str) -> None:
    assert all(a is not None and a.allowed for a in take(redis_url, 2, 3) + take(redis_url, 1, 3))
    assert [a is not None and a.allowed for a in take(redis_url, 1, 3)] == [False]


def test_too_many_requests_are_429_with_retry_after(api: TestClient, sessions: sessionmaker[Session]) -> None:
    key = limited_key(sessions, 2)
    answers = [api.get("/probe/server", headers=key) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit-policy"] == '"key";q=2;w=60'
    assert answers[0].headers["ratelimit"] == '"key";r=1;t=0'
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30
    assert answers[2].json()["type"] == "urn:morelike:problem:rate-limited"
    assert answers[2].json()["expected"] == "at most 2 requests a minute"


def test_each_address_has_a_bucket_of_its_own(api: TestClient, sessions: sessionmaker[Session]) -> None:
    key = limited_key(sessions, 1)
    other = TestClient(api.app, base_url="http://api.example", client=("203.0.113.10", 1))
    other.portal = api.portal  # both are asked on the loop that the API runs on
    assert api.get("/probe/server", headers=key).status_code == 200
    assert api.get("/probe/server", headers=key).status_code == 429
    assert other.get("/probe/server", headers=key).status_code == 200


def test_zero_is_no_limit_and_pages_without_a_key_have_none(api: TestClient, sessions: sessionmaker[Session]) -> None:
    shown: list[dict[str, str]] = [limited_key(sessions, 0), {}]
    for headers in shown:
        answer = api.get("/probe/open", headers=headers)
        assert answer.status_code == 200
        assert "ratelimit" not in answer.headers


def test_guessing_keys_is_limited_by_address(api: TestClient) -> None:
    answer = api.get("/probe/storefront", headers={"Authorization": "Bearer mk_pub_guess"})
    assert answer.status_code == 401
    assert answer.headers["ratelimit-policy"] == '"key";q=1200;w=60'


def test_a_redis_that_is_down_limits_nobody_and_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]
) -> None:
    monkeypatch.setattr(limits, "REST_S", 0.0)
    assert take("redis://127.0.0.1:1/0", 5, 3) == [None] * 5
    assert logged().count("rate_limiter_down") == 1


def test_while_redis_rests_no_request_waits_for_it() -> None:
    async def ask() -> float:
        limiter = RateLimiter("redis://127.0.0.1:1/0")
        await limiter.take("b", 3)
        begun = time.monotonic()
        for _ in range(1000):
            await limiter.take("b", 3)
        return time.monotonic() - begun

    assert quickest(lambda: asyncio.run(ask()), 0.2) < 0.2
