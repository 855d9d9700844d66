"""Ids of served lists. Each names the day on which its list was served, so that one partition is read for it."""

import re
import secrets
from datetime import UTC, date, datetime, timedelta

LEGACY = date(2000, 1, 1)
"""The day under which lists lie whose ids name none: those of earlier versions, and those made elsewhere."""

_FIRST = date(2020, 1, 1)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_NAMES_A_DAY = re.compile(r"q_([0-9a-z]{3})[A-Za-z0-9_-]{20}", re.ASCII)


def new_query_id(now: datetime | None = None) -> str:
    """An id that nobody guesses: ``q_``, the UTC day of ``now`` as 3 digits of base 36, and 120 random bits."""
    days = ((now or datetime.now(UTC)).astimezone(UTC).date() - _FIRST).days
    day = "".join(_DIGITS[days // 36**power % 36] for power in (2, 1, 0))
    return f"q_{day}{secrets.token_urlsafe(15)}"


def day_of(query_id: str) -> date:
    """The day that ``query_id`` names, or ``LEGACY``. Ids come from outside, too: any text has a day."""
    named = _NAMES_A_DAY.fullmatch(query_id)
    return _FIRST + timedelta(days=int(named[1], 36)) if named else LEGACY
