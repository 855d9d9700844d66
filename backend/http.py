"""Fetching from addresses that strangers give: public addresses only, pinned, and bounded in bytes, time and redirects.

A name is resolved once, every address it has is checked, and the connection goes to a checked address while Host, SNI
and the certificate stay those of the name: a name that answers differently the second time gains nothing. Each
redirect walks the same way. Nothing is decompressed and no proxy of the environment is used.
"""

import socket
import ssl
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import TimeoutError as LookupTimeout
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urljoin

import httpcore

from backend.addresses import (
    LOOKUPS,
    FetchFailed,
    FetchRefused,
    NotFetched,
    Resolve,
    Target,
    is_private,
    is_public,
    resolve_by_system,
    shown,
    target_of,
)

__all__ = ["FetchFailed", "FetchRefused", "Fetched", "NotFetched", "SafeFetcher", "public_authorities"]

REDIRECTS = (301, 302, 303, 307, 308)
WORTH_RETRYING = (408, 425, 429)
"""Statuses below 500 that say "later"; every other one below 500 says "never"."""


@cache
def public_authorities() -> ssl.SSLContext:
    """Verifies certificates by the public authorities. One for the process: reading them takes some 20 ms."""
    return httpcore.default_ssl_context()


@dataclass(frozen=True)
class Fetched:
    """What an address answered."""

    data: bytes
    content_type: str
    final_url: str


class SafeFetcher:
    """Fetches what strangers name.

    Args:
        allowed_hosts: ``host`` or ``host:port`` on private addresses that may be fetched nevertheless.
        max_bytes: largest body.
        timeout_s: seconds a fetch may take in all: lookup, redirects and the last byte included.
        max_redirects: redirects followed.
        resolve: the resolver; tests give their own.
        ssl_context: verifies certificates; the public authorities when none.
    """

    def __init__(
        self,
        allowed_hosts: Collection[str] = (),
        max_bytes: int = 20 * 2**20,
        timeout_s: float = 15.0,
        max_redirects: int = 5,
        *,
        resolve: Resolve = resolve_by_system,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = {host.lower() for host in allowed_hosts}
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._max_redirects = max_redirects
        self._resolve = resolve
        self._ssl_context = ssl_context or public_authorities()

    def get(self, url: str) -> Fetched:
        """The body at ``url``.

        Raises:
            FetchRefused: never worth another try.
            FetchFailed: worth another try.
        """
        deadline = time.monotonic() + self._timeout_s
        backend = _PinnedBackend(self._addresses, deadline)
        with httpcore.ConnectionPool(ssl_context=self._ssl_context, network_backend=backend) as pool:
            for _ in range(self._max_redirects + 1):
                answer = self._request(pool, target_of(url), deadline)
                if isinstance(answer, Fetched):
                    return answer
                url = answer
        raise FetchRefused(
            "The address redirects too often.", found=shown(url), expected=f"at most {self._max_redirects} redirects"
        )

    def _request(self, pool: httpcore.ConnectionPool, target: Target, deadline: float) -> Fetched | str:
        """The body, or the address it redirects to."""
        headers = {
            "Host": target.host_header,
            "User-Agent": "Morelike (product image fetcher)",
            "Accept": "image/webp,image/png,image/jpeg,image/gif;q=0.9,*/*;q=0.1",
            "Accept-Encoding": "identity",
        }
        address = httpcore.URL(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
        )
        try:
            with pool.stream("GET", address, headers=list(headers.items())) as response:
                return self._answer(response, target, deadline)
        except (httpcore.UnsupportedProtocol, httpcore.LocalProtocolError) as error:
            raise FetchRefused(
                "This address cannot be requested.", found=shown(target.url), expected="a valid URL"
            ) from error
        except httpcore.TimeoutException as error:
            raise self._too_slow(target) from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise FetchFailed(
                f"The server did not answer in order: {type(error).__name__}.",
                found=shown(target.url),
                expected="an HTTP answer",
            ) from error

    def _answer(self, response: httpcore.Response, target: Target, deadline: float) -> Fetched | str:
        headers = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
        if response.status in REDIRECTS and "location" in headers:
            return urljoin(target.url, headers["location"])
        if response.status != 200:
            kind = FetchFailed if response.status >= 500 or response.status in WORTH_RETRYING else FetchRefused
            raise kind(f"The server answered {response.status}.", found=response.status, expected=200)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise FetchRefused(
                "The body is compressed although it was asked for as it is.",
                found=headers["content-encoding"][:50],
                expected="Content-Encoding: identity",
            )
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length[:20]) > self._max_bytes:
            raise self._too_large(f"{length[:20]} bytes announced")
        body = self._body(response.iter_stream(), target, deadline)
        return Fetched(body, headers.get("content-type", ""), target.url)

    def _body(self, chunks: Iterable[bytes], target: Target, deadline: float) -> bytes:
        body = bytearray()
        for chunk in chunks:
            body += chunk
            if len(body) > self._max_bytes:
                raise self._too_large(f"more than {self._max_bytes} bytes")
            if time.monotonic() > deadline:
                raise self._too_slow(target)
        return bytes(body)

    def _addresses(self, host: str, port: int, deadline: float) -> list[str]:
        """Addresses of ``host``, every one of which may be connected to."""
        try:
            found = LOOKUPS.submit(self._resolve, host, port).result(max(0.0, deadline - time.monotonic()))
        except LookupTimeout as error:
            raise FetchFailed("Looking up the host took too long.", found=host) from error
        except (OSError, UnicodeError) as error:
            unknown = getattr(error, "errno", None) in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None))
            kind = FetchRefused if unknown or isinstance(error, UnicodeError) else FetchFailed
            raise kind("The host cannot be resolved.", found=host, expected="a name with an address") from error
        allowed = bool({f"{host}:{port}", *([host] if port in (80, 443) else [])} & self._allowed)
        if not found or not all(is_public(one) or (allowed and is_private(one)) for one in found):
            raise FetchRefused(
                "The host is not on the public internet. If it is yours, name it in MORELIKE_IMAGE_ALLOWED_HOSTS.",
                found=f"{host}:{port}",
                expected="a host with public addresses only",
            )
        return list(found)

    def _too_large(self, found: str) -> FetchRefused:
        return FetchRefused("The body is too large.", found=found, expected=f"at most {self._max_bytes} bytes")

    def _too_slow(self, target: Target) -> FetchFailed:
        return FetchFailed(
            "The server was too slow.", found=shown(target.url), expected=f"all of it within {self._timeout_s:g} s"
        )


class _PinnedBackend(httpcore.NetworkBackend):
    """Connects to checked addresses only, and lets no operation pass the deadline of its fetch."""

    def __init__(self, addresses: Callable[[str, int, float], list[str]], deadline: float) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._real = httpcore.SyncBackend()

    def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.NetworkStream:
        """Connection to the first address of ``host`` that answers."""
        failure: Exception = httpcore.ConnectError("no address")
        for address in self._addresses(host, port, self._deadline):
            try:
                return _DeadlineStream(self._real.connect_tcp(address, port, _left(self._deadline)), self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class _DeadlineStream(httpcore.NetworkStream):
    """A stream whose every operation ends with its fetch: a server that drips bytes holds no thread longer."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the deadline decides
        """Up to ``max_bytes``."""
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the deadline decides
        """All of ``buffer``."""
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        """End the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """TLS with the name of the host, whose certificate is verified."""
        del timeout  # the deadline decides
        secured = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline))
        return _DeadlineStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """What the connection knows of itself."""
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("deadline")
    return left
