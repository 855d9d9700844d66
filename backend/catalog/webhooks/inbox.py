"""The door: a delivery is verified on its raw bytes, written down in one statement, and answered."""

import hashlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Engine

from backend.catalog.shops.platform import Platform, secrets_of
from backend.catalog.shops.platforms import PLATFORMS
from backend.catalog.webhooks.repository import Letter, flush, keep_accepted, keep_rejected
from backend.errors import NotFound, Unauthorized
from backend.metrics import DELIVERIES
from backend.settings import Settings

Outcome = Literal["accepted", "duplicate", "greeted"]

REJECTED_EVERY_S = 0.2
"""Of deliveries that are not signed, one is written down in this time; all are counted."""


class SignatureWrong(Unauthorized):
    """The delivery was not signed with a secret that is known here."""

    title = "Signature wrong"


class WebhooksNotTaken(NotFound):
    """No platform has this name, or no secret of it is set."""

    title = "No webhooks are taken here"


@dataclass(frozen=True)
class Receipt:
    """What became of a delivery at the door. ``id`` is its row; none where nothing was written down."""

    outcome: Outcome
    id: int | None


def secrets_by_source(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The secrets that are set, by platform; one without a setting of its own takes the generic one."""
    own = {"shopify": settings.shopify_secret, "woocommerce": settings.woocommerce_secret}
    given = {platform.name: own.get(platform.name, settings.webhook_secret) for platform in PLATFORMS}
    return {name: secrets_of(secret.get_secret_value()) for name, secret in given.items() if secret is not None}


class Inbox:
    """Takes deliveries in. Nothing of what they say is done here.

    Args:
        engine: PostgreSQL, each statement its own transaction.
        secrets: by source; a source without one takes nothing.
        platforms: those that may send.
        durable: an answer waits for the disk; else ``settle`` does, right behind it.
    """

    def __init__(
        self,
        engine: Engine,
        secrets: Mapping[str, Sequence[str]],
        platforms: Sequence[Platform] = PLATFORMS,
        *,
        durable: bool = True,
    ) -> None:
        self._engine = engine
        self._durable = durable
        self._secrets = secrets
        self._platforms = {platform.name: platform for platform in platforms}
        self._last_rejected = float("-inf")
        self._rejecting = threading.Lock()

    def take(self, source: str, headers: Mapping[str, str], body: bytes) -> Receipt:
        """Verify a delivery and keep it. ``headers`` have names in lower case.

        Raises:
            WebhooksNotTaken: nobody by this name may send.
            SignatureWrong: the signature fits none of the secrets.
        """
        platform, secrets = self._known(source)
        if platform.is_greeting(headers, body):
            DELIVERIES.labels(source, "greeted").inc()
            return Receipt("greeted", None)
        envelope = platform.envelope(headers, body)
        letter = Letter(source, envelope, hashlib.sha256(body).hexdigest(), body)
        if not platform.is_signed(headers, body, secrets):
            DELIVERIES.labels(source, "rejected").inc()
            self._reject(letter, len(secrets))
        number, repeats = keep_accepted(self._engine, letter, durable=self._durable)
        outcome: Outcome = "duplicate" if repeats else "accepted"
        DELIVERIES.labels(source, outcome).inc()
        return Receipt(outcome, number)

    def settle(self) -> None:
        """Wait until what was taken in is on disk."""
        if not self._durable:
            flush(self._engine)

    def _known(self, source: str) -> tuple[Platform, Sequence[str]]:
        platform, secrets = self._platforms.get(source), self._secrets.get(source, ())
        if platform is None:
            raise WebhooksNotTaken("no platform has this name", found=source, expected=sorted(self._platforms))
        if not secrets:
            own = "WEBHOOK" if source not in ("shopify", "woocommerce") else source.upper()
            raise WebhooksNotTaken(
                f"no secret of {source} is set, so its deliveries cannot be verified", expected=f"MORELIKE_{own}_SECRET"
            )
        return platform, secrets

    def _reject(self, letter: Letter, secrets: int) -> None:
        why = f"the signature fits none of the {secrets} secrets tried on the {len(letter.body)} bytes that arrived"
        with self._rejecting:
            due = time.monotonic() - self._last_rejected >= REJECTED_EVERY_S
            if due:
                self._last_rejected = time.monotonic()
        if due:
            keep_rejected(self._engine, letter, f"{why}: another secret, or a proxy that rewrites bodies")
        raise SignatureWrong(why, expected=f"the HMAC of the raw body with the secret set for {letter.source}")
