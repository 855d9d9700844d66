"""Paging that repeats nothing and loses nothing: a signed cursor, and the order of candidates it walks."""

import base64
import binascii
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from redis import Redis
from redis.exceptions import RedisError

from backend.errors import BadRequest
from backend.events.units import UnitHasher
from backend.logs import get_logger
from backend.ml.scoring import Ints

log = get_logger(__name__)

ORDER_KEPT_S = 30 * 60
"""Seconds an order stays in Redis; later pages replay the stored request."""

SERVED = -1
"""Stands in a replayed order where products were that earlier pages have served."""


class CursorBroken(BadRequest):
    """The cursor was not made here, or not whole."""

    title = "Broken cursor"


@dataclass(frozen=True)
class Cursor:
    """Where the next page of a list begins.

    Args:
        query_id: the list.
        offset: how many of its candidates were looked at, those included that had vanished.
        position: 1-based position of the page's first hit.
    """

    query_id: str
    offset: int
    position: int

    def encode(self, hasher: UnitHasher) -> str:
        """The cursor as text that says nothing to others and that they cannot alter."""
        message = f"{self.query_id}.{self.offset}.{self.position}"
        return base64.urlsafe_b64encode(hasher.signature(message) + message.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, given: str, hasher: UnitHasher) -> "Cursor":
        """Inverse of ``encode``.

        Raises:
            CursorBroken: anything else than a cursor of this installation.
        """
        try:
            data = base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True)
            message = data[12:].decode("ascii")
        except (binascii.Error, ValueError) as error:
            raise _broken(given) from error
        if not hasher.verifies(message, data[:12]):
            raise _broken(given)
        query_id, offset, position = message.split(".")
        return cls(query_id, int(offset), int(position))


@dataclass(frozen=True)
class Order:
    """Candidates in the order they are served: product numbers and scores."""

    numbers: Ints
    scores: NDArray[np.float64]

    def first(self, count: int) -> "Order":
        """Its first ``count``."""
        return Order(self.numbers[:count], self.scores[:count])

    def from_offset(self, offset: int, served: Ints) -> "Order":
        """This order without ``served``, behind ``offset`` places that stand for what earlier pages looked at."""
        left = ~np.isin(self.numbers, served)
        return Order(
            np.concatenate([np.full(offset, SERVED, dtype=np.int64), self.numbers[left]]),
            np.concatenate([np.zeros(offset), self.scores[left]]),
        )


class OrderStore:
    """Orders in Redis by list. Losing them costs a replay, never a page."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def keep(self, query_id: str, order: Order) -> None:
        """Keep ``order`` for ``ORDER_KEPT_S``."""
        data = order.numbers.astype("<i8").tobytes() + order.scores.astype("<f4").tobytes()
        try:
            self._redis.set(_key(query_id), data, ex=ORDER_KEPT_S)
        except RedisError as error:
            log.warning("order_not_kept", error=str(error))

    def get(self, query_id: str) -> Order | None:
        """The order of ``query_id``, or ``None`` when it was lost."""
        try:
            data = self._redis.get(_key(query_id))
        except RedisError as error:
            log.warning("order_not_read", error=str(error))
            return None
        if not isinstance(data, bytes) or len(data) % 12:
            return None
        count = len(data) // 12
        numbers = np.frombuffer(data, dtype="<i8", count=count).astype(np.int64)
        return Order(numbers, np.frombuffer(data, dtype="<f4", offset=8 * count).astype(np.float64))


def _key(query_id: str) -> str:
    return f"order:{query_id}"


def _broken(given: str) -> CursorBroken:
    return CursorBroken("this is no cursor of this server", found=given, expected="the cursor of the page before")
