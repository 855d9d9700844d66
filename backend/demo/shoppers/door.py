"""The shop's door as its pages use it: searches and batches of events over HTTP."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import httpx

from backend.errors import Unavailable, Unprocessable

TRIES = 4
"""Times that something is sent before it counts as lost."""

BATCH = 400
"""Events in one request; the server takes 500."""

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Door:
    """Safe to share between threads.

    Args:
        client: knows the address of the API.
        key: an API key; None where the server asks for none, as the demo does on its own machine.
    """

    def __init__(self, client: httpx.Client, key: str | None = None) -> None:
        self._client = client
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    def search(self, request: dict[str, Any], user_agent: str | None = None) -> dict[str, Any]:
        """The answer to a search.

        Raises:
            Unavailable: the shop cannot be reached, or does not answer searches.
            Unprocessable: it refuses this one.
        """
        answer = self._post("/v1/search", request, user_agent)
        if answer.status_code != 200 or "json" not in answer.headers.get("Content-Type", ""):
            raise Unprocessable("The shop refused a search.", found=answer.text[:500], expected="200 OK")
        found: dict[str, Any] = answer.json()
        return found

    def send(
        self, events: Sequence[dict[str, Any]], sent_at: datetime, user_agent: str | None = None
    ) -> list[dict[str, Any]]:
        """A verdict on each event. What is sent again after a failure has the same ids, and counts once.

        Raises:
            Unavailable: the shop cannot be reached.
            Unprocessable: it refuses the batch as a whole.
        """
        verdicts: list[dict[str, Any]] = []
        for begin in range(0, len(events), BATCH):
            body = {"batch": list(events[begin : begin + BATCH]), "sent_at": sent_at.isoformat()}
            answer = self._post("/v1/events", body, user_agent)
            if answer.status_code != 202:
                raise Unprocessable("The shop refused events.", found=answer.text[:500], expected="202 Accepted")
            verdicts += answer.json()["results"]
        return verdicts

    def _post(self, path: str, body: dict[str, Any], user_agent: str | None) -> httpx.Response:
        headers = self._headers | {"User-Agent": user_agent or BROWSER}
        said = ""
        for tried in range(TRIES):
            try:
                answer = self._client.post(path, json=body, headers=headers)
            except httpx.TransportError as error:
                said, wait_s = str(error) or type(error).__name__, 0.5 * 2**tried
            else:
                if answer.status_code != 429 and answer.status_code < 500:
                    return answer
                said = answer.text[:500]
                wait_s = min(float(answer.headers.get("Retry-After", 0.5 * 2**tried)), 30.0)
            if tried + 1 < TRIES:
                time.sleep(wait_s)
        raise Unavailable("The shop does not answer.", found=said, expected=f"an answer within {TRIES} tries")
