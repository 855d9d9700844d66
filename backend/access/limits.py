"""How often a key may ask from one address: a bucket of tokens in Redis, shared by all API processes."""

import time
from dataclasses import dataclass
from math import ceil

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.access.callers import Caller
from backend.access.identify import CALLER, KEY_SHOWN
from backend.access.problems import answer_headers, refuse
from backend.access.provided import lookup
from backend.errors import RateLimited
from backend.logs import get_logger
from backend.metrics import LIMITER_DOWN, REFUSED

log = get_logger(__name__)

ANSWER_TIMEOUT_S = 0.25
REST_S = 5.0
"""Redis is not asked for this long after it failed: a request must not wait for a limiter that is down."""
WARN_EVERY_S = 60.0

# The bucket holds a minute's worth and fills evenly. It keeps (tokens, when) and is forgotten once it would be full.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local size = tonumber(ARGV[1])
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(kept[1]) or size
local at = tonumber(kept[2]) or now
tokens = math.min(size, tokens + math.max(0, now - at) * size / 60000)
local taken = 0
if tokens >= 1 then
  tokens = tokens - 1
  taken = 1
end
redis.call('HSET', KEYS[1], 'tokens', tokens, 'at', now)
redis.call('PEXPIRE', KEYS[1], 60000)
return {taken, math.floor(tokens), math.ceil((1 - math.min(tokens, 1)) * 60000 / size)}
"""


@dataclass(frozen=True)
class Verdict:
    """What the bucket said. ``remaining`` requests may follow at once; ``retry_after_s`` until the next token."""

    allowed: bool
    limit: int
    remaining: int
    retry_after_s: int

    def headers(self) -> dict[str, str]:
        """``RateLimit`` and ``RateLimit-Policy`` of draft-ietf-httpapi-ratelimit-headers."""
        return {
            "RateLimit-Policy": f'"key";q={self.limit};w=60',
            "RateLimit": f'"key";r={self.remaining};t={self.retry_after_s}',
        }


class RateLimiter:
    """Counts requests in Redis, one round trip each. A Redis that does not answer lets everyone through."""

    def __init__(self, redis_url: str) -> None:
        self._redis = Redis.from_url(
            redis_url,
            socket_timeout=ANSWER_TIMEOUT_S,
            socket_connect_timeout=ANSWER_TIMEOUT_S,
            retry=Retry(NoBackoff(), 1),
        )
        self._take = self._redis.register_script(_TAKE)
        self._resting_until = float("-inf")
        self._warned_at = float("-inf")

    async def take(self, bucket: str, limit: int) -> Verdict | None:
        """Take a token of ``bucket``, which holds ``limit`` a minute; None where Redis did not say."""
        if time.monotonic() < self._resting_until:
            LIMITER_DOWN.inc()
            return None
        try:
            taken, remaining, wait_ms = await self._take(keys=[f"rate:{bucket}"], args=[limit])
        except (RedisError, OSError, TimeoutError) as error:
            self._rest(error)
            return None
        return Verdict(bool(taken), limit, int(remaining), ceil(int(wait_ms) / 1000))

    async def close(self) -> None:
        """Give the connections back."""
        await self._redis.aclose()

    def _rest(self, error: Exception) -> None:
        now = time.monotonic()
        LIMITER_DOWN.inc()
        self._resting_until = now + REST_S
        if now - self._warned_at >= WARN_EVERY_S:
            self._warned_at = now
            log.warning("rate_limiter_down", error=str(error), effect="requests are not limited")


class LimitRate:
    """ASGI middleware, inside :class:`backend.access.identify.IdentifyCaller`.

    A caller has a bucket for each key and address. Who shows an unknown key has one for the address, so that
    guessing is slow; who shows none may see pages and health without limit, and nothing else.
    """

    def __init__(self, app: ASGIApp, *, default_rate: int) -> None:
        self.app = app
        self.default_rate = default_rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count one request, and refuse it where the bucket is empty."""
        bucket, limit = self._bucket(scope) if scope["type"] == "http" else ("", 0)
        verdict = await lookup(scope["app"], RateLimiter).take(bucket, limit) if limit else None
        if verdict is not None:
            answer_headers(scope).update(verdict.headers())
        if verdict is None or verdict.allowed:
            await self.app(scope, receive, send)
            return
        REFUSED.labels("rate").inc()
        error = RateLimited(
            "this key has been used too often from this address",
            expected=f"at most {limit} requests a minute",
            retry_after_s=verdict.retry_after_s,
        )
        await refuse(error, scope, receive, send)

    def _bucket(self, scope: Scope) -> tuple[str, int]:
        state = scope["state"]
        caller: Caller | None = state[CALLER]
        address = scope["client"][0] if scope.get("client") else "unknown"
        if caller is not None:
            return f"{caller.key_id}:{address}", caller.rate_limit
        return f"unknown:{address}", self.default_rate if state[KEY_SHOWN] else 0
