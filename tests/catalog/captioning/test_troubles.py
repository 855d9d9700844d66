"""What an endpoint does wrong: pictures are blamed for what is theirs, everything pauses for what is not."""

import json
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from backend.catalog.captioning.budget import Budget
from backend.catalog.captioning.captioners import (
    CaptionerStopped,
    CaptionerUnavailable,
    Picture,
    PictureFailed,
    Said,
)
from backend.catalog.captioning.endpoint import SIDE, Endpoint, _content, _failure, _retry_after
from backend.catalog.captioning.generate import CaptionReport
from backend.catalog.captioning.repository import caption_status, list_captions, retry_captions
from backend.catalog.captioning.schemas import CaptionerOut, CaptionState
from backend.db import session_scope
from tests.catalog.captioning.conftest import SPEC, Desk, coloured
from tests.fixtures.openai_server import Trouble, error_body, no_credit, rate_limited

assert SPEC is not None

BAD_PICTURE = Trouble(400, error_body("You uploaded an unsupported image.", "invalid_request_error"))
BROKEN = Trouble(500, error_body("The server had an error", "server_error"))


def current(desk: Desk) -> CaptionerOut:
    with session_scope(desk.sessions) as session:
        found = caption_status(session).current
    assert found is not None
    return found


def listed(desk: Desk, state: CaptionState) -> list[str]:
    with session_scope(desk.sessions) as session:
        return [row.error or "" for row in list_captions(session, state).captions]


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (Trouble(503, b"upstream is away"), "answered 503: upstream is away"),
        (Trouble(404, error_body("The model `x` does not exist", "invalid_request_error")), "does not exist"),
        (Trouble(403, b"{}"), "answered 403."),
        (Trouble(0), "cannot be reached"),
        (Trouble(200, b"<html>hello</html>"), "does not answer as chat completions do. Found: <html>"),
        (Trouble(200, b'{"choices": []}'), "does not answer as chat completions do"),
        (Trouble(200, b" " * (2**20 + 1)), "answered more than"),
        (no_credit(), "You exceeded your current quota"),
    ],
)
def test_what_is_the_servers_fault_pauses_everything_and_blames_no_picture(
    desk: Desk, trouble: Trouble, said: str
) -> None:
    desk.shop.put("p1", pictures=(coloured(1),))
    desk.server.troubles.append(trouble)
    assert desk.run(budget=Budget(backoff_s=60)) == CaptionReport(aligned=1, paused=1)
    assert desk.rows("state, attempts, error") == [("pending", 0, None)]
    held = current(desk)
    assert said in str(held.reason)
    assert held.paused_until is not None
    with session_scope(desk.sessions) as session:
        retry_captions(session)  # which ends the pause
    assert desk.captioning().run_due().captioned == 1


def test_a_wrong_key_is_said_and_a_restart_with_the_right_one_goes_on(desk: Desk) -> None:
    desk.shop.put("p1", pictures=(coloured(1),))
    desk.run(key="sk-wrong", budget=Budget(backoff_s=60))
    assert "Incorrect API key provided." in str(current(desk).reason)
    assert "sk-wrong" not in str(current(desk))
    assert desk.run().captioned == 1


def test_a_server_that_is_not_there_pauses_with_pauses_that_double(desk: Desk) -> None:
    desk.shop.put("p1", pictures=(coloured(1),))
    desk.server.port = 1
    captioning = desk.captioning(budget=Budget(backoff_s=100))
    for expected in (100, 200, 400, 800, 900, 900):
        assert captioning.run_due().paused == 1
        until = current(desk).paused_until
        assert until is not None
        assert (until - datetime.now(UTC)).total_seconds() == pytest.approx(expected, abs=20)
        assert captioning.run_due().paused == 0, "nothing is asked while it is paused"
        desk.execute("UPDATE captioners SET paused_until = now()")


