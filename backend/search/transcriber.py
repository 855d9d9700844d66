"""Speech to words, through any server that speaks OpenAI's transcription API."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from backend.errors import TooLarge, Unavailable, Unprocessable
from backend.http import public_authorities
from backend.logs import get_logger
from backend.metrics import TRANSCRIPTIONS
from backend.search.audio import audio_kind
from backend.search.schemas import MAX_TEXT

log = get_logger(__name__)

ANSWER_BYTES = 2**18
"""An answer holds one sentence; a server that says more is not what it was taken for."""
SHOWN = 200
"""Characters of its complaint that are passed on."""


class TranscriberMissing(Unprocessable):
    """This server was given no transcriber, so it takes words and no recordings."""

    title = "No transcriber"


class SpeechRefused(Unprocessable):
    """The transcriber cannot read this recording."""

    title = "Recording refused"


class NothingHeard(Unprocessable):
    """The recording has no words in it."""

    title = "Nothing was heard"


class TranscriberUnavailable(Unavailable):
    """The transcriber does not answer, or does not let this server in."""

    title = "Transcriber unavailable"


@dataclass(frozen=True)
class Endpoint:
    """Where recordings are sent.

    Args:
        url: base address, as in ``https://api.openai.com/v1``.
        model: name of the model.
        key: bearer token; none is sent where there is none.
        timeout_s: seconds a transcription may take in all.
        max_bytes: largest recording.
    """

    url: str
    model: str
    key: str | None
    timeout_s: float
    max_bytes: int


class Transcriber:
    """Turns recordings into words; one without an endpoint refuses them. Use it from one event loop."""

    def __init__(self, endpoint: Endpoint | None) -> None:
        self._endpoint = endpoint
        # the whole call has a deadline
        self._client = httpx.AsyncClient(timeout=None, trust_env=False, verify=public_authorities())  # noqa: S113

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    def expect_endpoint(self) -> Endpoint:
        """Where recordings are sent.

        Raises:
            TranscriberMissing: nowhere.
        """
        if self._endpoint is None:
            raise TranscriberMissing(
                "this server has no transcriber (MORELIKE_TRANSCRIBER_URL); send the words that were spoken as text",
                found="audio",
                expected="text, with query_type voice",
            )
        return self._endpoint

    async def transcribe(self, audio: bytes, language: str | None = None) -> str:
        """The words of ``audio``, with one space between them, cut to what a search takes.

        Args:
            audio: a recording.
            language: ISO 639-1 code of what is spoken; guessed by the model where it is not given.

        Raises:
            TranscriberMissing: there is no transcriber.
            TooLarge: the recording has too many bytes.
            AudioUnknown: it is in no known format.
            SpeechRefused: the transcriber cannot read it.
            NothingHeard: it has no words.
            TranscriberUnavailable: the transcriber does not answer in time or in order.
        """
        endpoint = self.expect_endpoint()
        if len(audio) > endpoint.max_bytes:
            raise TooLarge("this recording is too large", found=len(audio), expected=f"{endpoint.max_bytes} bytes")
        kind = audio_kind(audio)
        form = {"model": endpoint.model, "response_format": "json"} | ({"language": language} if language else {})
        # the service tells the format by the ending of the name
        files = {"file": (f"speech.{kind.ending}", audio, kind.media_type)}
        status, body = await self._ask(endpoint, form, files)
        words = " ".join(_words(status, body).replace("\x00", " ").split())
        TRANSCRIPTIONS.labels("heard" if words else "silent").inc()
        if not words:
            raise NothingHeard("no words were heard in the recording", expected="speech")
        return words if len(words) <= MAX_TEXT else words[: MAX_TEXT + 1].rpartition(" ")[0] or words[:MAX_TEXT]

    async def _ask(self, endpoint: Endpoint, form: dict[str, str], files: dict[str, Any]) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
        address = f"{endpoint.url.rstrip('/')}/audio/transcriptions"
        try:
            async with (
                asyncio.timeout(endpoint.timeout_s),
                self._client.stream("POST", address, data=form, files=files, headers=headers) as answer,
            ):
                body = bytearray()
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > ANSWER_BYTES:
                        raise _unavailable("it answers with more than a transcript")
                return answer.status_code, bytes(body)
        except TimeoutError as error:
            raise _unavailable(f"it did not answer within {endpoint.timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unavailable(f"it cannot be reached: {type(error).__name__}") from error


def _words(status: int, body: bytes) -> str:
    """The transcript in an answer."""
    said = _parsed(body)
    if status == 200:
        text = said.get("text")
        if not isinstance(text, str):
            raise _unavailable("its answer has no text: is it a transcription server?")
        return text
    complaint = _complaint(said) or f"status {status}"
    if status in (400, 413, 415, 422):
        TRANSCRIPTIONS.labels("refused").inc()
        raise SpeechRefused(f"the transcriber cannot read this recording: {complaint}", found=status, expected=200)
    log.warning("transcriber_refuses", status=status, said=complaint)
    if status in (401, 403):
        raise _unavailable("it does not accept this server's key (MORELIKE_TRANSCRIBER_KEY)")
    if status == 404:
        raise _unavailable("it knows no such address or model (MORELIKE_TRANSCRIBER_URL, MORELIKE_TRANSCRIBER_MODEL)")
    raise _unavailable("it has too much to do" if status == 429 else f"it answered {status}")


def _unavailable(reason: str) -> TranscriberUnavailable:
    TRANSCRIPTIONS.labels("failed").inc()
    return TranscriberUnavailable(f"the transcriber is not usable now: {reason}", component="transcriber")


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _complaint(said: dict[str, Any]) -> str:
    """What went wrong in the server's words: OpenAI nests it, others do not."""
    error = said.get("error", said.get("detail", said.get("message")))
    text = error.get("message") if isinstance(error, dict) else error
    return " ".join(text.split())[:SHOWN] if isinstance(text, str) else ""
