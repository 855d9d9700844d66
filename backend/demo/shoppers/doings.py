"""What was done with a list, told as the events that a shop's page sends of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from backend.ml.clicks.shoppers import Acts
from backend.ml.clicks.worlds import Context

Event = dict[str, Any]


@dataclass
class Clock:
    """A session's own time: minutes of it pass in milliseconds of ours."""

    now: datetime

    def pass_ms(self, milliseconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(milliseconds=milliseconds)


@dataclass
class Teller:
    """Tells the events of one session.

    Args:
        units: shopper_id, session_id and, of who is signed in, user_id.
        context: where it is shopped from.
        clock: the session's time.
        prefix: of the message ids, which are numbered.
    """

    units: dict[str, str]
    context: Context
    clock: Clock
    prefix: str
    _told: int = field(default=0, init=False)

    def tell(self, kind: str, **said: Any) -> Event:
        """One event, now."""
        self._told += 1
        where = {"surface": self.context.surface, "device": self.context.device}
        known = {name: value for name, value in said.items() if value is not None}
        return {
            "message_id": f"{self.prefix}-{self._told}",
            "type": kind,
            "timestamp": self.clock.now.isoformat(),
            **self.units,
            **where,
            **known,
        }

    def doings(self, query_id: str, hits: Sequence[dict[str, Any]], acts: Acts) -> Iterator[Event]:
        """Events of one list (the first row of ``acts``), in the order in which they happen.

        Products come into view before the first is opened; what was opened, looked at and come back from follows in
        the order of the list; what is bought is paid for at the end.
        """
        yield from self._exposure(query_id, hits, acts)
        bought = []
        for place, hit in enumerate(hits):
            if acts.clicked[0, place]:
                yield from self._visit(query_id, hit, acts, place)
            if acts.bought[0, place]:
                bought.append({"product_id": hit["product_id"], "query_id": query_id, "quantity": 1} | _paid(hit))
        if bought:
            self.clock.pass_ms(30_000)
            yield self.tell("purchase", items=bought, currency=_currency(hits))

    def _exposure(self, query_id: str, hits: Sequence[dict[str, Any]], acts: Acts) -> Iterator[Event]:
        seen = [
            {"product_id": hit["product_id"], "visible_share": 1.0, "visible_ms": int(acts.visible_ms[0, place])}
            for place, hit in enumerate(hits)
            if acts.viewed[0, place]
        ]
        self.clock.pass_ms(max((item["visible_ms"] for item in seen), default=200))
        if seen:
            yield self.tell("exposure", query_id=query_id, items=seen, columns=self.context.columns)

    def _visit(self, query_id: str, hit: dict[str, Any], acts: Acts, place: int) -> Iterator[Event]:
        about = {"query_id": query_id, "product_id": hit["product_id"]}
        yield self.tell("click", **about)
        stayed = int(acts.dwell_ms[0, place])
        self.clock.pass_ms(stayed)
        if acts.timed[0, place]:
            yield self.tell("dwell", **about, dwell_ms=stayed)
        if acts.carted[0, place]:
            yield self.tell("add_to_cart", **about, quantity=1, **_paid(hit), currency=hit["product"]["currency"])
        if acts.wished[0, place]:
            yield self.tell("wishlist", **about, quantity=1)
        if acts.returned[0, place]:
            known = stayed if acts.timed[0, place] else None
            yield self.tell("return", **about, dwell_ms=known)
        self.clock.pass_ms(800)


def _paid(hit: dict[str, Any]) -> dict[str, float]:
    price = hit["product"]["price"]
    return {} if price is None else {"price": price}


def _currency(hits: Sequence[dict[str, Any]]) -> str | None:
    return next((hit["product"]["currency"] for hit in hits if hit["product"]["currency"]), None)