def test_retry_after_is_what_the_pause_lasts(desk: Desk) -> None:
    desk.shop.put("p1", pictures=(coloured(1),))
    desk.server.troubles.append(rate_limited("77"))
    desk.run(budget=Budget(backoff_s=1))
    until = current(desk).paused_until
    assert until is not None
    assert (until - datetime.now(UTC)).total_seconds() == pytest.approx(77, abs=15)


def test_a_slow_server_costs_no_more_than_the_timeout(desk: Desk) -> None:
    desk.shop.put("p1", pictures=(coloured(1),))
    desk.server.delay_s = 60.0
    began = time.monotonic()
    desk.run(timeout_s=0.2, budget=Budget(backoff_s=60))
    assert time.monotonic() - began < 50, "it waited for the answer"
    assert "took more than 0.2 s" in str(current(desk).reason)


def test_a_picture_that_the_server_refuses_is_parked_and_the_others_go_on(desk: Desk) -> None:
    """The refused one is asked about once: a white picture, which is accepted, shows that it is the picture."""
    for red in (1, 2, 3):
        desk.shop.put(f"p{red}", pictures=(coloured(red),))
    desk.server.troubles.append(BAD_PICTURE)
    assert desk.run() == CaptionReport(aligned=3, captioned=2, parked=1)
    assert listed(desk, "parked") == ["The captioner answered 400: You uploaded an unsupported image."]
    with session_scope(desk.sessions) as session:
        assert retry_captions(session) == 1
    assert desk.run().captioned == 1


def test_a_server_that_refuses_every_picture_parks_none(desk: Desk) -> None:
    desk.shop.put("p1", pictures=(coloured(1),))
    desk.server.troubles.extend([BAD_PICTURE] * 2)
    assert desk.run(budget=Budget(backoff_s=60)).paused == 1
    assert listed(desk, "parked") == []
    assert "unsupported image" in str(current(desk).reason)


def test_a_picture_at_which_the_server_breaks_is_tried_again_and_then_parked(desk: Desk) -> None:
    desk.shop.put("p1", pictures=(coloured(1),))
    desk.server.troubles.extend([BROKEN] * 3)
    assert desk.run() == CaptionReport(aligned=1, retried=2, parked=1)
    assert desk.asked() == 3
    assert listed(desk, "parked") == ["The captioner answered 500: The server had an error"]


def test_a_second_turn_that_fails_has_the_whole_conversation_again(desk: Desk) -> None:
    desk.shop.put("p1", pictures=(coloured(1),))
    answers = iter(["A long sentence.", "", "A long sentence.", "short"])
    desk.server.say = lambda _picture, _turn: next(answers)
    assert desk.run() == CaptionReport(aligned=1, captioned=1, retried=1)
    assert desk.texts("p1") == ["short"]


def test_a_refusal_is_no_caption(desk: Desk) -> None:
    desk.shop.put("p1", pictures=(coloured(1),))
    refusal = {"role": "assistant", "content": None, "refusal": "I will not."}
    desk.server.troubles.append(Trouble(200, json.dumps({"choices": [{"message": refusal}]}).encode()))
    assert desk.run().parked == 1
    assert (listed(desk, "parked"), desk.texts("p1")) == (["The model declined: I will not."], [])


def test_a_picture_whose_bytes_are_gone_or_broken_is_parked_without_being_asked_about(desk: Desk) -> None:
    desk.shop.put("gone", pictures=(coloured(1),))
    desk.shop.put("broken", pictures=(b"no picture",))
    desk.blobs.path(desk.blobs.put(coloured(1))).unlink()
    assert desk.run().parked == 2
    assert desk.asked() == 0
    assert sorted(one[:25] for one in listed(desk, "parked")) == [
        "The image's bytes are no ",
        "These bytes are not a pic",
    ]


