"""A captioner behind HTTP: any server that speaks OpenAI's chat completions and looks at pictures.

Two turns, as relevance feedback wants it: the first asks for one full sentence, the second for a short one that keeps
the details. A failure is either the picture's or the server's. What is the server's (no network, a wrong key, no
credit, overload) pauses everything and is held against no picture.
"""

import base64
import io
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from PIL import Image

from backend.catalog.captioning.captioners import (
    CaptionerSpec,
    CaptionerStopped,
    CaptionerUnavailable,
    Picture,
    PictureFailed,
    Said,
    Turn,
    first_prompt,
)
from backend.catalog.captioning.wording import caption_of

SIDE = 512
"""Longer side of a picture that is sent, in pixels: more costs tokens and tells a caption nothing."""

ANSWER_TOKENS = 300
THINKING_TOKENS = 2000
"""Limits of one answer; the larger one for models whose thinking counts."""

MOST_ANSWERED = 2**20
LONGEST_PAUSE_S = 86_400.0

_REFUSED = (400, 413, 415, 422)  # what was sent is not acceptable: this picture, or every picture
_NO_CREDIT = ("insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached")
_NO_CREDIT_PAUSE_S = 900.0
_PROVEN_S = 600.0


class Endpoint:
    """A captioner at ``url``.

    Args:
        spec: the model and its prompts.
        url: base URL, as in ``https://api.openai.com/v1``.
        key: sent as a bearer token, where there is one.
        timeout_s: seconds that one request may take in all.
        threads: pictures talked about at a time.
    """

    batch = 1

    def __init__(self, spec: CaptionerSpec, *, url: str, key: str | None, timeout_s: float, threads: int) -> None:
        if not url.startswith(("http://", "https://")):
            raise CaptionerUnavailable(
                "MORELIKE_CAPTIONER_URL is no address.", found=url, expected="http://… or https://…"
            )
        self.threads = threads
        self.requests = 2 if spec.prompts["second"] else 1
        self.lease_s = self.requests * timeout_s + 30
        self._spec = spec
        self._timeout_s = timeout_s
        headers = {"User-Agent": "Morelike (captions)"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._client = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout_s)
        self._limit = {"max_tokens": ANSWER_TOKENS}
        self._proven_at = -_PROVEN_S

    def describe(self, pictures: Sequence[Picture]) -> list[Said | PictureFailed]:
        """What each of ``pictures`` shows, one after the other.

        Raises:
            CaptionerStopped: the server, not a picture, is what failed.
        """
        return [self._described(picture) for picture in pictures]

    def _described(self, picture: Picture) -> Said | PictureFailed:
        try:
            said = self._converse(picture)
        except _Refused as refused:
            return self._blame(refused)
        except PictureFailed as failed:
            return failed
        self._proven_at = time.monotonic()
        return said

    def _converse(self, picture: Picture) -> Said:
        prompts = self._spec.prompts
        opening = first_prompt(prompts["first"], picture.content_hash)
        shown = {"type": "image_url", "image_url": {"url": _data_url(picture.image)}}
        messages: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": opening}, shown]}]
        turns = [Turn(opening, self._ask(messages))]
        if prompts["second"]:
            caption_of(turns[0].answer)  # a model that declined is not asked to decline again
            messages += [
                {"role": "assistant", "content": turns[0].answer},
                {"role": "user", "content": prompts["second"]},
            ]
            turns.append(Turn(prompts["second"], self._ask(messages)))
        return Said(caption_of(turns[-1].answer), tuple(turns))

    def _blame(self, refused: "_Refused") -> PictureFailed:
        """The picture's failure, unless the server refuses a plain white one too."""
        if time.monotonic() - self._proven_at > _PROVEN_S:
            white = Picture("0" * 64, Image.new("RGB", (64, 64), "white"))
            try:
                self._converse(white)
            except _Refused:
                raise CaptionerStopped(refused.reason) from None
            except PictureFailed:
                self._proven_at = time.monotonic()  # it did answer
            else:
                self._proven_at = time.monotonic()
        return PictureFailed(refused.reason, permanent=True)

    def _ask(self, messages: list[dict[str, Any]]) -> str:
        status, headers, data = self._post({"model": self._spec.model, "messages": messages, **self._limit})
        if status == 400 and b"max_completion_tokens" in data and "max_tokens" in self._limit:
            self._limit = {"max_completion_tokens": THINKING_TOKENS}  # models that think want it under this name
            return self._ask(messages)
        if status != 200:
            raise _failure(status, headers, data)
        return _content(data)

    def _post(self, body: dict[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        deadline = time.monotonic() + self._timeout_s
        answer = bytearray()
        try:
            with self._client.stream("POST", "/chat/completions", json=body) as response:
                for chunk in response.iter_bytes():
                    answer += chunk
                    if len(answer) > MOST_ANSWERED:
                        raise CaptionerStopped(f"The captioner answered more than {MOST_ANSWERED} bytes.")
                    if time.monotonic() > deadline:
                        raise CaptionerStopped(f"The captioner took more than {self._timeout_s:g} s.")
                return response.status_code, response.headers, bytes(answer)
        except httpx.TimeoutException as error:
            raise CaptionerStopped(f"The captioner took more than {self._timeout_s:g} s.") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CaptionerStopped(f"The captioner cannot be reached: {type(error).__name__}: {error}") from error


class _Refused(PictureFailed):
    """The server does not accept what was sent."""


def _data_url(image: Image.Image) -> str:
    small = image.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def _content(data: bytes) -> str:
    try:
        choice = json.loads(data)["choices"][0]
        message = choice["message"]
        refusal, content = message.get("refusal"), message.get("content")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        found = data[:200].decode(errors="replace")
        raise CaptionerStopped(f"The captioner does not answer as chat completions do. Found: {found}") from error
    if refusal or choice.get("finish_reason") == "content_filter":
        raise PictureFailed(f"The model declined: {refusal or 'content filter'}"[:500], permanent=True)
    if not isinstance(content, str) or not content.strip():
        raise PictureFailed("The model answered without words.")
    return content


def _failure(status: int, headers: httpx.Headers, data: bytes) -> PictureFailed | CaptionerStopped:
    message, code = _error(data)
    said = f"The captioner answered {status}" + (f": {message}" if message else ".")
    if status in _REFUSED:
        return _Refused(said, permanent=True)
    if status == 500:
        return PictureFailed(said)
    if status == 402 or code in _NO_CREDIT:
        return CaptionerStopped(said, _NO_CREDIT_PAUSE_S)
    return CaptionerStopped(said, _retry_after(headers.get("retry-after")))


def _error(data: bytes) -> tuple[str, str]:
    """Message and code of an error, wherever the server's dialect puts them."""
    try:
        body = json.loads(data)
    except ValueError:
        return data[:200].decode(errors="replace").strip(), ""
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return str(error)[:300], ""
    return str(error.get("message") or error.get("detail") or "")[:300], str(error.get("code") or error.get("type"))


def _retry_after(header: str | None) -> float | None:
    """Seconds that ``Retry-After`` asks for, as a number or as a date."""
    if header is None:
        return None
    with suppress(ValueError):
        return min(max(float(header), 0.0), LONGEST_PAUSE_S) if header.strip().lower() != "nan" else None
    with suppress(ValueError):
        at = parsedate_to_datetime(header)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return min(max((at - datetime.now(UTC)).total_seconds(), 0.0), LONGEST_PAUSE_S)
    return None
