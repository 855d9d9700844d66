"""Spoken searches: transcripts as text, and recordings through a transcription server."""

import io
import struct
import time
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import select
from starlette.testclient import TestClient

from backend.db import session_scope
from backend.errors import UnsupportedMedia
from backend.events.models import ServedList
from backend.main import create_app
from backend.search.audio import audio_kind
from backend.settings import Settings
from tests.fixtures.api import Keys
from tests.fixtures.openai_server import (
    KEY,
    TRANSCRIBER_MODEL,
    OpenAIServer,
    Trouble,
    error_body,
    rate_limited,
    speaking_openai,
)
from tests.fixtures.timing import quickest
from tests.search.conftest import COLOURS, Search, Shop, ids, png


def recording(seconds: float = 0.2) -> bytes:
    """A WAV of a rising tone."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(b"".join(struct.pack("<h", n * 37 % 20000) for n in range(int(16000 * seconds))))
    return out.getvalue()


SPOKEN = recording()


@pytest.fixture(scope="module")
def openai() -> Iterator[OpenAIServer]:
    with speaking_openai() as server:
        yield server


@pytest.fixture(autouse=True)
def calm(openai: OpenAIServer, redis_server: str) -> None:
    """Each test finds the server as it was made, and nobody has spoken this minute."""
    openai.key, openai.transcript, openai.delay_s = KEY, "a red kettle", 0.0
    openai.troubles.clear()
    openai.asked.clear()
    Redis.from_url(redis_server).delete("rate:transcriptions")


@pytest.fixture(scope="module", autouse=True)
def kettles(shop: Shop) -> None:
    shop.add(
        *({"id": colour, "title": f"kettle {colour}"} for colour in COLOURS),
        pictures={colour: [png(rgb)] for colour, rgb in COLOURS.items()},
    )


@pytest.fixture(scope="module")
def listening(shop: Shop, shop_settings: Settings, shop_keys: Keys, openai: OpenAIServer) -> Iterator[TestClient]:  # noqa: ARG001
    """A client of an API that has a transcriber."""
    settings = shop_settings.model_copy(
        update={
            "transcriber_url": f"{openai.url}/",
            "transcriber_model": TRANSCRIBER_MODEL,
            "transcriber_key": SecretStr(KEY),
            "transcriber_timeout_s": 0.8,
            "transcriber_max_bytes": 20_000,
            "transcriber_per_minute": 6,
        }
    )
    with TestClient(create_app(settings), client=("203.0.113.9", 50000)) as client:
        client.headers.update(shop_keys.storefront)
        yield client


def speak(client: TestClient, audio: bytes = SPOKEN, **form: Any) -> Any:
    return client.post("/v1/search", files={"audio": ("blob", audio, "application/octet-stream")}, data=form)


def test_a_recording_is_searched_by_its_words_and_kept_as_a_spoken_search(
    listening: TestClient, search: Search, shop: Shop, openai: OpenAIServer
) -> None:
    openai.transcript = "  a red \n kettle "
    answer = speak(listening, language="en", request='{"limit": 3, "surface": "web"}')
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["transcript"] == "a red kettle"
    assert ids(body) == ids(search(text="a red kettle", limit=3))
    with session_scope(shop.sessions) as session:
        kept = session.scalars(select(ServedList).filter_by(query_id=body["query_id"])).one()
        assert (kept.query_type, kept.surface, kept.request["text"]) == ("voice", "web", "a red kettle")
    asked = openai.asked[0]
    assert (asked.file, asked.file_name) == (SPOKEN, "speech.wav")
    assert asked.fields == {"model": TRANSCRIBER_MODEL, "response_format": "json", "language": "en"}


def test_its_list_continues_like_any_other(listening: TestClient) -> None:
    first = speak(listening, request='{"limit": 2}').json()
    second = listening.post("/v1/search", json={"cursor": first["cursor"], "limit": 2}).json()
    assert not set(ids(first)) & set(ids(second))
    assert second["query_id"] == first["query_id"]


def test_a_recording_and_a_picture_are_one_question(listening: TestClient, search: Search) -> None:
    files = {"audio": ("a", SPOKEN, "audio/wav"), "image": ("i", png(COLOURS["blue"]), "image/png")}
    both = listening.post("/v1/search", files=files).json()
    words = search(text="a red kettle")
    assert [hit["score"] for hit in both["hits"]] != [hit["score"] for hit in words["hits"]]


def test_a_transcript_of_ones_own_is_text_of_query_type_voice(search: Search, shop: Shop) -> None:
    answer = search(text="a red kettle", query_type="voice")
    with session_scope(shop.sessions) as session:
        assert session.scalars(select(ServedList.query_type).filter_by(query_id=answer["query_id"])).one() == "voice"
    assert "transcript" not in answer


def test_a_spoken_search_without_words_is_refused(client: TestClient) -> None:
    for request in ({"query_type": "voice"}, {"query_type": "voice", "text": "  "}):
        answer = client.post("/v1/search", json=request)
        assert answer.status_code == 422
        assert "transcript" in answer.json()["expected"]


def test_a_long_transcript_is_cut_between_words(listening: TestClient, openai: OpenAIServer) -> None:
    openai.transcript = "kettle " * 400
    heard = speak(listening).json()["transcript"]
    assert 990 < len(heard) <= 1000
    assert set(heard.split()) == {"kettle"}


@pytest.mark.parametrize(
    ("trouble", "status", "kind", "said"),
    [
        (Trouble(400, error_body("Invalid file format.", "x")), 422, "speech-refused", "Invalid file format."),
        (Trouble(422, b'{"detail": "too noisy"}'), 422, "speech-refused", "too noisy"),
        (Trouble(401), 503, "transcriber-unavailable", "MORELIKE_TRANSCRIBER_KEY"),
        (Trouble(404), 503, "transcriber-unavailable", "MORELIKE_TRANSCRIBER_MODEL"),
        (rate_limited(), 503, "transcriber-unavailable", "too much to do"),
        (Trouble(500, b"<html>"), 503, "transcriber-unavailable", "500"),
        (Trouble(302, b"", {"Location": "http://169.254.169.254/"}), 503, "transcriber-unavailable", "302"),
        (Trouble(0), 503, "transcriber-unavailable", "cannot be reached"),
        (Trouble(200, b"[1]"), 503, "transcriber-unavailable", "no text"),
        (Trouble(200, b'{"text": 5}'), 503, "transcriber-unavailable", "no text"),
        (Trouble(200, b'{"text": "' + b"a" * 2**19 + b'"}'), 503, "transcriber-unavailable", "more than"),
        (Trouble(200, b'{"text": " \\u0000 "}'), 422, "nothing-heard", "no words"),
    ],
    ids=lambda value: getattr(value, "status", value),
)
def test_what_the_server_cannot_do_is_told(
    listening: TestClient, openai: OpenAIServer, trouble: Trouble, status: int, kind: str, said: str
) -> None:
    openai.troubles.append(trouble)
    answer = speak(listening)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:morelike:problem:{kind}")
    assert said in answer.json()["detail"]
    assert KEY not in answer.text


def test_a_server_that_hangs_is_given_up_on_and_other_searches_go_on(
    listening: TestClient, openai: OpenAIServer, redis_server: str
) -> None:
    openai.delay_s = 60

    def searched_beside_it() -> float:
        Redis.from_url(redis_server).delete("rate:transcriptions")
        with ThreadPoolExecutor(1) as pool:
            begun = time.perf_counter()
            spoken = pool.submit(speak, listening)
            assert listening.post("/v1/search", json={"text": "a blue kettle"}).status_code == 200
            took = time.perf_counter() - begun
            answer = spoken.result()
        assert answer.status_code == 503
        assert "within 0.8 s" in answer.json()["detail"]
        assert time.perf_counter() - begun < 50, "it waited for the server"
        return took

    assert quickest(searched_beside_it, 0.7) < 0.7


def test_no_more_are_transcribed_than_the_shop_pays_for(listening: TestClient, openai: OpenAIServer) -> None:
    answers = [speak(listening) for _ in range(8)]
    assert [answer.status_code for answer in answers].count(429) >= 1
    assert len(openai.asked) < 8
    refused = answers[-1]
    assert int(refused.headers["Retry-After"]) >= 1
    assert "6 a minute" in refused.json()["expected"]


def test_a_large_recording_is_refused_before_it_is_sent(listening: TestClient, openai: OpenAIServer) -> None:
    answer = speak(listening, recording(2))
    assert answer.status_code == 413
    assert answer.json()["expected"] == "20000 bytes"
    assert openai.asked == []


@pytest.mark.parametrize("data", [b"", b"<html>", b"RIFF\0\0\0\0AVI ", b"\xff\xf1\x50\x80", b"\xff"])
def test_what_is_no_recording_is_refused_before_it_is_sent(
    listening: TestClient, openai: OpenAIServer, data: bytes
) -> None:
    answer = speak(listening, data)
    assert answer.status_code == 415
    assert "WebM" in answer.json()["expected"]
    assert openai.asked == []


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"request": '{"text": "a lamp"}'}, 422),
        ({"request": '{"cursor": "abc"}'}, 422),
        ({"request": "{"}, 400),
        ({"request": '{"limit": 0}'}, 422),
        ({"request": '{"weights": {"caption": 1}}'}, 403),
        ({"language": "english"}, 422),
    ],
)
def test_what_contradicts_a_recording_is_refused_before_it_is_sent(
    listening: TestClient, openai: OpenAIServer, form: dict[str, str], status: int
) -> None:
    assert speak(listening, **form).status_code == status
    assert openai.asked == []


def test_without_a_transcriber_a_recording_is_refused_with_the_way_out(client: TestClient) -> None:
    answer = speak(client)
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:morelike:problem:transcriber-missing"
    assert "MORELIKE_TRANSCRIBER_URL" in answer.json()["detail"]


def test_a_form_without_any_file_is_refused(client: TestClient) -> None:
    answer = client.post("/v1/search", files={"other": ("a", b"x", "text/plain")})
    assert answer.status_code == 422
    assert "neither" in answer.json()["detail"]


def test_speaking_needs_a_key(listening: TestClient, openai: OpenAIServer) -> None:
    answer = listening.post("/v1/search", files={"audio": ("a", SPOKEN)}, headers={"Authorization": "Bearer no"})
    assert answer.status_code == 401
    assert openai.asked == []


@given(st.binary(max_size=64))
@example(b"\xff\xfb\x90\x00")
@example(b"\x00\x00\x00\x18ftypM4A ")
@example(b"\x1a\x45\xdf\xa3")
def test_any_bytes_have_a_format_or_are_refused(data: bytes) -> None:
    try:
        kind = audio_kind(data)
    except UnsupportedMedia as error:
        assert error.expected  # noqa: PT017  either outcome is right, if it says what would have been
    else:
        assert kind.media_type.startswith("audio/")
