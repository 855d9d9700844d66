"""When the next request may be sent, whoever sends it: a pace, a number a day, and pauses.

All of it stands in rows, so that it holds over every worker and thread, and over restarts.
"""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

LONGEST_BACKOFF_S = 900.0

_OPEN = text("""
    SELECT coalesce(paused_until > now(), false) AS paused FROM captioners WHERE id = :captioner AND current
    FOR NO KEY UPDATE
""")
_TODAY = text("SELECT requests FROM caption_requests WHERE day = CAST(now() AT TIME ZONE 'UTC' AS date)")
_COUNT = text("""
    INSERT INTO caption_requests (day, requests) VALUES (CAST(now() AT TIME ZONE 'UTC' AS date), :requests)
    ON CONFLICT (day) DO UPDATE SET requests = caption_requests.requests + excluded.requests
""")
_TAKE_TURN = text("""
    UPDATE captioners SET next_at = greatest(coalesce(next_at, now()), now()) + make_interval(secs => :takes_s)
    WHERE id = :captioner RETURNING greatest(extract(epoch FROM next_at - now()) - :takes_s, 0)
""")
_UNTIL_TOMORROW = text("""
    UPDATE captioners SET reason = :reason,
        paused_until = (date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC'
    WHERE id = :captioner
""")
_PAUSE = text("""
    UPDATE captioners SET reason = :reason, failures = failures + 1,
        paused_until = now() + make_interval(secs => CAST(
            coalesce(:pause_s, least(:backoff_s * 2 ^ least(failures, 16), :longest_s)) AS double precision))
    WHERE id = :captioner AND coalesce(paused_until <= now(), true)
""")
_WELL = text("""
    UPDATE captioners SET failures = 0, reason = NULL
    WHERE id = :captioner AND coalesce(paused_until <= now(), true) AND (failures > 0 OR reason IS NOT NULL)
""")
_RESUME = text("UPDATE captioners SET paused_until = NULL, reason = NULL, failures = 0 WHERE current")


@dataclass(frozen=True)
class Budget:
    """Limits on requests to somebody else's server; 0 is none.

    Args:
        per_minute: pace, evenly spread.
        per_day: most requests of a day (UTC).
        backoff_s: first pause after a failure; doubles each time, up to a quarter of an hour.
    """

    per_minute: int = 0
    per_day: int = 0
    backoff_s: float = 30.0


def may_ask(session: Session, captioner_id: str, budget: Budget, requests: int) -> bool:
    """Whether ``requests`` may be sent now. Holds the captioner's row, so that one at a time asks."""
    paused = session.execute(_OPEN, {"captioner": captioner_id}).scalar()
    if paused is None or paused:
        return False
    if not requests or not budget.per_day:
        return True
    sent = session.execute(_TODAY).scalar() or 0
    if sent + requests <= budget.per_day:
        return True
    reason = f"{sent} of {budget.per_day} requests a day are used (MORELIKE_CAPTION_PER_DAY); goes on at 00:00 UTC."
    session.execute(_UNTIL_TOMORROW, {"captioner": captioner_id, "reason": reason})
    return False


def spend(session: Session, captioner_id: str, budget: Budget, requests: int) -> float:
    """Count ``requests`` as sent; the seconds to wait before the first of them keeps the pace."""
    if not requests:
        return 0.0
    session.execute(_COUNT, {"requests": requests})
    if not budget.per_minute:
        return 0.0
    takes_s = requests * 60.0 / budget.per_minute
    return float(session.execute(_TAKE_TURN, {"captioner": captioner_id, "takes_s": takes_s}).scalar_one())


def pause(session: Session, captioner_id: str, budget: Budget, reason: str, pause_s: float | None) -> None:
    """Ask nothing for ``pause_s``, or for the next backoff; what fails while it is paused prolongs nothing."""
    values = {"captioner": captioner_id, "reason": reason[:1000], "pause_s": pause_s}
    session.execute(_PAUSE, values | {"backoff_s": budget.backoff_s, "longest_s": LONGEST_BACKOFF_S})


def note_success(session: Session, captioner_id: str) -> None:
    """Something was said: the next failure begins with the first pause again."""
    session.execute(_WELL, {"captioner": captioner_id})


def resume(session: Session) -> None:
    """End the pause of the current captioner."""
    session.execute(_RESUME)


def requests_today(session: Session) -> int:
    """Requests counted today (UTC)."""
    return session.execute(_TODAY).scalar() or 0
