"""Asking a shop over HTTP: patient with outages and rate limits, strict about where it is sent, bounded in bytes."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import orjson

from backend.catalog.feeds.drafts import FeedBroken
from backend.catalog.schemas import short

ANSWER_MAX_BYTES = 64 * 2**20
"""Largest answer read: 250 products with a hundred variants each are some 20 MiB."""

ANSWER_MAX_S = 300.0
"""Seconds one answer may take in all: a server that drips bytes holds nobody up longer."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
REDIRECTS_MAX = 5

Pause = Callable[[float], None]
"""Waits for some seconds; raises where the waiting process is to stop."""


class ShopSilent(FeedBroken):
    """The shop did not answer in time or in order, and was asked again for as long as patience lasts."""

    title = "The shop does not answer"


class ShopRefused(FeedBroken):
    """The shop answered, and asking again will not help."""

    title = "The shop refuses"


class NotThere(ShopRefused):
    """The shop has nothing at this address."""


class PullStopped(FeedBroken):
    """The process that reads the shop shuts down."""

    title = "Reading the shop was stopped"


class BehindPassword(ShopRefused):
    """A Shopify shop that is not open yet."""


class NotAllowed(ShopRefused):
    """The shop does not accept the credentials."""


@dataclass(frozen=True)
class Answer:
    """What a shop answered: the JSON, and its headers by lower-case name."""

    data: Any
    headers: Mapping[str, str]


