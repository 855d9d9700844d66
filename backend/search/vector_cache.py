"""Raw query vectors by what was encoded: a small store in the process, before a larger one in Redis."""

import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from redis import Redis
from redis.exceptions import RedisError

from backend.logs import get_logger

log = get_logger(__name__)

Vector = NDArray[np.float32]

IN_PROCESS = 4096
"""Vectors kept in the process: 8 MB at 512 dimensions."""

KEPT_S = 7 * 24 * 3600
"""Seconds a vector stays in Redis after it was last written."""


class VectorCache:
    """Vectors under (weights hash, subject). Redis may be down or empty: then the cache is only smaller.

    Args:
        redis: the larger store.
        in_process: how many the small one keeps.
    """

    def __init__(self, redis: Redis, in_process: int = IN_PROCESS) -> None:
        self._redis = redis
        self._in_process = in_process
        self._lock = threading.Lock()
        self._near: OrderedDict[str, Vector] = OrderedDict()

    def get(self, weights_hash: str, subject: str) -> Vector | None:
        """The vector of ``subject``, read-only, or ``None``."""
        key = _key(weights_hash, subject)
        with self._lock:
            if (near := self._near.get(key)) is not None:
                self._near.move_to_end(key)
                return near
        try:
            data = self._redis.get(key)
        except RedisError as error:
            log.warning("vector_cache_unreachable", error=str(error))
            return None
        if not isinstance(data, bytes) or not data or len(data) % 4:
            return None
        return self._keep(key, np.frombuffer(data, dtype="<f4"))

    def put(self, weights_hash: str, subject: str, vector: Vector) -> Vector:
        """Keep ``vector``; it comes back read-only."""
        key = _key(weights_hash, subject)
        self._send(key, vector)
        return self._keep(key, vector.copy())

    def put_soon(self, weights_hash: str, subject: str, vector: Vector, pool: ThreadPoolExecutor) -> None:
        """The same; only this process may count on it at once."""
        key = _key(weights_hash, subject)
        pool.submit(self._send, key, self._keep(key, vector.copy()))

    def _send(self, key: str, vector: Vector) -> None:
        try:
            self._redis.set(key, vector.astype("<f4").tobytes(), ex=KEPT_S)
        except RedisError as error:
            log.warning("vector_cache_unreachable", error=str(error))

    def _keep(self, key: str, vector: Vector) -> Vector:
        vector.setflags(write=False)
        with self._lock:
            self._near[key] = vector
            while len(self._near) > self._in_process:
                self._near.popitem(last=False)
        return vector


def _key(weights_hash: str, subject: str) -> str:
    return f"vector:{weights_hash[:24]}:{sha256(subject.encode('utf-8', 'surrogatepass')).hexdigest()}"