def test_the_pace_holds_over_threads_and_the_day_over_restarts(desk: Desk) -> None:
    """Eight requests at 1,200 a minute take no less than the seven pauses between them, which are in pairs."""
    for red in range(4):
        desk.shop.put(f"p{red}", pictures=(coloured(red),))
    began = time.monotonic()
    assert desk.run(threads=4, budget=Budget(per_minute=1200)).captioned == 4
    assert time.monotonic() - began > 3 * 2 * 60 / 1200
    desk.shop.put("p4", pictures=(coloured(4),))
    desk.shop.put("p5", pictures=(coloured(5),))
    assert desk.run(budget=Budget(per_day=11)).captioned == 1
    held = current(desk)
    assert "10 of 11 requests a day are used" in str(held.reason)
    assert held.paused_until is not None
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    assert held.paused_until == midnight
    assert desk.asked() == 10
    assert desk.run(budget=Budget(per_day=12)).captioned == 1


def test_one_turn_takes_one_request(desk: Desk) -> None:
    desk.shop.put("p1", pictures=(coloured(1),))
    assert SPEC is not None
    single = replace(SPEC, prompts=SPEC.prompts | {"second": ""})
    assert desk.run(single, budget=Budget(per_day=1)).captioned == 1
    assert desk.asked() == 1


def endpoint(url: str) -> Endpoint:
    assert SPEC is not None
    return Endpoint(SPEC, url=url, key=None, timeout_s=2.0, threads=1)


def test_pictures_are_sent_small_and_without_what_the_file_said_about_itself(desk: Desk) -> None:
    sizes: list[tuple[int, int]] = []
    desk.server.key = None
    desk.server.say = lambda picture, _turn: sizes.append(picture.size) or "a thing"  # type: ignore[func-returns-value]
    (said,) = endpoint(desk.server.url).describe([Picture("a" * 64, Image.new("RGB", (4000, 1000)))])
    assert isinstance(said, Said)
    assert sizes == [(SIDE, SIDE // 4)] * 2
    assert "authorization" not in desk.server.asked[0].headers


def test_models_that_think_are_given_their_limit_under_its_other_name(desk: Desk) -> None:
    desk.server.key = None
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    desk.server.troubles.append(Trouble(400, error_body(said, "invalid_request_error", "unsupported_parameter")))
    asked = endpoint(desk.server.url)
    assert isinstance(asked.describe([Picture("a" * 64, Image.new("RGB", (8, 8)))])[0], Said)
    assert [one.body.get("max_tokens") for one in desk.server.asked] == [300, None, None]
    assert desk.server.asked[1].body["max_completion_tokens"] == 2000


def test_an_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(CaptionerUnavailable):
        endpoint("localhost:11434/v1")


def test_a_captioner_that_cannot_be_opened_says_why_in_its_status(desk: Desk) -> None:
    desk.shop.put("p1", pictures=(coloured(1),))
    captioning = desk.captioning(budget=Budget(backoff_s=60))

    def closed() -> Endpoint:
        return endpoint("nowhere")

    captioning.open_captioner = closed
    captioning.run_due()
    assert "MORELIKE_CAPTIONER_URL is no address. Found: nowhere." in str(current(desk).reason)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "refusal", "finish_reason", "error", "code"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(st.binary(max_size=60), JSON.map(lambda value: json.dumps(value).encode())), st.integers(100, 599))
def test_whatever_is_answered_is_words_a_failure_or_a_pause(data: bytes, status: int) -> None:
    with suppress(PictureFailed, CaptionerStopped):
        assert _content(data).strip()
    assert _failure(status, httpx.Headers(), data).reason


@settings(deadline=None)
@given(st.text(max_size=30) | st.floats().map(str))
def test_whatever_retry_after_says_the_pause_is_within_a_day(header: str) -> None:
    pause = _retry_after(header)
    assert pause is None or 0 <= pause <= 86_400


def test_retry_after_may_be_a_date() -> None:
    pause = _retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True))
    assert pause == pytest.approx(90, abs=3)