class _Later(Exception):
    """The request may succeed in ``after_s`` seconds, or after the usual pause where none is said."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


class ShopClient:
    """Client of one shop.

    Args:
        base: address of the shop, without a slash at its end.
        patience_s: seconds one request may wait in all for outages and rate limits to end.
        headers: sent with every request, and never to another host.
        auth: user and password, sent likewise.
        timeout_s: seconds without a byte before an attempt has failed.
        pause: how waiting is done; a worker ends it when it shuts down.
    """

    def __init__(
        self,
        base: str,
        *,
        patience_s: float = 300.0,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout_s: float = 30.0,
        pause: Pause = time.sleep,
    ) -> None:
        self.base = base.rstrip("/")
        self.headers = dict(headers or {})
        self.auth = auth
        self.as_of: datetime | None = None
        self.waited_s = 0.0
        self._patience_s = patience_s
        self._pause = pause
        self._http = httpx.Client(timeout=timeout_s, headers={"User-Agent": "Morelike (catalogue import)"})

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Answer:
        """JSON at ``path`` of the shop.

        Raises:
            NotThere: there is nothing.
            ShopRefused: asking again will not help.
            ShopSilent: it was asked for as long as patience lasts.
        """
        return self._asked("GET", path, params={name: str(value) for name, value in query.items()})

    def post(self, path: str, *, json: Any = None, form: Mapping[str, str] | None = None) -> Answer:
        """JSON that ``path`` answers to ``json`` or ``form``; raises as ``get`` does."""
        return self._asked("POST", path, json=json, data=form)

    def wait(self, seconds: float) -> None:
        """Wait, as a shop asked."""
        self.waited_s += seconds
        self._pause(seconds)

    def _asked(self, method: str, path: str, **sent: Any) -> Answer:
        waited, usual = 0.0, FIRST_PAUSE_S
        while True:
            try:
                return self._once(method, f"{self.base}{path}", sent)
            except _Later as later:
                pause = usual if later.after_s is None else later.after_s
                if waited + pause > self._patience_s:
                    raise ShopSilent(
                        "The shop does not answer. What was read before is kept; run it again later to go on.",
                        found=f"{later} ({method} {path}, asked for {waited:.0f} s)",
                        expected="an answer",
                    ) from later
            self.wait(pause)
            waited, usual = waited + pause, min(LONGEST_PAUSE_S, usual * 2)

    def _once(self, method: str, url: str, sent: dict[str, Any]) -> Answer:
        for _ in range(REDIRECTS_MAX + 1):
            try:
                with self._http.stream(method, url, headers=self.headers, auth=self.auth, **sent) as response:
                    onward = self._redirected(method, url, response)
                    if onward is None:
                        return self._answer(response, _body(response))
            except (httpx.TransportError, httpx.StreamError, httpx.DecodingError) as error:
                raise _Later(f"{type(error).__name__}: {error}"[:200]) from error
            except httpx.InvalidURL as error:
                raise ShopRefused("This is not a web address.", found=short(url), expected="https://…") from error
            url, sent = onward, {name: value for name, value in sent.items() if name != "params"}
        raise ShopRefused("The shop redirects in a circle.", found=short(url), expected="a page")

    def _redirected(self, method: str, url: str, response: httpx.Response) -> str | None:
        """Where to ask instead, on the same host: credentials must not follow a redirect elsewhere."""
        if response.status_code not in (301, 302, 303, 307, 308) or "location" not in response.headers:
            return None
        onward = urljoin(url, response.headers["location"])
        was, now = urlsplit(url), urlsplit(onward)
        if now.path.rstrip("/").endswith("/password"):
            raise BehindPassword(
                "The shop's pages are behind a password. Open them, or read the shop with its app's credentials "
                "(MORELIKE_SHOP_CLIENT_ID, MORELIKE_SHOP_CLIENT_SECRET) at https://NAME.myshopify.com.",
                found=f"{short(url)} leads to its password page",
            )
        same = _bare(was.hostname) == _bare(now.hostname) and (was.port == now.port or now.scheme == "https")
        if method != "GET" or not same or (was.scheme, now.scheme) == ("https", "http"):
            raise ShopRefused(
                "The shop sends us to another address. Name that one if it is the shop's.",
                found=short(onward),
                expected=f"an answer from {was.hostname}",
            )
        return onward

    def _answer(self, response: httpx.Response, body: bytes) -> Answer:
        status, headers = response.status_code, dict(response.headers)
        self.as_of = self.as_of or _clock(headers)
        if status in (408, 425, 429, 430) or status >= 500:
            raise _Later(f"it answered {status}", _retry_after(headers))
        said = f"{status} {_message(body)}".strip()
        if status in (404, 410):
            raise NotThere("The shop has nothing at this address.", found=f"{said}: {short(str(response.url))}")
        if status in (401, 403):
            raise NotAllowed("The shop does not accept the credentials, or they may not do this.", found=said)
        if not 200 <= status < 300:
            raise ShopRefused("The shop does not accept the request.", found=said, expected="200")
        if not body:
            return Answer(None, headers)
        try:
            return Answer(orjson.loads(body), headers)
        except orjson.JSONDecodeError as error:
            if "json" in headers.get("content-type", ""):
                raise _Later("its JSON is broken off") from error
            raise ShopRefused(
                "The address answers, but not with JSON.", found=headers.get("content-type", "no type"), expected="JSON"
            ) from error


def _body(response: httpx.Response) -> bytes:
    body, deadline = bytearray(), time.monotonic() + ANSWER_MAX_S
    for chunk in response.iter_bytes():
        body += chunk
        if time.monotonic() > deadline:
            raise _Later(f"its answer was not whole within {ANSWER_MAX_S:g} s")
        if len(body) > ANSWER_MAX_BYTES:
            raise ShopRefused(
                "The shop's answer is too large.",
                found=f"more than {ANSWER_MAX_BYTES} bytes",
                expected="a page of products",
            )
    return bytes(body)


def _bare(host: str | None) -> str:
    return (host or "").removeprefix("www.")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that ``Retry-After`` says, as a number or as a time; none where it says nothing readable."""
    said = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", said):
        return float(said)
    at = _time(said)
    return max(0.0, (at - datetime.now(UTC)).total_seconds()) if at else None


def _clock(headers: Mapping[str, str]) -> datetime:
    """The shop's clock, or ours where it says none or one that is ahead."""
    now = datetime.now(UTC)
    return min(now, _time(headers.get("date", "")) or now)


def _time(said: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(said)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _message(body: bytes) -> str:
    """What a refusal says of itself, in the words of Shopify or WordPress."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    if not isinstance(found, dict):
        return ""
    words = next((found[name] for name in ("message", "error_description", "errors", "error") if name in found), "")
    return str(short(str(words)))
