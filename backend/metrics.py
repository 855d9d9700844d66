"""What this process counts, for Prometheus. Rooms observe here; ``/metrics`` shows it."""

from time import perf_counter

from prometheus_client import Counter, Histogram

_FAST = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

REQUESTS = Histogram(
    "morelike_request_seconds", "Time to answer a request.", ["route", "method", "status"], buckets=_FAST
)
SEARCH_STAGES = Histogram(
    "morelike_search_stage_seconds", "Time that one stage of a search took.", ["stage"], buckets=_FAST
)
REFUSED = Counter("morelike_refused_total", "Requests refused before they reached a route.", ["reason"])
TRANSCRIPTIONS = Counter("morelike_transcriptions_total", "Recordings of spoken searches.", ["outcome"])
DELIVERIES = Counter("morelike_webhook_deliveries_total", "Deliveries of webhooks, at the door.", ["source", "outcome"])
EVENTS = Counter("morelike_events_total", "Events, by the verdict on them.", ["source", "status", "code"])
LISTS_BY_COINS = Counter("morelike_lists_by_coins_total", "Lists that coins were tossed for.", ["kind"])
LIMITER_DOWN = Counter("morelike_rate_limiter_down_total", "Requests let through because Redis did not answer.")


class search_stage:  # noqa: N801  used like a function; a generator would take twice the time
    """Observe the time of the block as the stage ``name`` of a search."""

    __slots__ = ("_begun", "_stage")

    def __init__(self, name: str) -> None:
        self._stage = SEARCH_STAGES.labels(name)

    def __enter__(self) -> None:
        self._begun = perf_counter()

    def __exit__(self, *_: object) -> None:
        self._stage.observe(perf_counter() - self._begun)
